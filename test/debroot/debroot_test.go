package debroot

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// Each release's own Python runs in its root, with its own modules, compiled.
func TestRootRunsItsPython(t *testing.T) {
	if os.Getuid() != 0 {
		t.Fatal("this test needs root: it uses chroot(2)")
	}
	for suite, want := range map[string]string{"bookworm": "3.11", "trixie": "3.13", "sid": "3."} {
		t.Run(suite, func(t *testing.T) {
			t.Parallel()
			dir, err := Root(t.Context(), suite, "python3-yaml", "python3")
			if err != nil {
				t.Fatal(err)
			}
			cmd := exec.CommandContext(t.Context(), "/usr/bin/python3", "-B", "-c",
				"import os, sys, yaml; print(sys.version.split()[0], os.path.exists(yaml.__cached__))")
			cmd.Dir, cmd.SysProcAttr = "/", &syscall.SysProcAttr{Chroot: dir}
			out, err := cmd.CombinedOutput()
			if version, compiled, _ := strings.Cut(strings.TrimSpace(string(out)), " "); err != nil ||
				!strings.HasPrefix(version, want) || compiled != "True" {
				t.Errorf("Python says %q, %v", out, err)
			}
			again, err := Root(t.Context(), suite, "python3", "python3-yaml", "python3")
			if again != dir || err != nil {
				t.Errorf("the second time: %q, %v; the first one: %q", again, err, dir)
			}
		})
	}
}

func TestBuiltOnceByWhoeverComesFirst(t *testing.T) {
	dir := t.TempDir()
	var builds atomic.Int32
	build := func(_ context.Context, dir, _ string, _ []string) error {
		builds.Add(1)
		time.Sleep(100 * time.Millisecond)
		return os.WriteFile(filepath.Join(dir, "complete"), nil, 0o600)
	}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			root, err := store{dir, builder{build: build}}.root(t.Context(), "sid", []string{"dash"})
			if err != nil {
				t.Error(err)
				return
			}
			if _, err := os.Stat(filepath.Join(root, "complete")); err != nil {
				t.Error(err)
			}
			if info, err := os.Stat(root); err != nil || info.Mode().Perm() != 0o755 {
				t.Errorf("the root: %v, %v", info.Mode(), err)
			}
		})
	}
	all.Wait()
	if n := builds.Load(); n != 1 {
		t.Errorf("built %d times", n)
	}
}

func TestRecipesApart(t *testing.T) {
	s := store{t.TempDir(), builder{build: func(context.Context, string, string, []string) error { return nil }}}
	seen := map[string]bool{}
	for _, recipe := range [][]string{{"sid", "a1"}, {"trixie", "a1"}, {"sid", "a1", "b1"}, {"sid", "a1b1"}} {
		root, err := s.root(t.Context(), recipe[0], recipe[1:])
		if err != nil || seen[root] {
			t.Errorf("%q: %q, %v", recipe, root, err)
		}
		seen[root] = true
	}
}

func TestFailedOrKilledBuild(t *testing.T) {
	dir := t.TempDir()
	bad := errors.New("no archive")
	fails := func(_ context.Context, dir, _ string, _ []string) error {
		return errors.Join(bad, os.WriteFile(filepath.Join(dir, "half"), nil, 0o600))
	}
	if _, err := (store{dir, builder{build: fails}}).root(t.Context(), "sid", []string{"dash"}); !errors.Is(err, bad) {
		t.Errorf("the error is %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*[^k]")); len(left) != 0 { // .lock stays
		t.Errorf("left: %q", left)
	}
	works := func(context.Context, string, string, []string) error { return nil }
	killed := filepath.Join(dir, "sid-"+builder{}.hash("sid", []string{"dash"})+".unfinished-1", "usr")
	if err := os.MkdirAll(killed, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := (store{dir, builder{build: works}}).root(t.Context(), "sid", []string{"dash"}); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(killed); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the killed build's directory: %v", err)
	}
}

func TestGivesUpWaiting(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	s := store{dir, builder{build: func(context.Context, string, string, []string) error {
		_, err := store{dir, builder{}}.root(ctx, "sid", []string{"dash"}) // another one, meanwhile
		return err
	}}}
	if _, err := s.root(t.Context(), "sid", []string{"dash"}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the error is %v", err)
	}
}

func TestSaysWhatIsMissing(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	for name, pkg := range tools {
		if _, err := command(t.Context(), name); err == nil || !strings.Contains(err.Error(), "install the Debian package "+pkg) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, args := range [][]string{{"buster", "dash"}, {"sid"}, {"sid", "a,b"}, {"sid", "--x"}, {"sid", ""}} {
		if root, err := Root(t.Context(), args[0], args[1:]...); err == nil {
			t.Errorf("%q gave %q", args, root)
		}
	}
}
