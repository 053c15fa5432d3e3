package atomicfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// MkdirAll creates dir and its missing parents with exactly this mode, and
// flushes their names to disk. A directory that exists keeps its mode.
func MkdirAll(dir string, mode fs.FileMode) error {
	err := os.Mkdir(dir, mode)
	if errors.Is(err, fs.ErrNotExist) && filepath.Dir(dir) != dir {
		if err := MkdirAll(filepath.Dir(dir), mode); err != nil {
			return err
		}
		err = os.Mkdir(dir, mode)
	}
	if errors.Is(err, fs.ErrExist) {
		info, err := os.Stat(dir)
		if err == nil && !info.IsDir() {
			err = syscall.ENOTDIR
		}
		return Error("create directory", dir, err)
	}
	if err == nil {
		err = os.Chmod(dir, mode) // undoes the umask
	}
	if err != nil {
		return Error("create directory", dir, err)
	}
	return SyncDir(filepath.Dir(dir))
}

// PrivateDir makes dir a directory that only its owner can enter (0700),
// whatever mode it had. Missing parents get 0755. A symlink in its place is
// refused: it would move the secrets to where somebody else wants them.
func PrivateDir(dir string) error {
	if err := MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	if err := MkdirAll(dir, 0o700); err != nil {
		return err
	}
	info, err := os.Lstat(dir)
	if err == nil && !info.IsDir() {
		err = syscall.ENOTDIR
	}
	if err == nil && info.Mode() != fs.ModeDir|0o700 {
		err = os.Chmod(dir, 0o700)
	}
	return Error("make private", dir, err)
}

// SyncDir flushes the names in dir to disk: fsync(2) of a file alone does not
// keep the file's name across a power cut.
func SyncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return Error("sync", dir, err)
	}
	err = f.Sync()
	if e := f.Close(); err == nil {
		err = e
	}
	return Error("sync", dir, err)
}
