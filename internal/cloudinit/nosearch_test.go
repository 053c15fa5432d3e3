package cloudinit

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestNoSearch(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "nm-cloud-seed")
	path := filepath.Join(dir, "private/cloud.cfg")
	for range 2 { // also where it is already
		old := syscall.Umask(0)
		err := NoSearch(dir)
		syscall.Umask(old)
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]fs.FileMode{dir: fs.ModeDir | 0o755, filepath.Dir(path): fs.ModeDir | 0o700, path: 0o600} {
		if info, err := os.Lstat(name); err != nil || info.Mode() != want {
			t.Errorf("%s: %v (%v), want %v", name, info.Mode(), err, want)
		}
	}
	// What cloud-init makes of it, with its own loader.
	script := "import sys, yaml; print(yaml.safe_load(open(sys.argv[1])))"
	out, err := exec.Command("/usr/bin/python3", "-c", script, path).CombinedOutput()
	if err != nil {
		t.Fatalf("cannot run PyYAML: %v (install the package python3-yaml)\n%s", err, out)
	}
	if got, want := strings.TrimSpace(string(out)), "{'datasource': {'CloudStack': {'max_wait': 0}}}"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if data, err := os.ReadFile(path); err != nil || !strings.HasPrefix(string(data), "# Written by nm-cloud-seed, ") {
		t.Errorf("no word about who wrote it: %q, %v", data, err)
	}

	for range 2 {
		if err := TakeBack(dir); err != nil {
			t.Fatal(err)
		}
	}
	if entries, err := os.ReadDir(filepath.Dir(path)); err != nil || len(entries) > 0 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
	if err := TakeBack(filepath.Join(dir, "missing")); err != nil {
		t.Error(err)
	}
}

func TestNoSearchFails(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "private", "")
	want := "cannot create directory " + dir + "/private: not a directory (remove what stands in the directory's place)"
	if err := NoSearch(dir); err == nil || err.Error() != want {
		t.Errorf("error %v\nwant  %s", err, want)
	}
	if err := TakeBack(dir); err == nil {
		t.Error("TakeBack: no error")
	}
}
