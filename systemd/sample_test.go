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

// loadFiles loads units from a root made of them.
func loadFiles(t testing.TB, files map[string]string) *Units {
	t.Helper()
	root := t.TempDir()
	writeTree(t, root, files)
	return load(t, root)
}

// judgePlan has systemd say what becomes of units with a plan carried out, in a
// root of its own: generators do not run there, but /etc has their precedence.
func judgePlan(t testing.TB, files map[string]string, p Plan) verdict {
	t.Helper()
	all := maps.Clone(files)
	for _, f := range p.Files {
		text := f.Text
		if f.Link != "" {
			text = "-> " + f.Link
		}
		all["etc/systemd/system/"+f.Name] = text
	}
	root := t.TempDir()
	writeTree(t, root, all)
	return judge(t, root, nil)
}

func TestSamples(t *testing.T) {
	for _, suite := range []string{"bookworm", "trixie", "sid"} {
		for _, o := range []Ordering{Late, Early} {
			name := suite + "." + string(o)
			t.Run(name, func(t *testing.T) {
				files := sample(t, suite)
				u := loadFiles(t, files)
				p := u.Plan(o)
				golden(t, filepath.Join("testdata", name+".golden"), p.String())
				if again := loadFiles(t, files).Plan(o); !cmp.Equal(p, again) {
					t.Error(cmp.Diff(p, again))
				}
				v := judgePlan(t, files, p)
				for _, id := range append(u.NetworkStages(), Service, networkManager) {
					if !v.jobs[id] {
						t.Errorf("systemd does not start %s; it found %q", id, v.cycles)
					}
				}
				if c := u.With(p).Cycles(); len(c) > 0 || len(v.cycles) > 0 {
					t.Errorf("cycles: here %q, there %q", c, v.cycles)
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
		t.Error(diff)
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
