package systemd

import (
	"errors"
	"io/fs"
	"path"
	"strings"
)

const maxLinks = 40 // as the kernel's MAXSYMLINKS

var errLinks = errors.New("too many links")

// links follows links below a root: absolute ones are absolute there, and ".."
// does not lead out of it.
type links struct {
	fsys fs.FS
	dirs map[string]string // real directories by name, as found so far
}

// resolve is the real name of an existing file, all links followed.
func (l links) resolve(name string) (string, error) {
	real, err := l.walk(name)
	if err == nil {
		_, err = fs.Lstat(l.fsys, real)
	}
	return real, err
}

// target is where a link points to, "" if it cannot be told: its directory is
// the real one, itself may be a link again, or nothing.
func (l links) target(link string) string {
	to, err := fs.ReadLink(l.fsys, link)
	if err != nil {
		return ""
	}
	if !path.IsAbs(to) {
		to = path.Dir(link) + "/" + to
	}
	dir, base := path.Split(strings.TrimRight(to, "/"))
	if dir, err = l.walk(dir); err != nil || base == "" || base == "." || base == ".." {
		return ""
	}
	return path.Join(dir, base)
}

// walk goes from the root down, component by component. Names below what does
// not exist stay as they are.
func (l links) walk(name string) (string, error) {
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
