package cloudinit

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestNoSearchIsWrittenAndTakenBack(t *testing.T) {
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
			t.Errorf("%s: got %v (%v), want %v", name, info.Mode(), err, want)
		}
	}
	data, err := os.ReadFile(path)
	if want := "# Written by nm-cloud-seed, "; err != nil || !strings.HasPrefix(string(data), want) {
		t.Errorf("got %q, %v, want %q first", data, err, want)
	}
	if want := "\ndatasource: {CloudStack: {max_wait: 0}}\n"; !strings.HasSuffix(string(data), want) {
		t.Errorf("got %q, want %q last", data, want)
	}

	for range 2 {
		if err := TakeBack(dir); err != nil {
			t.Fatal(err)
		}
	}
	if entries, err := os.ReadDir(filepath.Dir(path)); err != nil || len(entries) > 0 {
		t.Errorf("got %v, %v, want nothing left", entries, err)
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
		t.Errorf("got  %v\nwant %s", err, want)
	}
	if err := TakeBack(dir); err == nil {
		t.Error("TakeBack: got no error, want one")
	}
}
