package main

import (
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/nm-cloud-seed/nm-cloud-seed/datasource/cloudstack/vrtest"
	"github.com/nm-cloud-seed/nm-cloud-seed/test/lab"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"nm-cloud-seed": main})
}

// TestScripts runs each script of testdata in a lab of its own, with the real
// program, which is this test binary under another name. Besides testscript's
// commands there are:
//
//	vr                    start a virtual router that knows the VM
//	exits STATUS CMD...   run a command that exits with this status
//	mode FILE MODE        check a file's mode
func TestScripts(t *testing.T) {
	scripts, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(scripts) == 0 {
		t.Fatalf("there are no scripts: %v", err)
	}
	for _, script := range scripts {
		t.Run(strings.TrimSuffix(filepath.Base(script), ".txtar"), func(t *testing.T) {
			if !lab.Inside() {
				t.Parallel()
			}
			lab.Run(t, lab.Config{}, func(l *lab.Lab) {
				testscript.Run(t, testscript.Params{
					Files:               []string{script},
					RequireExplicitExec: true,
					Cmds: map[string]func(*testscript.TestScript, bool, []string){
						"vr":    func(ts *testscript.TestScript, _ bool, _ []string) { ts.Check(router(t, l)) },
						"exits": exits,
						"mode":  mode,
					},
				})
			})
		})
	}
}

// router starts a VR without a password server. Its values tell if one of them
// gets where it should not.
func router(t *testing.T, l *lab.Lab) error {
	vr := vrtest.New()
	vm := vrtest.Example("7d4f1f9a-58c1-4f5e-9a3c-3f0c5d9a1b2e", l.ClientAddr(0))
	vm.Set("token", "SECRET-VALUE")
	vm.UserData = []byte("#cloud-config\npassword: SECRET-USER-DATA\n")
	vr.SetVM(l.ClientAddr(0), vm)
	return l.Serve(t.Context(), 0, netip.AddrPortFrom(l.VRAddr(0), 80), vr.ServeMetadata)
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
