package credentials

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func mode(t *testing.T, path string, want os.FileMode) {
	t.Helper()
	if info, err := os.Lstat(path); err != nil || info.Mode().Perm() != want {
		t.Errorf("%s: %v, %v", path, info, err)
	}
}

func TestStoreKeys(t *testing.T) {
	s := Store{filepath.Join(t.TempDir(), "store")}
	check := func(instance string, want Keys, wantKnown bool) {
		t.Helper()
		keys, _, known, err := s.Keys(instance)
		if err != nil || known != wantKnown || !slices.Equal(keys, want) {
			t.Errorf("%q: %v, %t, %v", instance, keys, known, err)
		}
	}
	check("vm", nil, false)
	must(t, s.RecordKeys("vm", Keys{oldKey, otherKey}, nil))
	mode(t, s.Dir, 0o700)
	mode(t, filepath.Join(s.Dir, keysFile), 0o600)
	check("vm", Keys{oldKey, otherKey}, true)
	check("clone", nil, false)
	check("", nil, false)
	must(t, s.RecordKeys("vm", nil, nil)) // no keys is something to know, too
	check("vm", nil, true)
	must(t, s.RecordKeys("", nil, nil))
	check("", nil, false)
}

// Whatever stands in their place, records are read without harm, and can be
// written again.
func TestStoreHostile(t *testing.T) {
	s := Store{t.TempDir()}
	for _, name := range []string{keysFile, passwordFile} {
		path := filepath.Join(s.Dir, name)
		read := func() (bool, error) {
			if name == keysFile {
				_, _, known, err := s.Keys("vm")
				return known, err
			}
			has, err := s.HasPassword("vm")
			if applied, e := s.Applied("vm", "secret"); applied || (e == nil) != (err == nil) {
				t.Errorf("%t, %v", applied, e)
			}
			return has, err
		}
		record := func() error {
			if name == keysFile {
				return s.RecordKeys("vm", Keys{oldKey}, nil)
			}
			return s.RecordPassword("vm", "other")
		}
		hostile(t, path, func(t *testing.T) {
			if known, err := read(); known || err == nil || !strings.HasPrefix(err.Error(), "cannot read "+path+": it is ") {
				t.Errorf("%t, %v", known, err)
			}
			if info, err := os.Lstat(path); err != nil || info.IsDir() { // nobody but root made that
				return
			}
			must(t, record())
			if known, err := read(); !known || err != nil {
				t.Errorf("%t, %v", known, err)
			}
		})
		for _, text := range []string{
			"", "{", "[]", "7", `"x"`, "\xff", `{"instance-id": 7}`, strings.Repeat("[", 500000),
			`{"instance-id": "vm", "keys": "ssh-ed25519 AAAA", "scrypt": 7}`,
			`{"instance-id": "vm", "keys": ["ssh-ed25519 AAAA secret"], "scrypt": "secret"}`,
			`{"instance-id": "vm", "keys": ["` + string(oldKey) + `", "` + string(oldKey) + `"], "scrypt": ""}`,
			`{"instance-id": "vm", "keys": [null], "scrypt": "$scrypt$"}`,
		} {
			write0(t, path, text)
			if known, err := read(); known || err == nil || err.Error() != "cannot read "+path+": it is damaged (it may be removed)" {
				t.Errorf("%.50q: %t, %v", text, known, err)
			}
		}
	}
}

func TestJob(t *testing.T) {
	dir := t.TempDir()
	if _, found, err := ReadJob(dir); found || err != nil {
		t.Errorf("%t, %v", found, err)
	}
	must(t, RemoveJob(dir))
	want := Job{Instance: "vm", User: "debian", Remove: Keys{oldKey}, Keys: Keys{newKey, otherKey}}
	must(t, WriteJob(dir, want))
	path := filepath.Join(dir, "private/ssh-keys.json")
	mode(t, filepath.Dir(path), 0o700)
	mode(t, path, 0o600)
	got, found, err := ReadJob(dir)
	if diff := cmp.Diff(want, got); !found || err != nil || diff != "" {
		t.Errorf("%t, %v, (-want +got):\n%s", found, err, diff)
	}
	write0(t, path, `{"user": "debian"}`)
	if _, found, err := ReadJob(dir); found || err == nil {
		t.Errorf("%t, %v", found, err)
	}
	must(t, RemoveJob(dir))
	if _, found, err := ReadJob(dir); found || err != nil {
		t.Errorf("%t, %v", found, err)
	}
}

func FuzzRecord(f *testing.F) {
	s := Store{f.TempDir()}
	must(f, s.RecordKeys("vm", Keys{oldKey, newKey}, nil))
	must(f, s.RecordPassword("vm", "x"))
	for _, name := range []string{keysFile, passwordFile} {
		data, err := os.ReadFile(filepath.Join(s.Dir, name))
		must(f, err)
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		s := Store{t.TempDir()}
		write0(t, filepath.Join(s.Dir, keysFile), string(data))
		write0(t, filepath.Join(s.Dir, passwordFile), string(data))
		keys, unsure, known, err := s.Keys("vm")
		if err == nil && known {
			must(t, s.RecordKeys("vm", keys, unsure))
		}
		if again, still, is, err := s.Keys("vm"); err == nil && (is != known || !slices.Equal(keys, again) || !slices.Equal(unsure, still)) {
			t.Errorf("%q became %q", keys, again)
		}
		if r, _, err := s.password("vm"); err == nil && (r.Hash.log > 16 || r.Hash.r > 8 || r.Hash.p > 2) {
			t.Errorf("it costs too much: %+v", r.Hash)
		}
	})
}
