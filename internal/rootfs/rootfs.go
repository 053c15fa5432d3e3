// Package rootfs reads small files of this system, or of another one below a
// directory, such as the image that doctor looks at offline.
package rootfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// ErrTooBig and ErrNotRegular are reasons of Read.
var (
	ErrTooBig     = errors.New("too big")
	ErrNotRegular = errors.New("not a regular file")
)

// Open gives the files below root; "" is the running system. Below any other
// root, links that lead out of it are errors: an image must not make us read
// the files of the host. Call done when finished.
func Open(root string) (fsys fs.FS, done func(), err error) {
	if root == "" {
		return os.DirFS("/"), func() {}, nil
	}
	r, err := os.OpenRoot(root)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot open root directory: %w", err)
	}
	return r.FS(), func() { _ = r.Close() }, nil
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
