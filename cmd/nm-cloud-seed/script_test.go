package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/nm-cloud-seed/nm-cloud-seed/test/lab"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"nm-cloud-seed": main})
}

// TestScripts runs each script of testdata with the real program, which is this
// test binary under another name. Besides testscript's commands there are:
//
//	exits STATUS CMD...   run a command that exits with this status
//	mode FILE MODE        check a file's mode
func TestScripts(t *testing.T) {
	eachScript(t, "testdata/*.txtar", testscript.Run)
}

// eachScript runs the scripts that match as subtests, beside each other.
func eachScript(t *testing.T, pattern string, run func(*testing.T, testscript.Params)) {
	t.Helper()
	scripts, err := filepath.Glob(pattern)
	if err != nil || len(scripts) == 0 {
		t.Fatalf("got %d scripts that match %s, want some: %v", len(scripts), pattern, err)
	}
	for _, script := range scripts {
		t.Run(strings.TrimSuffix(filepath.Base(script), ".txtar"), func(t *testing.T) {
			if !lab.Inside() {
				t.Parallel()
			}
			run(t, testscript.Params{
				Files:               []string{script},
				RequireExplicitExec: true,
				Cmds:                map[string]func(*testscript.TestScript, bool, []string){"exits": exits, "mode": mode},
			})
		})
	}
}

func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits STATUS CMD [ARGUMENT...]")
	}
	err := ts.Exec(args[1], args[2:]...)
	status := 0
	var failed *exec.ExitError
	if errors.As(err, &failed) {
		status = failed.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if strconv.Itoa(status) != args[0] {
		ts.Fatalf("exit status %d, not %s", status, args[0])
	}
}

func mode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: mode FILE MODE")
	}
	info, err := os.Stat(ts.MkAbs(args[0]))
	ts.Check(err)
	if got := strconv.FormatUint(uint64(info.Mode().Perm()), 8); got != args[1] {
		ts.Fatalf("%s has mode %s, not %s", args[0], got, args[1])
	}
}
