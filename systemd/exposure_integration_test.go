//go:build integration

package systemd

import (
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"testing"
)

// TestExposure sees that the sandbox is what systemd-analyze(1) calls OK, on a scale to
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
			t.Errorf("%s: got exposure %s, want at most 1.9", unit, match[1])
		}
	}
}
