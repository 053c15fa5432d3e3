package systemd

import (
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestExposure: the sandbox is what systemd-analyze(1) calls OK, on a scale to
// 10. Versions 252, 257 and 262 find the same.
func TestExposure(t *testing.T) {
	level := regexp.MustCompile(`Overall exposure level for \S+: ([0-9.]+) OK`)
	for _, unit := range append(slices.Clone(wanted), "nm-cloud-seed-bus.service") {
		out, err := exec.CommandContext(t.Context(), "systemd-analyze", "security", "--offline=yes", "./"+unit).CombinedOutput()
		match := level.FindSubmatch(out)
		if err != nil || match == nil {
			t.Fatalf("%v (install the package systemd)\n%s", err, out)
		}
		if exposure, err := strconv.ParseFloat(string(match[1]), 64); err != nil || exposure > 1.9 {
			t.Errorf("%s: exposure %s", unit, match[1])
		}
	}
}

// TestBusDirectories: the process that serves the D-Bus API may start before, and go on
// after, the service makes the directories that a refresh writes in. Made later, they
// would be read-only for it.
func TestBusDirectories(t *testing.T) {
	unit, err := os.ReadFile("nm-cloud-seed-bus.service")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"RuntimeDirectory=nm-cloud-seed", "RuntimeDirectoryPreserve=yes", "StateDirectory=nm-cloud-seed", "StateDirectoryMode=0700"} {
		if !strings.Contains("\n"+string(unit), "\n"+line+"\n") {
			t.Errorf("there is no %s", line)
		}
	}
}
