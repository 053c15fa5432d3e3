// Package packaging tests the deb and the rpm: what is in them, and that they can
// be installed, upgraded and removed as they should, the deb in the real systems
// of Debian releases, the rpm by rpm's own tools in one of these.
package packaging

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// top is where make works.
const top = "../.."

// run returns the output of a program, which a Debian package has.
func run(t *testing.T, pkg, name string, args ...string) (string, error) {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("this test needs %s: install the Debian package %s", name, pkg)
	}
	out, err := exec.CommandContext(t.Context(), path, args...).CombinedOutput()
	return string(out), err
}

// versions are what git describe says, oldest first, with the package's version,
// or nothing where it is refused.
var versions = []struct{ described, want string }{
	{"e0bba2e", "0.0.0+20261122155612.ge0bba2e"},
	{"e0bba2e-dirty", "0.0.0+20261122155612.ge0bba2e.dirty"},
	{"unknown", "0.0.0+20261122155612.unknown"},
	{"v0.1.0-rc1", "0.1.0~rc1"},
	{"v0.1.0-rc1-2-ge0bba2e", "0.1.0~rc1+2.ge0bba2e"},
	{"v0.1.0-rc.2", "0.1.0~rc.2"},
	{"v0.1.0", "0.1.0"},
	{"v0.1.0-dirty", "0.1.0+0.dirty"},
	{"v0.1.0-3-ge0bba2e", "0.1.0+3.ge0bba2e"},
	{"v0.1.0-3-ge0bba2e-dirty", "0.1.0+3.ge0bba2e.dirty"},
	{"v0.1.0-10-g0123456", "0.1.0+10.g0123456"},
	{"0.1.1", "0.1.1"},
	{"v0.10.0", "0.10.0"},
	{"v1.0", "1.0"},
	{"main", ""},
	{"", ""},
	{"v1.0 beta", ""},
	{"1.0/2", ""},
}

func TestPackageVersionIsMadeOfGitDescribe(t *testing.T) {
	for _, tt := range versions {
		cmd := exec.CommandContext(t.Context(), top+"/packaging/version", tt.described)
		cmd.Env = append(os.Environ(), "SOURCE_DATE_EPOCH=1795362972")
		out, err := cmd.Output()
		if got := strings.TrimSpace(string(out)); got != tt.want || (err != nil) != (tt.want == "") {
			t.Errorf("%q: got %q, %v, want %q", tt.described, got, err, tt.want)
		}
	}
}
