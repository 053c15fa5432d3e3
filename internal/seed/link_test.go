package seed

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func mkdir(t *testing.T, path string) {
	t.Helper()
	if err := os.MkdirAll(path, 0o755); err != nil {
		t.Fatal(err)
	}
}

func symlink(t *testing.T, target, path string) {
	t.Helper()
	mkdir(t, filepath.Dir(path))
	if err := os.Symlink(target, path); err != nil {
		t.Fatal(err)
	}
}

func touch(t *testing.T, path, data string) {
	t.Helper()
	mkdir(t, filepath.Dir(path))
	if err := os.WriteFile(path, []byte(data), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestPlaceKeepsForeignSeedsAside(t *testing.T) {
	const target = "/run/nm-cloud-seed/seed"
	for _, tt := range []struct {
		name    string
		before  func(t *testing.T, link string)
		kept    string // relative to the link's directory
		entries map[string]string
	}{
		{"nothing there", func(*testing.T, string) {}, "", nil},
		{"right already", func(t *testing.T, link string) { symlink(t, target, link) }, "", nil},
		{"directory", func(t *testing.T, link string) { touch(t, link+"/meta-data", "old") }, "cs.before-nm-cloud-seed",
			map[string]string{"cs.before-nm-cloud-seed": "drwxr-xr-x", "cs.before-nm-cloud-seed/meta-data": "-rw-r--r-- old"}},
		{"file", func(t *testing.T, link string) { touch(t, link, "old") }, "cs.before-nm-cloud-seed",
			map[string]string{"cs.before-nm-cloud-seed": "-rw-r--r-- old"}},
		{"foreign link", func(t *testing.T, link string) { symlink(t, "/elsewhere", link) }, "cs.before-nm-cloud-seed",
			map[string]string{"cs.before-nm-cloud-seed": "-> /elsewhere"}},
		{"names taken", func(t *testing.T, link string) {
			touch(t, link, "third")
			touch(t, link+keptSuffix, "first")
			touch(t, link+keptSuffix+".1/x", "second")
		}, "cs.before-nm-cloud-seed.2", map[string]string{
			"cs.before-nm-cloud-seed":     "-rw-r--r-- first",
			"cs.before-nm-cloud-seed.1":   "drwxr-xr-x",
			"cs.before-nm-cloud-seed.1/x": "-rw-r--r-- second",
			"cs.before-nm-cloud-seed.2":   "-rw-r--r-- third",
		}},
		{"killed before the exchange", func(t *testing.T, link string) {
			touch(t, link, "old")
			symlink(t, target, link+keptSuffix)
		}, "cs.before-nm-cloud-seed", map[string]string{"cs.before-nm-cloud-seed": "-rw-r--r-- old"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			link := filepath.Join(dir, "cs")
			tt.before(t, link)
			kept, err := place(target, link)
			if err != nil {
				t.Fatal(err)
			}
			if tt.kept != "" {
				tt.kept = filepath.Join(dir, tt.kept)
			}
			if kept != tt.kept {
				t.Errorf("got %q kept aside, want %q", kept, tt.kept)
			}
			want := map[string]string{"cs": "-> " + target}
			for k, v := range tt.entries {
				want[k] = v
			}
			if diff := cmp.Diff(want, tree(t, dir)); diff != "" {
				t.Errorf("tree (-want +got):\n%s", diff)
			}
		})
	}
}

func TestPlaceFindsNoName(t *testing.T) {
	dir := t.TempDir()
	link := filepath.Join(dir, "cs")
	touch(t, link, "old")
	touch(t, link+keptSuffix, "")
	for i := 1; i < maxKept; i++ {
		touch(t, link+keptSuffix+"."+strconv.Itoa(i), "")
	}
	_, err := place("/target", link)
	want := "cannot keep what stands at " + link + " aside: 1000 names like " + link + keptSuffix + " are taken already (move it away by hand)"
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	if data, err := os.ReadFile(link); err != nil || string(data) != "old" {
		t.Errorf("got %q, %v, want the old file", data, err)
	}
}

func TestSetAsideInSteps(t *testing.T) {
	dir := t.TempDir()
	link, kept := filepath.Join(dir, "cs"), filepath.Join(dir, "kept")
	touch(t, link+"/meta-data", "old")
	if err := setAsideInSteps("/target", link, kept); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"cs": "-> /target", "kept": "drwxr-xr-x", "kept/meta-data": "-rw-r--r-- old"}
	if diff := cmp.Diff(want, tree(t, dir)); diff != "" {
		t.Errorf("tree (-want +got):\n%s", diff)
	}
	// An empty target is refused by symlink(2): what was there comes back.
	if err := setAsideInSteps("", link, filepath.Join(dir, "again")); err == nil {
		t.Error("got no error, want one")
	}
	if diff := cmp.Diff(want, tree(t, dir)); diff != "" {
		t.Errorf("tree after an error (-want +got):\n%s", diff)
	}
}
