//go:build integration

package cloudinit

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestNoSearchInPyYAML reads the drop-in with cloud-init's own loader.
func TestNoSearchInPyYAML(t *testing.T) {
	dir := t.TempDir()
	if err := NoSearch(dir); err != nil {
		t.Fatal(err)
	}
	script := "import sys, yaml; print(yaml.safe_load(open(sys.argv[1])))"
	out, err := exec.CommandContext(t.Context(), "/usr/bin/python3", "-c", script, filepath.Join(dir, dropIn)).CombinedOutput()
	if err != nil {
		t.Fatalf("cannot run PyYAML: %v (install the package python3-yaml)\n%s", err, out)
	}
	if got, want := strings.TrimSpace(string(out)), "{'datasource': {'CloudStack': {'max_wait': 0}}}"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
