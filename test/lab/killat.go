package lab

import (
	"errors"
	"fmt"
	"os/exec"
	"runtime"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"
)

// changing are the system calls that change names of files. What is written to a file
// counts when the file gets its name.
var changing = []uint64{unix.SYS_RENAMEAT, unix.SYS_RENAMEAT2, unix.SYS_UNLINKAT, unix.SYS_SYMLINKAT, unix.SYS_LINKAT, unix.SYS_MKDIRAT}

// KillAt runs cmd and kills it, with all processes that it has started, just before its
// nth system call (from 1) that changes the name of a file. So a test can kill a program
// at each of its steps, in turn, whatever the machine's speed. It returns false if the
// program has ended before, and then the error of its end.
func KillAt(cmd *exec.Cmd, n int) (killed bool, err error) {
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // a thread of its own traces, and ends with the goroutine
		var err error
		killed, err = killAt(cmd, n)
		result <- err
	}()
	err = <-result
	return killed, err
}

const (
	getSyscallInfo = 0x420e // PTRACE_GET_SYSCALL_INFO of ptrace(2)
	syscallEntry   = 1
)

func killAt(cmd *exec.Cmd, n int) (killed bool, err error) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &unix.SysProcAttr{}
	}
	cmd.SysProcAttr.Ptrace = true
	if err := cmd.Start(); err != nil {
		return false, err
	}
	main := cmd.Process.Pid
	defer func() { _ = cmd.Process.Release() }() // its end is seen here
	var status, end unix.WaitStatus
	if _, err := unix.Wait4(main, &status, unix.WALL, nil); err != nil {
		return false, fmt.Errorf("cannot trace %s: %w", cmd.Path, err)
	}
	const options = unix.PTRACE_O_TRACESYSGOOD | unix.PTRACE_O_EXITKILL | unix.PTRACE_O_TRACECLONE | unix.PTRACE_O_TRACEFORK | unix.PTRACE_O_TRACEVFORK | unix.PTRACE_O_TRACEEXEC
	if err := unix.PtraceSetOptions(main, options); err != nil {
		return false, fmt.Errorf("cannot trace %s: %w", cmd.Path, err)
	}
	_ = unix.PtraceSyscall(main, 0)
	traced, calls := map[int]bool{main: true}, 0
	for {
		for tid := range traced { // the end of one may be seen before its beginning
			if !traced[main] && errors.Is(unix.Kill(tid, 0), unix.ESRCH) {
				delete(traced, tid)
			}
		}
		if len(traced) == 0 {
			break
		}
		// Only this thread's, as others wait for other processes of the test.
		tid, err := unix.Wait4(-1, &status, unix.WALL|unix.WNOTHREAD, nil)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return killed, fmt.Errorf("cannot trace %s: %w", cmd.Path, err)
		}
		if !status.Stopped() {
			if delete(traced, tid); tid == main {
				end = status
			}
			continue
		}
		traced[tid] = true
		deliver := 0
		switch sig := status.StopSignal(); {
		case sig == unix.SIGTRAP|0x80:
			if changesName(tid) {
				calls++
			}
			if calls == n && !killed {
				killed = true
				for tid := range traced {
					_ = unix.Kill(tid, unix.SIGKILL)
				}
			}
		case sig == unix.SIGTRAP && status.TrapCause() > 0: // a new thread or process, or a new program
			if made, err := unix.PtraceGetEventMsg(tid); err == nil && status.TrapCause() != unix.PTRACE_EVENT_EXEC {
				traced[int(made)] = true
			}
		case sig == unix.SIGTRAP, sig == unix.SIGSTOP: // it begins
		default:
			deliver = int(sig)
		}
		_ = unix.PtraceSyscall(tid, deliver) // or it was killed
	}
	if killed || end.ExitStatus() == 0 {
		return killed, nil
	}
	return false, fmt.Errorf("cannot run %s: exit status %d", cmd.Path, end.ExitStatus())
}

// changesName reports whether a thread is about to do such a system call.
func changesName(tid int) bool {
	var info struct {
		op   uint8
		_    [23]byte // padding, architecture, instruction and stack pointer
		call uint64
		_    [56]byte
	}
	_, _, errno := unix.Syscall6(unix.SYS_PTRACE, getSyscallInfo, uintptr(tid), unsafe.Sizeof(info), uintptr(unsafe.Pointer(&info)), 0, 0)
	return errno == 0 && info.op == syscallEntry && slices.Contains(changing, info.call)
}
