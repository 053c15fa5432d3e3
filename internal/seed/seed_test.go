package seed

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/nm-cloud-seed/nm-cloud-seed/datasource"
)

// newStore is a store below a fresh directory, which is returned too.
func newStore(t *testing.T) (Store, string) {
	t.Helper()
	root := t.TempDir()
	return Store{Dir: filepath.Join(root, "run/nm-cloud-seed"), Link: filepath.Join(root, "lib/cloud/seed/cs")}, root
}

func instance(name string) *datasource.Instance {
	return &datasource.Instance{ID: name, UserData: []byte("user-data of " + name)}
}

// tree lists everything below root: directories with their mode, files with
// mode and content, links with their target. Generations get numbered names.
func tree(t *testing.T, root string) map[string]string {
	t.Helper()
	got := map[string]string{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == root {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		value := info.Mode().String()
		switch {
		case d.Type() == fs.ModeSymlink:
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			value = "-> " + target
		case d.Type().IsRegular():
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			value += " " + string(data)
		}
		got[strings.TrimPrefix(path, root+"/")] = value
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// seen is what cloud-init finds through the link: the names of the instances
// in meta-data and user-data.
func seen(t *testing.T, link string) [2]string {
	t.Helper()
	meta, err := os.ReadFile(filepath.Join(link, "meta-data"))
	if err != nil {
		t.Fatal(err)
	}
	user, err := os.ReadFile(filepath.Join(link, "user-data"))
	if err != nil {
		t.Fatal(err)
	}
	return [2]string{string(meta), string(user)}
}

func want(inst *datasource.Instance) [2]string {
	return [2]string{string(MetaData(inst)), string(inst.UserData)}
}

func write(t *testing.T, s Store, inst *datasource.Instance) (kept string) {
	t.Helper()
	kept, err := s.Write(inst)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want(inst), seen(t, s.Link)); diff != "" {
		t.Fatalf("seed (-want +got):\n%s", diff)
	}
	return kept
}

func TestWriteLayout(t *testing.T) {
	for _, umask := range []int{0, 0o022, 0o777} {
		s, root := newStore(t)
		old := unix.Umask(umask)
		kept, err := s.Write(instance("one"))
		unix.Umask(old)
		if err != nil || kept != "" {
			t.Fatalf("umask %o: Write = %q, %v", umask, kept, err)
		}
		target, err := os.Readlink(filepath.Join(s.Dir, "seed"))
		if err != nil {
			t.Fatal(err)
		}
		diff := cmp.Diff(map[string]string{
			"run":                                        "drwxr-xr-x",
			"run/nm-cloud-seed":                          "drwxr-xr-x",
			"run/nm-cloud-seed/seed":                     "-> " + target,
			"run/nm-cloud-seed/seed.d":                   "drwx------",
			"run/nm-cloud-seed/" + target:                "drwx------",
			"run/nm-cloud-seed/" + target + "/meta-data": "-rw------- {\n  \"instance-id\": \"one\"\n}\n",
			"run/nm-cloud-seed/" + target + "/user-data": "-rw------- user-data of one",
			"lib":               "drwxr-xr-x",
			"lib/cloud":         "drwxr-xr-x",
			"lib/cloud/seed":    "drwxr-xr-x",
			"lib/cloud/seed/cs": "-> " + s.Dir + "/seed",
		}, tree(t, root))
		if diff != "" || filepath.Dir(target) != "seed.d" {
			t.Errorf("umask %o: tree (-want +got):\n%s", umask, diff)
		}
	}
}

func TestWriteReplacesAndPrunes(t *testing.T) {
	s, root := newStore(t)
	write(t, s, instance("one"))
	before, err := os.Lstat(s.Link)
	if err != nil {
		t.Fatal(err)
	}
	// What killed runs leave behind.
	for _, dir := range []string{"seed.d/123", ".seed.tmp-1"} {
		if err := os.MkdirAll(filepath.Join(s.Dir, dir), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(s.Dir, dir, "user-data"), []byte("secret"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Join(s.Dir, "seed.d"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(s.Dir, "status.json"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if kept := write(t, s, &datasource.Instance{ID: "two"}); kept != "" {
		t.Errorf("got %q kept aside, want nothing", kept)
	}
	after, err := os.Lstat(s.Link)
	if err != nil {
		t.Fatal(err)
	}
	if !os.SameFile(before, after) || !before.ModTime().Equal(after.ModTime()) {
		t.Error("got a right link replaced, want it left alone")
	}
	got := tree(t, root)
	if n := len(got); n != 12 { // the layout and status.json
		t.Errorf("got %d entries, want 12: %v", n, got)
	}
	if mode := got["run/nm-cloud-seed/seed.d"]; mode != "drwx------" {
		t.Errorf("got seed.d with %s, want drwx------", mode)
	}
}

// TestWriteFailureKeepsTheOldSeed sees that whatever fails, there is an error that names the place,
// the old seed and nothing else.
func TestWriteFailureKeepsTheOldSeed(t *testing.T) {
	file := func(path string) func(*testing.T, Store) {
		return func(t *testing.T, s Store) {
			path := strings.NewReplacer("DIR", s.Dir, "LINK", s.Link).Replace(path)
			path = filepath.Clean(path)
			if err := os.RemoveAll(path); err != nil {
				t.Fatal(err)
			}
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte("in the way"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, tt := range []struct {
		name     string
		obstruct func(*testing.T, Store)
		want     string // "cannot write the seed: " + this
	}{
		{"Dir is a file", file("DIR"), "cannot create directory ROOT/run/nm-cloud-seed: not a directory (remove what stands in the directory's place)"},
		{"seed.d is a file", file("DIR/seed.d"), "cannot create directory ROOT/run/nm-cloud-seed/seed.d: not a directory (remove what stands in the directory's place)"},
		{"seed.d is a link", func(t *testing.T, s Store) {
			if err := os.RemoveAll(s.generations()); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(t.TempDir(), s.generations()); err != nil {
				t.Fatal(err)
			}
		}, "cannot make private ROOT/run/nm-cloud-seed/seed.d: not a directory (remove what stands in the directory's place)"},
		{"seed is a directory", func(t *testing.T, s Store) {
			if err := os.RemoveAll(s.current()); err != nil {
				t.Fatal(err)
			}
			if err := os.MkdirAll(filepath.Join(s.current(), "x"), 0o755); err != nil {
				t.Fatal(err)
			}
		}, "cannot link ROOT/run/nm-cloud-seed/seed: file exists (move away what stands there)"},
		{"a parent of Link is a file", file("LINK/.."), "cannot create directory ROOT/lib/cloud/seed: not a directory (remove what stands in the directory's place)"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, root := newStore(t)
			if err := os.MkdirAll(s.generations(), 0o700); err != nil {
				t.Fatal(err)
			}
			tt.obstruct(t, s)
			before := tree(t, root)
			_, err := s.Write(&datasource.Instance{ID: "s3cret", UserData: []byte("s3cret")})
			want := "cannot write the seed: " + strings.ReplaceAll(tt.want, "ROOT", root)
			if err == nil || err.Error() != want {
				t.Errorf("got  %v\nwant %s", err, want)
			}
			after := tree(t, root)
			delete(after, "lib")
			delete(after, "lib/cloud") // parents of Link may stay
			delete(after, "lib/cloud/seed")
			delete(before, "lib")
			delete(before, "lib/cloud")
			delete(before, "lib/cloud/seed")
			if diff := cmp.Diff(before, after); diff != "" {
				t.Errorf("tree (-before +after):\n%s", diff)
			}
		})
	}
}

func TestWriteDir(t *testing.T) {
	root := t.TempDir()
	elsewhere := filepath.Join(root, "elsewhere")
	if err := os.WriteFile(elsewhere, []byte("precious"), 0o644); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(root, "out")
	if err := WriteDir(dir, instance("one")); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "user-data")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(elsewhere, filepath.Join(dir, "user-data")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "other"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := WriteDir(dir, &datasource.Instance{ID: "two"}); err != nil {
		t.Fatal(err)
	}
	diff := cmp.Diff(map[string]string{
		"elsewhere":     "-rw-r--r-- precious",
		"out":           "drwx------",
		"out/meta-data": "-rw------- {\n  \"instance-id\": \"two\"\n}\n",
		"out/user-data": "-rw------- ",
		"out/other":     "-rw-r--r-- ",
	}, tree(t, root))
	if diff != "" {
		t.Errorf("tree (-want +got):\n%s", diff)
	}

	err := WriteDir(elsewhere, instance("one"))
	want := "cannot write the instance to " + elsewhere + ": cannot create directory " + elsewhere +
		": not a directory (remove what stands in the directory's place)"
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

func TestWriteDirKeepsTheModeOfADirectory(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o750); err != nil {
		t.Fatal(err)
	}
	if err := WriteDir(dir, instance("one")); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o750 {
		t.Errorf("got %v, %v, want 0750", info.Mode(), err)
	}
}
