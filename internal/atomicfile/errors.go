package atomicfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// Error words an error for a person, "cannot VERB PATH: reason", with what to do
// about it; nil stays nil. The reason alone is kept of err: its own text names
// temporary files that nobody knows.
func Error(verb, path string, err error) error {
	if err == nil {
		return nil
	}
	var (
		pathErr *fs.PathError
		linkErr *os.LinkError
	)
	switch {
	case errors.As(err, &pathErr):
		err = pathErr.Err
	case errors.As(err, &linkErr):
		err = linkErr.Err
	}
	if hint := advice(err); hint != "" {
		return fmt.Errorf("cannot %s %s: %w (%s)", verb, path, err, hint)
	}
	return fmt.Errorf("cannot %s %s: %w", verb, path, err)
}

// advice says what to do about an error, or nothing.
func advice(err error) string {
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return "free some space on that file system"
	case errors.Is(err, syscall.EROFS):
		return "remount that file system read-write"
	case errors.Is(err, fs.ErrPermission):
		return "run as root; a systemd unit needs the path in ReadWritePaths="
	case errors.Is(err, syscall.ENOTDIR):
		return "remove what stands in the directory's place"
	case errors.Is(err, syscall.EISDIR), errors.Is(err, fs.ErrExist):
		return "move away what stands there"
	case errors.Is(err, fs.ErrNotExist):
		return "create the directory first"
	}
	return ""
}
