// Command tidy runs a command and leaves nothing behind: the command has a temporary
// directory of its own (TMPDIR), which is removed, and every process that it leaves
// running is killed, also after a failure or Ctrl-C.
//
//	go run ./test/tidy go test ./...
//
// The exit status is the command's. If the command succeeds and leaves processes
// running, they are named and the exit status is 1: a test has to end what it starts.
package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// grace is the time in which processes end by themselves when the command has ended.
const grace = 10 * time.Second

const exitFailed = 1

func main() { os.Exit(tidy(os.Args[1:], grace)) }

// tidy runs a command and returns the exit status. Errors are on stderr.
func tidy(args []string, grace time.Duration) int {
	if len(args) == 0 {
		fmt.Fprintln(os.Stderr, "usage: tidy COMMAND [ARGUMENT...]")
		return 2
	}
	status, err := run(args, grace)
	if err != nil {
		fmt.Fprintln(os.Stderr, "tidy:", err)
		status = max(status, exitFailed)
	}
	return status
}

func run(args []string, grace time.Duration) (status int, err error) {
	// Orphans become children of this process, which finds them then (prctl(2)).
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return 0, fmt.Errorf("cannot become the reaper of orphans: %w", err)
	}
	dir, err := os.MkdirTemp("", "nmcs-") // short: sockets below it have 108 characters
	if err != nil {
		return 0, fmt.Errorf("cannot make a temporary directory: %w", err)
	}
	defer func() { err = errors.Join(err, removeAll(dir)) }()
	if err := os.Chmod(dir, 0o777|fs.ModeSticky); err != nil { // as /tmp: some tests become another user
		return 0, fmt.Errorf("cannot make a temporary directory: %w", err)
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(os.Environ(), "TMPDIR="+dir)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := cmd.Start(); err != nil {
		return 0, fmt.Errorf("cannot run %s: %w", args[0], err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		select {
		case s := <-signals:
			// A terminal sends SIGINT to all of them; others send it to this process only.
			_ = cmd.Process.Signal(s)
		case err := <-ended:
			return finish(err, grace)
		}
	}
}

// finish returns the exit status of a command that has ended, when nothing that it
// started runs any more.
func finish(ended error, grace time.Duration) (status int, err error) {
	var exit *exec.ExitError
	switch {
	case errors.As(ended, &exit):
		if status = exit.ExitCode(); status < 0 { // by a signal, as a shell has it
			status = 128 + int(exit.Sys().(syscall.WaitStatus).Signal())
		}
	case ended != nil:
		return 0, ended
	}
	if status != 0 {
		grace = 0
	}
	left := killOrphans(grace)
	if status == 0 && len(left) > 0 {
		return 0, fmt.Errorf("the command has left processes running:\n  %s", strings.Join(left, "\n  "))
	}
	return status, nil
}

// killOrphans ends the children of this process, which at this point are the orphans of
// the command, and theirs. It returns the command lines of those that had to be killed.
// A process that does not end although it was killed is left after a minute.
func killOrphans(grace time.Duration) (killed []string) {
	const step, most = 20 * time.Millisecond, time.Minute
	seen := make(map[int]bool)
	for deadline := time.Now().Add(grace); time.Since(deadline) < most; time.Sleep(step) {
		if !reap() {
			return killed
		}
		if time.Now().Before(deadline) {
			continue
		}
		for _, pid := range children() {
			if !seen[pid] {
				seen[pid] = true
				killed = append(killed, commandLine(pid))
			}
			_ = syscall.Kill(pid, syscall.SIGKILL) // or it has ended meanwhile
		}
	}
	return killed
}

// reap reaps the children that have ended, and reports whether there are any others.
func reap() bool {
	for {
		var status syscall.WaitStatus
		switch pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil); {
		case errors.Is(err, syscall.ECHILD):
			return false
		case err == nil && pid == 0:
			return true
		}
	}
}

// children returns the running children of this process, but may leave some out while
// others end; their children become this process's own when they end.
func children() (pids []int) {
	files, err := filepath.Glob("/proc/self/task/*/children") // proc_pid_task(5)
	if err != nil {
		return nil
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // a thread that has ended
		}
		for _, field := range strings.Fields(string(text)) {
			var pid int
			if _, err := fmt.Sscan(field, &pid); err == nil && !isZombie(pid) {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

func isZombie(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true // gone
	}
	_, rest, _ := strings.Cut(string(text), ") ") // proc_pid_stat(5)
	return strings.HasPrefix(rest, "Z")
}

func commandLine(pid int) string {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	line := strings.TrimSpace(strings.ReplaceAll(string(text), "\x00", " "))
	if err != nil || line == "" {
		return fmt.Sprintf("process %d", pid)
	}
	return line
}

// removeAll removes a directory, also one with parts that cannot be written to: Go's
// module cache has such.
func removeAll(dir string) error {
	if os.RemoveAll(dir) == nil {
		return nil
	}
	_ = filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			_ = os.Chmod(name, 0o700) // what fails shows below
		}
		return nil
	})
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("cannot remove the temporary directory: %w", err)
	}
	return nil
}
