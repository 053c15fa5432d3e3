package rootfs

import (
	"errors"
	"io/fs"
	"path"
	"strings"
)

const maxLinks = 40 // as the kernel's MAXSYMLINKS

var errLinks = errors.New("too many links")

// Links follows links below a root as in a chroot: absolute ones are absolute
// there, and ".." does not lead out of it. It remembers what it has found.
type Links struct {
	fsys fs.FS
	dirs map[string]string // real directories by name, as found so far
}

// NewLinks is for a file system that does not change.
func NewLinks(fsys fs.FS) *Links { return &Links{fsys, make(map[string]string)} }

// Resolve is the real name of an existing file, all links followed.
func (l *Links) Resolve(name string) (string, error) {
	real, err := l.Walk(name)
	if err == nil {
		_, err = fs.Lstat(l.fsys, real)
	}
	return real, err
}

// Target is where a link points to, "" if it cannot be told: its directory is
// the real one, itself may be a link again, or nothing.
func (l *Links) Target(link string) string {
	to, err := fs.ReadLink(l.fsys, link)
	if err != nil {
		return ""
	}
	if !path.IsAbs(to) {
		to = path.Dir(link) + "/" + to
	}
	dir, base := path.Split(strings.TrimRight(to, "/"))
	if dir, err = l.Walk(dir); err != nil || base == "" || base == "." || base == ".." {
		return ""
	}
	return path.Join(dir, base)
}

// Walk goes from the root down, component by component. Names below what does
// not exist stay as they are.
func (l *Links) Walk(name string) (string, error) {
	clean := strings.Trim(name, "/")
	if real, ok := l.dirs[clean]; ok {
		return real, nil
	}
	real, steps := ".", 0
	rest := strings.Split(clean, "/")
	for len(rest) > 0 {
		part := rest[0]
		rest = rest[1:]
		switch part {
		case "", ".":
			continue
		case "..":
			real = path.Dir(real)
			continue
		}
		next := path.Join(real, part)
		to, err := fs.ReadLink(l.fsys, next)
		if err != nil { // no link, or nothing there
			real = next
			continue
		}
		if steps++; steps > maxLinks {
			return "", errLinks
		}
		if path.IsAbs(to) {
			real = "."
		}
		rest = append(strings.Split(to, "/"), rest...)
	}
	if !fs.ValidPath(real) {
		return "", fs.ErrInvalid
	}
	l.dirs[clean] = real
	return real, nil
}

// image is what is below a directory, where links lead where they lead in a
// chroot. The file system below it knows only those that are relative, and
// refuses all that lead out of it.
type image struct {
	fsys  fs.FS
	links *Links
}

// inside does something by a name, and if that is refused, by the real name.
func inside[T any](i image, name string, do func(fs.FS, string) (T, error)) (T, error) {
	got, err := do(i.fsys, name)
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return got, err
	}
	real, walkErr := i.links.Walk(name)
	switch {
	case walkErr != nil:
		return got, walkErr
	case real == name:
		return got, err
	}
	return do(i.fsys, real)
}

func (i image) Open(name string) (fs.File, error) {
	return inside(i, name, func(fsys fs.FS, name string) (fs.File, error) { return fsys.Open(name) })
}

func (i image) Stat(name string) (fs.FileInfo, error) { return inside(i, name, fs.Stat) }

// Lstat and ReadLink are about the link itself: only its directory is followed.
func (i image) Lstat(name string) (fs.FileInfo, error) { return ofLink(i, name, fs.Lstat) }

func (i image) ReadLink(name string) (string, error) { return ofLink(i, name, fs.ReadLink) }

func ofLink[T any](i image, name string, do func(fs.FS, string) (T, error)) (T, error) {
	dir, base := path.Split(name)
	return inside(i, path.Clean(dir), func(fsys fs.FS, dir string) (T, error) { return do(fsys, path.Join(dir, base)) })
}
