package lab

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// explainStart adds to err the end of the log of a program that did not start. If
// the program was out of inotify instances, it names the limit: several labs and
// systemds beside each other use it up.
func explainStart(err error, log string) error {
	err = fmt.Errorf("%w: %s", err, lastLines(log, 5))
	if strings.Contains(log, "Too many open files") {
		err = errors.Join(err, errInotify())
	}
	return err
}

// checkInotify returns an error that names the limit if no inotify instance is
// left for this user.
func checkInotify() error {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC)
	if err != nil {
		return fmt.Errorf("cannot watch files: %w: %w", err, errInotify())
	}
	return unix.Close(fd)
}

func errInotify() error {
	limit, err := os.ReadFile("/proc/sys/fs/inotify/max_user_instances")
	if err != nil {
		return fmt.Errorf("cannot read the limit of inotify instances: %w", err)
	}
	return fmt.Errorf("fs.inotify.max_user_instances, which is %s, may be used up: end other programs of this user, or raise it:\n"+
		"sysctl fs.inotify.max_user_instances=1024", strings.TrimSpace(string(limit)))
}
