package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const cgroupRoot = "/sys/fs/cgroup"

// mountCgroups gives a lab, whose /sys is bare, the unified hierarchy, which is
// there even if the machine itself still works with version 1. A booted system
// takes no controllers.
func mountCgroups() error {
	const inert = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	if err := unix.Mount("cgroup2", cgroupRoot, "cgroup2", inert, ""); err != nil {
		return fmt.Errorf("cannot mount the cgroup hierarchy: %w", err)
	}
	return nil
}

// cgroup is a control group below this process's own: systemd-nspawn divides
// the group that it is started in, which must have no other process.
type cgroup struct{ dir string }

func newCgroup() (*cgroup, error) {
	groups, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil, fmt.Errorf("cannot find this process's cgroup: %w", err)
	}
	for line := range strings.Lines(string(groups)) {
		// https://man7.org/linux/man-pages/man7/cgroups.7.html, /proc/pid/cgroup
		path, unified := strings.CutPrefix(strings.TrimSpace(line), "0::")
		if !unified {
			continue
		}
		dir, err := os.MkdirTemp(filepath.Join(cgroupRoot, path), "nm-cloud-seed-boot-")
		if err != nil {
			return nil, fmt.Errorf("cannot make a cgroup: %w", err)
		}
		return &cgroup{dir}, nil
	}
	return nil, errors.New("cannot find this process's cgroup: the kernel has no unified hierarchy")
}

// attr starts a process in the group.
func (c *cgroup) attr() (attr *syscall.SysProcAttr, done func(), err error) {
	dir, err := os.Open(c.dir)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot open a cgroup: %w", err)
	}
	return &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(dir.Fd())}, func() { dir.Close() }, nil
}

// removeLimit is plenty for processes that have been killed, also on a busy machine.
const removeLimit = time.Minute

// remove ends what is left in the group, if anything is, and removes it with
// all below it.
func (c *cgroup) remove() error {
	_ = os.WriteFile(filepath.Join(c.dir, "cgroup.kill"), []byte("1"), 0) // since Linux 5.14
	for deadline := time.Now().Add(removeLimit); ; {
		err := c.removeTree()
		if err == nil || time.Now().After(deadline) {
			return err
		}
		<-time.After(pollingStep)
	}
}

const pollingStep = 10 * time.Millisecond

func (c *cgroup) removeTree() error {
	var dirs []string
	err := filepath.WalkDir(c.dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			dirs = append(dirs, path)
		}
		return err
	})
	for _, d := range slices.Backward(dirs) {
		err = errors.Join(err, os.Remove(d))
	}
	return err
}
