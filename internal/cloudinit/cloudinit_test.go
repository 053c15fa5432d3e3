package cloudinit

import (
	"os"
	"path/filepath"
	"testing"
)

func put(t *testing.T, root, name, data string) {
	t.Helper()
	path := filepath.Join(root, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(data), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestDisabled(t *testing.T) {
	const (
		on, off, run = enabledFile, disabledFile, runDisabledFile

		byCmdline = "cloud-init=disabled on the kernel command line"
		byFile    = "/etc/cloud/cloud-init.disabled exists"
	)
	for _, tt := range []struct {
		name, cmdline string
		files         []string
		want          string
	}{
		{"nothing", "", nil, ""},
		{"other parameters", "ro quiet xcloud-init=disabled cloud-init.disabled", nil, ""},
		{"file", "ro", []string{off}, byFile},
		{"both files", "ro", []string{on, off}, ""},
		{"generator", "ro", []string{run}, ""}, // that is NoDatasource
		{"command line", "ro cloud-init=disabled quiet\n", nil, byCmdline},
		{"command line, last", "ro cloud-init=disabled", []string{on}, byCmdline},
		{"command line before file", "cloud-init=enabled", []string{off}, ""},
		{"last word counts", "cloud-init=disabled cloud-init=enabled", []string{off}, ""},
		{"last word counts, reversed", "cloud-init=enabled cloud-init=disabled", nil, byCmdline},
		{"last word is neither", "cloud-init=disabled cloud-init=off", nil, ""},
		{"last word is neither, file", "cloud-init=enabled cloud-init=off", []string{off}, byFile},
		{"a container's command line", "/sbin/init\x00cloud-init=disabled\x00", nil, byCmdline},
	} {
		t.Run(tt.name, func(t *testing.T) {
			root := t.TempDir()
			for _, name := range tt.files {
				put(t, root, name, "")
			}
			if got := (Files{Root: root}).Disabled(tt.cmdline); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// TestDisabledOddFiles: the generator asks with -f, so a directory and a link
// to nothing do not count; of the file in /run, any kind does.
func TestDisabledOddFiles(t *testing.T) {
	root := t.TempDir()
	put(t, root, disabledFile+"/x", "")
	if got := (Files{Root: root}).Disabled(""); got != "" {
		t.Errorf("directory: got %q, want nothing", got)
	}
	root = t.TempDir()
	put(t, root, "etc/cloud/x", "")
	if err := os.Symlink("nowhere", filepath.Join(root, disabledFile)); err != nil {
		t.Fatal(err)
	}
	if got := (Files{Root: root}).Disabled(""); got != "" {
		t.Errorf("dangling link: got %q, want nothing", got)
	}
	put(t, root, runDisabledFile+"/x", "")
	if !(Files{Root: root}).NoDatasource() {
		t.Error("a directory in /run: got false, want true")
	}
	if (Files{Root: t.TempDir()}).NoDatasource() {
		t.Error("nothing in /run: got true, want false")
	}
	if got := (Files{Root: root + "/missing"}).Disabled(""); got != "" || (Files{Root: root + "/missing"}).NoDatasource() {
		t.Errorf("no root: got %q, want nothing", got)
	}
}
