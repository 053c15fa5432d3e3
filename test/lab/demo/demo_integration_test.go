//go:build integration

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"
)

// build returns paths of the demo and of nm-cloud-seed.
func build(t *testing.T) (demo, binary string) {
	t.Helper()
	dir := t.TempDir()
	for _, pkg := range []string{".", "../../../cmd/nm-cloud-seed"} {
		if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", dir+"/", pkg).CombinedOutput(); err != nil {
			t.Fatalf("go build %s: %v\n%s", pkg, err, out)
		}
	}
	return filepath.Join(dir, "demo"), filepath.Join(dir, "nm-cloud-seed")
}

// command is the demo with CI set: it fails where it cannot show cloud-init. Its
// temporary files would be in tmp. It dies with this process.
func command(t *testing.T, tmp, demo string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), demo, args...)
	cmd.Env = append(os.Environ(), "CI=1", "TMPDIR="+tmp)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	return cmd
}

func checkEmpty(t *testing.T, dir string) {
	t.Helper()
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("temporary files: got %v, %v, want none", left, err)
	}
}

func TestDemoShowsBothBootOrders(t *testing.T) {
	demo, binary := build(t)
	tmp := t.TempDir()
	cmd := command(t, tmp, demo, binary)
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil || errs.Len() != 0 {
		t.Fatalf("got %v and stderr %q, want success and none\n%s", err, errs.String(), out)
	}
	text := strings.TrimSuffix(strings.ReplaceAll(string(out), binary, "build/nm-cloud-seed"), "\n")
	lines := strings.Split(text, "\n")
	if len(lines) > 60 {
		t.Errorf("got %d lines, want at most 60", len(lines))
	}
	for _, line := range lines {
		if utf8.RuneCountInString(line) > maxWidth || strings.ContainsAny(line, "\x1b\r\t") || strings.TrimRight(line, " ") != line {
			t.Errorf("got line %q, want at most %d columns of text", line, maxWidth)
		}
	}
	for _, want := range []string{
		`(?s)\nBEFORE .*\n  cloud-init +RuntimeError: No virtual router found!\n.*\nAFTER `,
		`(?s)\nAFTER .*server id 10\.1\.1\.1.*virtual router found: 10\.1\.1\.1.* in 13 requests: .*\d ms +READY\n`,
		`(?s)READY\n  cloud-init .*\n    instance-id +` + instance + `\n    host name +web-1\n    SSH keys +1\n    user-data +32 bytes\n`,
		`(?s)\nCOST .*\d ms from .*13 requests on \d connections.*none is left.*none is left`,
		`(?s)\nNEXT .*make packages.*doctor --root.*make test-boot.*README`,
	} {
		if !regexp.MustCompile(want).MatchString(text) {
			t.Errorf("got\n%s\nwant it to match %s", text, want)
		}
	}
	checkEmpty(t, tmp)
}

// A program in nm-cloud-seed's place does what the demo must not let pass.
func TestDemoFailsWhenWhatItShowsIsNotSo(t *testing.T) {
	demo, binary := build(t)
	for name, tt := range map[string]struct{ script, want string }{
		"the run fails":            {`echo no metadata >&2; exit 1`, "ended before it was ready: got exit status 1\n  no metadata"},
		"there is no seed":         {`[ "$1" = run ] || rm /var/lib/cloud/seed/cs; exec BINARY "$@"`, "beside the seed"},
		"the seed has another key": {`[ "$1" = run ] || sed -i s/web-1/web-2/ /var/lib/cloud/seed/cs/meta-data; exec BINARY "$@"`, "hostname:web-2"},
		"the run leaves a process": {`[ "$1" = run ] || sleep 3600 >/run/out 2>&1 & exec BINARY "$@"`, "left processes"},
	} {
		t.Run(name, func(t *testing.T) {
			tmp, fake := t.TempDir(), filepath.Join(t.TempDir(), "fake")
			script := "#!/bin/sh\n" + strings.ReplaceAll(tt.script, "BINARY", binary) + "\n"
			if err := os.WriteFile(fake, []byte(script), 0o755); err != nil {
				t.Fatal(err)
			}
			out, err := command(t, tmp, demo, fake).CombinedOutput()
			exit := (*exec.ExitError)(nil)
			if !errors.As(err, &exit) || exit.ExitCode() != 1 || !strings.Contains(string(out), tt.want) {
				t.Errorf("got %v and\n%s\nwant exit status 1 and %q", err, out, tt.want)
			}
			checkEmpty(t, tmp)
		})
	}
}

// Nothing of the demo may be left when it is interrupted in nm-cloud-seed run, or
// in what comes after.
func TestInterruptedDemoLeavesNothing(t *testing.T) {
	demo, binary := build(t)
	for _, at := range []string{"run", "place-lease"} {
		t.Run(at, func(t *testing.T) {
			tmp, dir := t.TempDir(), t.TempDir()
			fake, reached := filepath.Join(dir, "fake"), filepath.Join(dir, "reached")
			script := fmt.Sprintf("#!/bin/sh\n[ \"$1\" != %s ] || { >%s; sleep 3600; }\nexec %s \"$@\"\n", at, reached, binary)
			if err := os.WriteFile(fake, []byte(script), 0o755); err != nil {
				t.Fatal(err)
			}
			cmd := command(t, tmp, demo, fake)
			var out strings.Builder
			cmd.Stdout, cmd.Stderr = &out, &out
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			go func() { ended <- cmd.Wait() }()
			for there := false; !there; {
				select {
				case err := <-ended:
					t.Fatalf("got %v before the demo came to %s:\n%s", err, at, out.String())
				case <-time.After(10 * time.Millisecond):
					_, err := os.Stat(reached)
					there = err == nil
				}
			}
			if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
				t.Fatal(err)
			}
			if err := <-ended; cmd.ProcessState.ExitCode() != 130 {
				t.Errorf("got %v and\n%s\nwant exit status 130", err, out.String())
			}
			now, err := processes()
			if err != nil {
				t.Fatal(err)
			}
			for _, line := range now {
				if strings.Contains(line, dir) || strings.Contains(line, demo) {
					t.Errorf("got process %q, want none of the demo", line)
				}
			}
			checkEmpty(t, tmp)
		})
	}
}
