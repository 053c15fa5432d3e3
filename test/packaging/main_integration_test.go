//go:build integration

package packaging

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"
	"testing"
)

// insideEnv says that this process is the inner one of TestMain.
const insideEnv = "NM_CLOUD_SEED_PACKAGING"

// TestMain runs the tests in mount and pid namespaces of their own, with a tmpfs
// for temporary files: builds start compilers and leave 60 MB, and this way the
// kernel removes all of it, also when the tests are killed or run into a timeout.
func TestMain(m *testing.M) {
	if os.Getpid() == 1 && os.Getenv(insideEnv) != "" {
		if err := enter(os.TempDir()); err != nil {
			fmt.Fprintln(os.Stderr, "cannot set up the tests' namespaces:", err)
			os.Exit(1)
		}
		os.Exit(m.Run())
	}
	status, err := runInside()
	if err != nil {
		fmt.Fprintln(os.Stderr, "cannot run the tests in namespaces of their own, which takes root:", err)
		status = 1
	}
	os.Exit(status)
}

func enter(temp string) error {
	return errors.Join(
		syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""),
		syscall.Mount("tmpfs", temp, "tmpfs", 0, "mode=700"),
		syscall.Mount("proc", "/proc", "proc", 0, ""), // of this pid namespace, for nsenter
	)
}

// runInside runs this test binary again as the first process of the namespaces.
func runInside() (status int, err error) {
	temp, err := os.MkdirTemp("", "nm-cloud-seed-packaging-") // stays empty here
	if err != nil {
		return 1, err
	}
	defer os.Remove(temp)
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(os.Environ(), insideEnv+"=1", "TMPDIR="+temp)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID,
		Pdeathsig:  syscall.SIGKILL,
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)
	runtime.LockOSThread() // Pdeathsig counts for this thread (https://go.dev/issue/27505)
	defer runtime.UnlockOSThread()
	if err := cmd.Start(); err != nil {
		return 1, err
	}
	go func() {
		for s := range signals {
			if s == syscall.SIGQUIT { // go test wants to see where the tests hang
				_ = cmd.Process.Signal(s)
				continue
			}
			_ = cmd.Process.Kill()
		}
	}()
	err = cmd.Wait()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return max(exit.ExitCode(), 1), nil // a signal is -1
	}
	return 0, err
}
