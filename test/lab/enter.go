package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
)

const (
	insideEnv  = "NM_CLOUD_SEED_LAB"     // set for what runs in a lab: what it is for
	dirEnv     = "NM_CLOUD_SEED_LAB_DIR" // where a test's lab keeps its logs
	lifelineFD = 3                       // the inner process's end of the lifeline

	busAddress = "unix:path=/run/dbus/system_bus_socket"
)

// Inside says whether this process is the first one of a lab's namespaces.
func Inside() bool { return os.Getpid() == 1 && os.Getenv(insideEnv) != "" }

// The one init of this package: whatever the program does first, a lab must
// not outlive the process that entered it, not even by the time main takes.
func init() {
	if Inside() {
		syscall.CloseOnExec(lifelineFD)
		go dieWithOuter()
	}
}

// dieWithOuter exits when the outer process is gone, however it went: the
// kernel then closes the only writing end of the lifeline. As this process is
// pid 1 of its pid namespace, the kernel kills everything else in there.
func dieWithOuter() {
	for {
		switch n, err := syscall.Read(lifelineFD, make([]byte, 1)); {
		case err == syscall.EINTR:
		case n <= 0:
			syscall.Exit(3)
		}
	}
}

// lifeline is the reading end of a pipe whose writing end only this process
// has, and keeps until it dies. One is enough for all labs of a process.
var lifeline = sync.OnceValues(func() (*os.File, error) {
	var p [2]int
	if err := syscall.Pipe2(p[:], syscall.O_CLOEXEC); err != nil {
		return nil, fmt.Errorf("cannot make the lifeline of a lab: %w", err)
	}
	return os.NewFile(uintptr(p[0]), "lifeline"), nil
})

// Enter runs this very program again, with args, as the first process of fresh
// mount, network, pid, UTS and IPC namespaces, and waits for it. There,
// [Inside] is true and [New] works. An ordinary user gets a user namespace as
// well, in which he is root.
//
// The inner process gets SIGTERM when ctx ends, and SIGKILL 10 s later. It dies
// at once, with all that it started, when the outer process dies.
func Enter(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	cmd, err := inner(ctx, "Enter", args)
	if err != nil {
		return err
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, stdout, stderr
	return runOnThread(cmd)
}

// inner is the command that Enter runs; purpose ends up in its environment.
func inner(ctx context.Context, purpose string, args []string) (*exec.Cmd, error) {
	if Inside() {
		return nil, errors.New("cannot enter a lab from inside a lab")
	}
	line, err := lifeline()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, "/proc/self/exe", args...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(innerEnviron(os.Environ()), insideEnv+"="+purpose)
	cmd.ExtraFiles = []*os.File{line}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = killDelay
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWNET | syscall.CLONE_NEWPID |
			syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC,
		// For an inner process that cannot read its lifeline: a stopped one.
		Pdeathsig: syscall.SIGKILL,
	}
	if os.Geteuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Geteuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getegid(), Size: 1}}
	}
	return cmd, nil
}

// runOnThread runs cmd from a thread that lives as long as cmd does: Pdeathsig
// is about the thread that started it (https://go.dev/issue/27505), and the Go
// runtime ends a thread whose locked goroutine ends.
func runOnThread(cmd *exec.Cmd) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		done <- cmd.Run()
	}()
	err := <-done
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EINVAL) {
		return fmt.Errorf("cannot create namespaces: %w: %s", err, namespaceHint(err))
	}
	return err
}

// namespaceHint returns the reason for an error of clone(2), and what to do.
func namespaceHint(err error) string {
	switch {
	case os.Geteuid() != 0:
		return "this kernel does not let ordinary users have user namespaces\n" +
			"run as root, or see user.max_user_namespaces, kernel.unprivileged_userns_clone and " +
			"kernel.apparmor_restrict_unprivileged_userns"
	case errors.Is(err, syscall.EPERM):
		return "root has no CAP_SYS_ADMIN\nin a container: start the container with --privileged"
	case errors.Is(err, syscall.ENOSPC):
		return "the limit of namespaces is reached\nsee user.max_mnt_namespaces and its like"
	}
	return "this kernel lacks some of them"
}

// innerEnviron is env as the inside of a lab has it: nothing that leads out,
// and the programs that an ordinary user does not have in his PATH.
func innerEnviron(env []string) []string {
	env = slices.DeleteFunc(env, func(kv string) bool {
		name, _, _ := strings.Cut(kv, "=")
		switch strings.ToLower(name) {
		case "http_proxy", "https_proxy", "ftp_proxy", "all_proxy", "no_proxy",
			"dbus_system_bus_address", "dbus_session_bus_address", "dbus_starter_address", "dbus_starter_bus_type",
			"notify_socket", "listen_fds", "listen_pid", "listen_fdnames", "invocation_id", "journal_stream",
			"xdg_runtime_dir", "path":
			return true
		}
		return strings.HasPrefix(name, insideEnv)
	})
	return append(env, "DBUS_SYSTEM_BUS_ADDRESS="+busAddress,
		"PATH="+strings.Join(searchPath(), string(os.PathListSeparator)))
}
