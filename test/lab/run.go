package lab

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// verdictFile says how the inner test ended: that it passed must not be
// concluded from a test binary that ran nothing.
const verdictFile = "verdict"

// Run runs body inside a fresh lab. The test binary runs again there, only for
// this test; its log becomes part of this test's, with the lab's own logs if it
// fails. `go test -artifacts` keeps those in any case.
//
// Code around Run happens twice, outside and inside: let Run be the whole test.
// Inside, t and its subtests work as ever. Outside, the test may be parallel.
func Run(t *testing.T, config Config, body func(l *Lab)) {
	t.Helper()
	switch os.Getenv(insideEnv) {
	case "":
		runOutside(t)
	case t.Name():
		runInside(t, config, body)
	default:
		t.Fatalf("cannot run a lab for %s inside the one for %s", t.Name(), os.Getenv(insideEnv))
	}
}

func runInside(t *testing.T, config Config, body func(l *Lab)) {
	t.Helper()
	dir, err := os.OpenRoot(os.Getenv(dirEnv))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // the last of all
		verdict := "pass"
		if t.Skipped() {
			verdict = "skip"
		} else if t.Failed() {
			verdict = "fail"
		}
		if err := dir.WriteFile(verdictFile, []byte(verdict), 0o644); err != nil {
			t.Error(err)
		}
	})
	l, err := New(os.Getenv(dirEnv), config)
	if err != nil {
		t.Fatal(err)
	}
	// Not deferred: parallel subtests run after this function.
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	body(l)
}

func runOutside(t *testing.T) {
	t.Helper()
	dir := t.ArtifactDir()
	ctx := t.Context()
	if deadline, ok := t.Deadline(); ok {
		// Before the testing package ends everything with a panic.
		reserve := min(killDelay+2*time.Second, time.Until(deadline)/2)
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadlineCause(ctx, deadline.Add(-reserve), errors.New("the test's deadline is near"))
		defer cancel()
	}
	cmd, err := inner(ctx, t.Name(), testArgs(t.Name()))
	if err != nil {
		t.Fatal(err)
	}
	// The race detector waits for 1 s at the end of a process by default.
	cmd.Env = append(cmd.Env, dirEnv+"="+dir, "GORACE="+os.Getenv("GORACE")+" atexit_sleep_ms=0")
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGQUIT) } // to see where it hangs
	out := &unframed{to: t.Output(), test: t.Name()}
	cmd.Stdout, cmd.Stderr = out, out
	err = runOnThread(cmd)
	out.flush()
	if err != nil && ctx.Err() != nil {
		err = fmt.Errorf("%w: %w", err, context.Cause(ctx))
	}
	verdict, _ := os.ReadFile(filepath.Join(dir, verdictFile)) // empty if there is none
	switch {
	case err == nil && string(verdict) == "pass":
	case err == nil && string(verdict) == "skip":
		t.Fatal("skipped inside the lab: a test that cannot run has to fail, and to say what it needs")
	case err == nil && len(verdict) == 0:
		t.Fatal("the test did not run inside the lab: does the same t.Run happen there?")
	default:
		dumpLogs(t, dir)
		if err := checkInotify(); err != nil {
			t.Log(err)
		}
		t.Fatalf("failed inside the lab: %v", err)
	}
}

// dumpLogs shows the ends of the lab's logs.
func dumpLogs(t *testing.T, dir string) {
	t.Helper()
	const most = 100
	logs, _ := filepath.Glob(filepath.Join(dir, "*.log")) // the pattern is good
	for _, name := range logs {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Error(err)
			continue
		}
		t.Logf("the end of %s:\n%s", filepath.Base(name), lastLines(string(text), most))
	}
}

// testArgs are the arguments with which a test binary runs one test, and this
// binary's own flags: those of the package under test, such as -update.
func testArgs(name string) []string {
	var parts []string
	for part := range strings.SplitSeq(name, "/") {
		parts = append(parts, "^"+regexp.QuoteMeta(part)+"$")
	}
	// -test.v, as without it a test's log comes at its end only. The deadline
	// is the outer process's business.
	args := []string{"-test.v", "-test.run=" + strings.Join(parts, "/"), "-test.timeout=0", "-test.count=1"}
	flag.Visit(func(f *flag.Flag) {
		switch {
		case !strings.HasPrefix(f.Name, "test."), f.Name == "test.short", f.Name == "test.gocoverdir":
			args = append(args, fmt.Sprintf("-%s=%v", f.Name, f.Value))
		}
	})
	return append(args, flag.Args()...)
}

// unframed passes a test binary's output on, without what the testing package
// writes around the log of one test.
type unframed struct {
	to   io.Writer
	test string
	rest []byte // an unfinished line
}

func (u *unframed) Write(p []byte) (int, error) {
	u.rest = append(u.rest, p...)
	for {
		line, rest, found := bytes.Cut(u.rest, []byte("\n"))
		if !found {
			return len(p), nil
		}
		u.line(string(line))
		u.rest = rest
	}
}

func (u *unframed) flush() {
	if len(u.rest) > 0 {
		u.line(string(u.rest))
		u.rest = nil
	}
}

func (u *unframed) line(line string) {
	if line == "PASS" || line == "FAIL" || strings.HasPrefix(line, "=== ") || strings.HasPrefix(line, "coverage: ") {
		return
	}
	if words := strings.Fields(line); len(words) > 2 && words[0] == "---" {
		if words[2] == u.test || strings.HasPrefix(u.test, words[2]+"/") {
			return
		}
	}
	// The testing package indents once more.
	fmt.Fprintln(u.to, strings.TrimPrefix(line, "    "))
}
