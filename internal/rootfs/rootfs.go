// Package rootfs reads small files of this system, or of another one below a
// directory, such as the image that doctor looks at offline.
package rootfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
)

// Reasons of Read and List.
var (
	ErrTooBig       = errors.New("too big")
	ErrNotRegular   = errors.New("not a regular file")
	ErrNotDirectory = errors.New("not a directory")
)

// Open gives the files below root; "" is the running system. Below any other
// root, links lead where they would if it were the running system's: an image
// cannot make us read the files of the host. Call done when finished.
func Open(root string) (fsys fs.FS, done func(), err error) {
	if root == "" {
		return os.DirFS("/"), func() {}, nil
	}
	r, err := os.OpenRoot(root)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot open root directory: %w", err)
	}
	return image{r.FS(), NewLinks(r.FS())}, func() { _ = r.Close() }, nil
}

// Read reads a regular file of at most limit bytes. The name has no leading
// slash. Errors are those of fs.Stat and fs.FS.Open, ErrTooBig or
// ErrNotRegular, and name the file only if the former do.
func Read(fsys fs.FS, name string, limit int64) ([]byte, error) {
	// Not after opening: open(2) of a FIFO waits for a writer, forever.
	info, err := fs.Stat(fsys, name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, ErrNotRegular
	}
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	// Sizes lie: those in /proc are 0.
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("%w, more than %d bytes", ErrTooBig, limit)
	}
	return data, nil
}

// List lists a directory, sorted by name. Of more than limit entries it gives so
// many, with ErrTooBig; other errors are those of Read, and ErrNotDirectory.
func List(fsys fs.FS, name string, limit int) ([]fs.DirEntry, error) {
	info, err := fs.Stat(fsys, name) // as in Read
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return nil, ErrNotDirectory
	}
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	d, ok := f.(fs.ReadDirFile)
	if !ok {
		return nil, ErrNotDirectory
	}
	entries, err := d.ReadDir(limit + 1)
	if errors.Is(err, io.EOF) { // there are none
		err = nil
	}
	if len(entries) > limit {
		entries, err = entries[:limit], fmt.Errorf("%w, more than %d entries", ErrTooBig, limit)
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return entries, err
}

// Reason is an error's text without the path, for those who name that themselves.
func Reason(err error) string {
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		err = pathErr.Err
	}
	return err.Error()
}
