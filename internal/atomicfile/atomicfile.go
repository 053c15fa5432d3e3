// Package atomicfile replaces files so that whoever reads them, and a kill or a
// power cut at any moment, finds either the old content or the new one, whole.
//
// Modes are exact: none depends on the umask. Every error reads "cannot <verb>
// <path>: <reason>" and never holds file content.
package atomicfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// WriteFile replaces the file at path by one with this content and mode. What
// was there before, a symlink too, is replaced and not followed. When it
// returns nil, content and name are on disk; after an error, path is as it was,
// unless the error says "cannot sync".
func WriteFile(path string, data []byte, mode fs.FileMode) (err error) {
	// os.CreateTemp opens with O_EXCL and 0600, so nobody else can have a
	// secret open, whatever the final mode is.
	f, err := os.CreateTemp(filepath.Dir(path), tempPrefix(path)+"*")
	if err != nil {
		return Error("write", path, err)
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name()) // gone already once it was renamed
		}
	}()
	_, err = f.Write(data)
	if err == nil {
		err = f.Chmod(mode)
	}
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return Error("write", path, err)
	}
	return SyncDir(filepath.Dir(path))
}

// Symlink makes path a symbolic link to target, replacing a file or a link
// there, but never a directory. The promises are those of WriteFile.
func Symlink(target, path string) error {
	// A private directory gives the link a free name without guessing one.
	dir, err := os.MkdirTemp(filepath.Dir(path), tempPrefix(path)+"*")
	if err != nil {
		return Error("link", path, err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if err := os.Chmod(dir, 0o700); err != nil { // undoes the umask
		return Error("link", path, err)
	}
	temp := filepath.Join(dir, "link")
	if err := os.Symlink(target, temp); err != nil {
		return Error("link", path, err)
	}
	if err := os.Rename(temp, path); err != nil {
		return Error("link", path, err)
	}
	return SyncDir(filepath.Dir(path))
}

// Remove removes the file at path, and what a killed WriteFile or Symlink left
// beside it (which may hold the same secret). It is no error if there is
// nothing. Nobody else may be writing path at the same time.
func Remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Error("remove", path, err)
	}
	if err := Tidy(path); err != nil {
		return err
	}
	if err := SyncDir(filepath.Dir(path)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Tidy removes what a killed WriteFile or Symlink of path left beside it.
// Nobody else may be writing path at the same time.
func Tidy(path string) error { return tidy(filepath.Dir(path), tempPrefix(path)) }

// TidyDir is Tidy for all files of a directory.
func TidyDir(dir string) error { return tidy(dir, ".") }

func tidy(dir, prefix string) error {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Error("list", dir, err)
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), prefix) || !strings.Contains(e.Name(), tempMark) {
			continue
		}
		left := filepath.Join(dir, e.Name())
		if err := os.RemoveAll(left); err != nil {
			return Error("remove", left, err)
		}
	}
	return nil
}

// tempPrefix begins the names of unfinished writes of path. The leading dot
// keeps them out of directories that are read by pattern, such as *.cfg.
func tempPrefix(path string) string { return "." + filepath.Base(path) + tempMark }

const tempMark = ".tmp-"
