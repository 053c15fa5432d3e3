//go:build integration

package debroot

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// cloud-init of each release runs with that release's Python. Modules that are
// not compiled would slow down all tests that run it.
func TestImageRunsItsOwnPythonWithCompiledModules(t *testing.T) {
	if os.Getuid() != 0 {
		t.Fatal("this test needs root: it uses chroot(2)")
	}
	for suite, want := range map[string]string{"bookworm": "3.11", "trixie": "3.13", "sid": "3."} {
		t.Run(suite, func(t *testing.T) {
			t.Parallel()
			dir, err := Image(suite).Open()
			if err != nil {
				t.Fatal(err)
			}
			cmd := exec.CommandContext(t.Context(), "/usr/bin/python3", "-B", "-c",
				"import os, sys, cloudinit, yaml; print(sys.version.split()[0], os.path.exists(yaml.__cached__) and os.path.exists(cloudinit.__cached__))")
			cmd.Dir, cmd.SysProcAttr = "/", &syscall.SysProcAttr{Chroot: dir}
			out, err := cmd.CombinedOutput()
			if version, compiled, _ := strings.Cut(strings.TrimSpace(string(out)), " "); err != nil ||
				!strings.HasPrefix(version, want) || compiled != "True" {
				t.Errorf("got %q, %v, want the version %s and True", out, err, want)
			}
		})
	}
}

// What runs alone and its mounts end with the context, and the pid of the sleep
// says that it had started.
func TestCancelledCommandLeavesNoProcess(t *testing.T) {
	if os.Getuid() != 0 {
		t.Fatal("this test needs root: it makes namespaces")
	}
	dir := t.TempDir()
	started := filepath.Join(dir, "started")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		for ctx.Err() == nil {
			if _, err := os.Stat(started); err == nil {
				cancel()
			}
			time.Sleep(10 * time.Millisecond)
		}
	}()
	// The sleep holds the lock of fd 9 as long as it lives.
	const script = `mount -t tmpfs tmpfs "$1/mnt" && exec 9>"$1/lock" && flock 9 && { sleep 100000 & : >"$1/started"; wait; }`
	if err := os.Mkdir(filepath.Join(dir, "mnt"), 0o755); err != nil {
		t.Fatal(err)
	}
	cmd, err := command(ctx, "sh", "-c", script, "sh", dir)
	if err != nil {
		t.Fatal(err)
	}
	out, err := runAlone(cmd)
	if !errors.Is(ctx.Err(), context.Canceled) || err == nil {
		t.Fatalf("got %q, %v, want the cancelled command's error", out, err)
	}
	unlock, err := lock(t.Context(), filepath.Join(dir, "lock")) // waits while the sleep lives
	if err != nil {
		t.Fatal(err)
	}
	unlock()
	if mounts, err := os.ReadFile("/proc/self/mounts"); err != nil || strings.Contains(string(mounts), dir) {
		t.Errorf("got %v and the mount of %s, want none", err, dir)
	}
}
