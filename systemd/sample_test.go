package systemd

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/nm-cloud-seed/nm-cloud-seed/internal/rootfs"
)

// sample is a Debian release's units, with ours as the package has them.
func sample(t testing.TB, suite string) map[string]string {
	t.Helper()
	archive, err := txtar.ParseFile(filepath.Join("testdata", suite+".txtar"))
	if err != nil {
		t.Fatal(err)
	}
	files := make(map[string]string)
	for _, f := range archive.Files {
		files[f.Name] = string(f.Data)
		if strings.HasPrefix(files[f.Name], "-> ") {
			files[f.Name] = strings.TrimSpace(files[f.Name])
		}
	}
	files["etc/machine-id"] = "6e6d2d636c6f75642d736565642d7379\n" // or this is a first boot
	for _, name := range wanted {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		files["usr/lib/systemd/system/"+name] = string(data)
	}
	// cloud-init's generator does this, which does not run for systemd-analyze.
	files["etc/systemd/system/multi-user.target.wants/cloud-init.target"] = "-> /usr/lib/systemd/system/cloud-init.target"
	return files
}

// writeTree writes files below a new root: text, or links ("-> target").
func writeTree(t testing.TB, root string, files map[string]string) {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(files)) {
		full := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		if target, ok := strings.CutPrefix(files[name], "-> "); ok {
			err = os.Symlink(target, full)
		} else {
			err = os.WriteFile(full, []byte(files[name]), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func load(t testing.TB, root string) *Units {
	t.Helper()
	fsys, done, err := rootfs.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	u, err := Load(fsys, "")
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// loadFiles loads units from a root made of them.
func loadFiles(t testing.TB, files map[string]string) *Units {
	t.Helper()
	root := t.TempDir()
	writeTree(t, root, files)
	return load(t, root)
}

func TestPlansOfDebianReleases(t *testing.T) {
	for _, suite := range []string{"bookworm", "trixie", "sid"} {
		for _, o := range []Ordering{Late, Early} {
			name := suite + "." + string(o)
			t.Run(name, func(t *testing.T) {
				files := sample(t, suite)
				u := loadFiles(t, files)
				p := u.Plan(o)
				golden(t, filepath.Join("testdata", name+".golden"), p.String())
				if again := loadFiles(t, files).Plan(o); !cmp.Equal(p, again) {
					t.Errorf("planned again (-first +second):\n%s", cmp.Diff(p, again))
				}
				checkWithSystemd(t, files, p, false, append(u.NetworkStages(), Service, networkManager)...)
				if c := u.With(p).Cycles(); len(c) > 0 {
					t.Errorf("got the cycles %q, want none", c)
				}
			})
		}
	}
}

// String is for golden files.
func (p Plan) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "ordering: %s\nnotes: %q\nheld: %s\n", p.Ordering, p.Notes, strings.Join(p.Held, " "))
	for _, l := range p.LeftOut {
		fmt.Fprintf(&b, "left out: %s\n", l)
	}
	for _, f := range p.Files {
		dir := "normal"
		if f.Early {
			dir = "early"
		}
		fmt.Fprintf(&b, "-- %s/%s --\n%s", dir, f.Name, f.Text)
		if f.Link != "" {
			fmt.Fprintf(&b, "-> %s\n", f.Link)
		}
	}
	return b.String()
}

// golden compares with a file. UPDATE_GOLDEN=1 writes it.
func golden(t *testing.T, name, got string) {
	t.Helper()
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

func names(files []File) []string {
	var all []string
	for _, f := range files {
		name := f.Name
		if f.Early {
			name = "early/" + name
		}
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}
