package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// inner makes this test binary be tidy itself, without patience.
const inner = "NM_CLOUD_SEED_TIDY"

func TestMain(m *testing.M) {
	if os.Getenv(inner) != "" {
		os.Unsetenv(inner)
		os.Exit(tidy(os.Args[1:], 0))
	}
	os.Exit(m.Run())
}

// outcome is what comes of a shell script under tidy.
type outcome struct {
	output string
	status int
	left   []string // files in the outer temporary directory, but those of the script
	pids   []int    // that the script wrote to $OUTER/pids
}

// runTidy runs a shell script under tidy. With a signal, tidy gets that as soon as the
// script has made $OUTER/now.
func runTidy(t *testing.T, script string, s syscall.Signal) (o outcome) {
	t.Helper()
	dir := t.TempDir()
	output, err := os.Create(dir + "/output")
	if err != nil {
		t.Fatal(err)
	}
	defer output.Close()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "sh", "-c", script)
	cmd.Env = append(os.Environ(), inner+"=1", "TMPDIR="+dir, "OUTER="+dir)
	cmd.Stdout, cmd.Stderr = output, output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for s != 0 {
		if _, err := os.Stat(dir + "/now"); err == nil {
			break
		}
		time.Sleep(time.Millisecond)
	}
	if s != 0 {
		_ = cmd.Process.Signal(s)
	}
	if err := cmd.Wait(); err != nil && !errors.As(err, new(*exec.ExitError)) {
		t.Fatal(err)
	}
	o.status = cmd.ProcessState.ExitCode()
	text, err := os.ReadFile(dir + "/output")
	if err != nil {
		t.Fatal(err)
	}
	o.output = string(text)
	pids, _ := os.ReadFile(dir + "/pids") // not every script starts something
	for _, field := range strings.Fields(string(pids)) {
		pid, err := strconv.Atoi(field)
		if err != nil {
			t.Fatal(err)
		}
		o.pids = append(o.pids, pid)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !slices.Contains([]string{"output", "pids", "now"}, e.Name()) {
			o.left = append(o.left, filepath.Join(dir, e.Name()))
		}
	}
	return o
}

// wantEnd fails the test unless the status is this one, and nothing is left.
func (o outcome) wantEnd(t *testing.T, what string, status int) {
	t.Helper()
	if o.status != status || len(o.left) > 0 {
		t.Errorf("%s: got status %d, files %q; want %d and none: %s", what, o.status, o.left, status, o.output)
	}
	for _, pid := range o.pids {
		if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
			t.Errorf("%s: got process %d still running, want it killed (%v)", what, pid, err)
		}
	}
}

func TestTidyPassesOutputAndStatusOn(t *testing.T) {
	t.Parallel()
	for script, want := range map[string]int{"echo said": 0, "echo said; exit 3": 3, "echo said; kill -9 $$": 128 + 9} {
		o := runTidy(t, script, 0)
		o.wantEnd(t, script, want)
		if o.output != "said\n" {
			t.Errorf("%s: got output %q, want %q", script, o.output, "said\n")
		}
	}
}

func TestTidyRemovesTheTemporaryDirectory(t *testing.T) {
	t.Parallel()
	o := runTidy(t, `mkdir -p $TMPDIR/a/b && : >$TMPDIR/a/b/c && chmod 500 $TMPDIR/a/b && ls -d $OUTER/nmcs-* | wc -l`, 0)
	o.wantEnd(t, "a directory that cannot be written to", 0)
	if got := strings.TrimSpace(o.output); got != "1" {
		t.Errorf("got %s temporary directories meanwhile, want 1", got)
	}
}

// orphans starts a process that outlives the shell, and a child of that, and waits until
// both are there.
const orphans = `setsid sh -c 'sleep 1000 & echo $! $$ >$OUTER/tmp; mv $OUTER/tmp $OUTER/pids; wait' >/dev/null 2>&1 &
while [ ! -e $OUTER/pids ]; do sleep 0.01; done; `

func TestTidyKillsWhatAFailedCommandLeavesRunning(t *testing.T) {
	t.Parallel()
	o := runTidy(t, orphans+"exit 4", 0)
	o.wantEnd(t, "a failure", 4)
	if len(o.pids) != 2 {
		t.Errorf("got %d orphans, want 2", len(o.pids))
	}
}

func TestTidyFailsIfASuccessfulCommandLeavesProcessesRunning(t *testing.T) {
	t.Parallel()
	o := runTidy(t, orphans, 0)
	o.wantEnd(t, "orphans", exitFailed)
	if !strings.Contains(o.output, "sleep 1000") {
		t.Errorf("got %q, want the orphans named", o.output)
	}
}

func TestTidyKillsWhatRunsAfterASignal(t *testing.T) {
	t.Parallel()
	for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		runTidy(t, orphans+": >$OUTER/now; exec sleep 1000", s).wantEnd(t, s.String(), 128+int(s))
	}
}
