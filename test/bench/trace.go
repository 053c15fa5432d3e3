package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// tree is what a program and all that it started took.
type tree struct {
	processes int // without threads
	peak      int // bytes: the largest resident set of any one of them
}

// process is a contender at work.
type process struct {
	pid            int
	started, ended time.Time
	done           chan error
	tree           tree
}

// launch starts a program. Traced, which takes time, it is followed through
// every fork with ptrace(2). The kernel's own figures would not do: the
// "processes" of /proc/stat are threads, too, and ru_maxrss of wait4(2) begins
// with the size of whoever forked.
func launch(cmd *exec.Cmd, traced bool) (*process, error) {
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true
	cmd.SysProcAttr.Ptrace = traced
	p := &process{done: make(chan error, 1)}
	running := make(chan error)
	go func() {
		runtime.LockOSThread() // all of ptrace happens on one thread
		defer runtime.UnlockOSThread()
		p.started = time.Now()
		err := cmd.Start()
		if err == nil {
			p.pid = cmd.Process.Pid
		}
		running <- err
		if err != nil {
			return
		}
		if traced {
			err = p.follow()
		}
		err = errors.Join(err, ignoreReaped(cmd.Wait()))
		p.ended = time.Now()
		if err != nil {
			err = fmt.Errorf("%w: %s", err, bytes.TrimSpace(stderr.Bytes()))
		}
		p.done <- err
	}()
	return p, <-running
}

// wait waits for the end.
func (p *process) wait() (tree, error) {
	err := <-p.done
	return p.tree, err
}

// ignoreReaped leaves out that follow has waited for the process already.
func ignoreReaped(err error) error {
	if errors.Is(err, syscall.ECHILD) {
		return nil
	}
	return err
}

// follow traces the process group until nothing of it is left.
func (p *process) follow() error {
	const options = unix.PTRACE_O_TRACEFORK | unix.PTRACE_O_TRACEVFORK | unix.PTRACE_O_TRACECLONE |
		unix.PTRACE_O_TRACEEXIT | unix.PTRACE_O_EXITKILL
	var status unix.WaitStatus
	if _, err := unix.Wait4(p.pid, &status, 0, nil); err != nil { // it stops at its exec
		return err
	}
	if err := unix.PtraceSetOptions(p.pid, options); err != nil {
		return err
	}
	p.tree.processes = 1
	for pid := p.pid; ; {
		signal := 0
		switch event := status.TrapCause(); {
		case event == unix.PTRACE_EVENT_FORK, event == unix.PTRACE_EVENT_VFORK:
			p.tree.processes++ // a thread is PTRACE_EVENT_CLONE
		case event == unix.PTRACE_EVENT_EXIT:
			p.tree.peak = max(p.tree.peak, peak(pid))
		case status.Stopped() && status.StopSignal() != unix.SIGTRAP && status.StopSignal() != unix.SIGSTOP:
			signal = int(status.StopSignal())
		}
		if status.Stopped() {
			if err := unix.PtraceCont(pid, signal); err != nil && !errors.Is(err, unix.ESRCH) {
				return err
			}
		}
		var err error
		for {
			pid, err = unix.Wait4(-p.pid, &status, unix.WALL, nil)
			if !errors.Is(err, unix.EINTR) {
				break
			}
		}
		if errors.Is(err, unix.ECHILD) {
			return nil
		}
		if err != nil {
			return err
		}
		if pid == p.pid && (status.Signaled() || status.ExitStatus() > 0) {
			return fmt.Errorf("it ended with %#x", status)
		}
	}
}

// peak is the largest resident set that a process had since its exec.
func peak(pid int) int {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	_, after, _ := bytes.Cut(text, []byte("VmHWM:"))
	if fields := bytes.Fields(after); len(fields) > 0 {
		kib, _ := strconv.Atoi(string(fields[0]))
		return kib * 1024
	}
	return 0
}
