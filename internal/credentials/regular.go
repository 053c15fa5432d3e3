package credentials

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

var (
	errLink       = errors.New("it is a symbolic link")
	errNotRegular = errors.New("it is not a regular file")
)

// maxFile bounds each file that is read: two sets of keys, in JSON at its worst.
const maxFile = 1 << 20 // bytes

// readRegular reads the file name in the open directory dir (unix.AT_FDCWD: name
// is a path), up to maxFile. Whatever stands there, it neither waits nor follows a link.
func readRegular(dir int, name string) ([]byte, unix.Stat_t, error) {
	var stat unix.Stat_t
	// O_NONBLOCK: open(2) of a FIFO waits for a writer otherwise.
	fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ELOOP) {
		err = errLink
	}
	if err != nil {
		return nil, stat, err
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	if err := unix.Fstat(fd, &stat); err != nil {
		return nil, stat, err
	}
	if stat.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, stat, errNotRegular
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && int64(len(data)) > maxFile {
		err = fmt.Errorf("it is larger than %d KiB", maxFile>>10)
	}
	return data, stat, err
}
