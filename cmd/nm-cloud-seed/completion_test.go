package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDevicesIn(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"lo", "eth0", "ens3"} {
		if err := os.Symlink("../../devices/"+name, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "bonding_masters"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"ens3", "eth0"}, devicesIn(dir)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if got := devicesIn(dir + "/missing"); got != nil {
		t.Errorf("got %q for a directory that is missing, want none", got)
	}
	given, _ := completeDevices(nil, devicesIn("/sys/class/net"), "")
	if len(given) != 0 {
		t.Errorf("got the offers %q where each is given, want none", given)
	}
}
