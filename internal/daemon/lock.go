package daemon

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// lockPath is locked while a run goes on (fcntl(2), open file description
// locks): two runs would take each other's connections for leftovers, and a
// state that nobody stands behind is that of a run that was killed.
const lockPath = RunDir + "/lock"

// ErrRunning is that another run goes on.
var ErrRunning = errors.New("nm-cloud-seed is running already (see nm-cloud-seed status)")

func lock(root string) (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(root, lockPath), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("cannot lock: %w", err)
	}
	err = unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK})
	if err != nil {
		_ = f.Close()
		if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
			return nil, ErrRunning
		}
		return nil, fmt.Errorf("cannot lock %s: %w", lockPath, err)
	}
	return func() { _ = f.Close() }, nil
}

// locked says whether a run goes on. Any user may ask, and asking does not
// keep a run from starting.
func locked(root string) bool {
	f, err := os.Open(filepath.Join(root, lockPath))
	if err != nil {
		return false
	}
	defer f.Close()
	l := unix.Flock_t{Type: unix.F_WRLCK}
	return unix.FcntlFlock(f.Fd(), unix.F_OFD_GETLK, &l) == nil && l.Type != unix.F_UNLCK
}
