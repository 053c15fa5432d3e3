package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nm-cloud-seed/nm-cloud-seed/internal/atomicfile"
)

// lockPath is locked while a run goes on (fcntl(2), open file description
// locks): two runs would take each other's connections for leftovers. Nobody
// else can open it, and so keep a run from starting.
const lockPath = RunDir + "/private/lock"

// ErrRunning is that another run goes on.
var ErrRunning = errors.New("nm-cloud-seed is at work already: it goes on by itself (see nm-cloud-seed status --watch)")

func lock(root string) (unlock func(), err error) {
	path := filepath.Join(root, lockPath)
	if err := atomicfile.PrivateDir(filepath.Dir(path)); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, atomicfile.Error("lock", path, err)
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

// waitLock waits until no other run goes on.
func waitLock(ctx context.Context, root string) (unlock func(), err error) {
	for {
		if unlock, err = lock(root); !errors.Is(err, ErrRunning) {
			return unlock, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// process names a process for as long as the system runs: by its id and its
// start time (proc_pid_stat(5), field 22), since ids are used again.
type process struct {
	ID    int    `json:"pid"`
	Start string `json:"start-ticks"`
}

// thisProcess is the one that runs, or the zero process where /proc is missing.
func thisProcess() process {
	start, err := startTime(os.Getpid())
	if err != nil {
		return process{}
	}
	return process{os.Getpid(), start}
}

// gone says whether a process has ended for certain. Any user may ask.
func (p process) gone() bool {
	if p.ID == 0 {
		return false
	}
	start, err := startTime(p.ID)
	if errors.Is(err, os.ErrNotExist) {
		_, err = os.Stat("/proc/1") // with hidepid (proc(5)) that is hidden as well
		return err == nil
	}
	return err == nil && start != p.Start
}

func startTime(pid int) (string, error) {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return "", err
	}
	// The name, in parentheses, may hold anything.
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 20 {
		return "", errors.New("cannot read the start time of a process")
	}
	return string(fields[19]), nil
}
