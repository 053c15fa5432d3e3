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
		t.Errorf("%s: got %v, error %v, want mode %v", path, info, err, want)
	}
}

func TestStoreKeys(t *testing.T) {
	s := Store{filepath.Join(t.TempDir(), "store")}
	check := func(instance string, want Keys, wantKnown bool) {
		t.Helper()
		keys, _, known, err := s.Keys(instance)
		if err != nil || known != wantKnown || !slices.Equal(keys, want) {
			t.Errorf("%q: got %v, known %t, error %v, want %v, %t, none", instance, keys, known, err, want, wantKnown)
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
			_, has, err := s.password("vm")
			if d, _, e := s.Decision("vm", "secret", "debian", Shadow{}); d == AppliedBefore || (e == nil) != (err == nil) {
				t.Errorf("got decision %d, error %v, want another, and error %v", d, e, err)
			}
			return has, err
		}
		record := func() error {
			if name == keysFile {
				return s.RecordKeys("vm", Keys{oldKey}, nil)
			}
			recordPassword(t, s, "vm", "other")
			return nil
		}
		hostile(t, path, func(t *testing.T) {
			if known, err := read(); known || err == nil || !strings.HasPrefix(err.Error(), "cannot read "+path+": it is ") {
				t.Errorf("got known %t, error %v, want false and an error that says what it is", known, err)
			}
			if info, err := os.Lstat(path); err != nil || info.IsDir() { // nobody but root made that
				return
			}
			must(t, record())
			if known, err := read(); !known || err != nil {
				t.Errorf("got known %t, error %v, want true and none", known, err)
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
				t.Errorf("%.50q: got known %t, error %v, want false and that it is damaged", text, known, err)
			}
		}
	}
}

// What another instance left goes, with what cannot be read.
func TestForget(t *testing.T) {
	keys := func(t *testing.T, s Store, instance string) {
		must(t, s.RecordKeys(instance, Keys{oldKey}, Keys{newKey}))
	}
	password := func(t *testing.T, s Store, instance string) { recordPassword(t, s, instance, "secret") }
	damage := func(text string) func(*testing.T, Store, string) {
		return func(t *testing.T, s Store, _ string) {
			for _, name := range []string{keysFile, passwordFile} {
				write0(t, filepath.Join(s.Dir, name), text)
			}
		}
	}
	both := []string{passwordFile, keysFile}
	for _, tt := range []struct {
		name           string
		mine, anothers func(*testing.T, Store, string)
		left           []string
	}{
		{"nothing", nil, nil, nil},
		{"both mine", func(t *testing.T, s Store, i string) { keys(t, s, i); password(t, s, i) }, nil, both},
		{"both another's", nil, func(t *testing.T, s Store, i string) { keys(t, s, i); password(t, s, i) }, nil},
		{"keys mine", keys, password, []string{keysFile}},
		{"password mine", password, keys, []string{passwordFile}},
		{"keys only", keys, nil, []string{keysFile}},
		{"another's keys only", nil, keys, nil},
		{"another's password only", nil, password, nil},
		{"empty", damage(""), nil, nil},
		{"truncated", damage(`{"instance-id": "vm", "ke`), nil, nil},
		{"wrong type", damage(`{"instance-id": ["vm"]}`), nil, nil},
		{"nobody's", damage(`{}`), nil, nil},
		{"too long", damage(`{"instance-id": "vm"}` + strings.Repeat(" ", maxFile)), nil, nil},
		{"another case", damage(`{"instance-id": "VM"}`), nil, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := Store{filepath.Join(t.TempDir(), "store")}
			write0(t, filepath.Join(s.Dir, "last-boot.json"), "{}") // is not its affair
			if tt.mine != nil {
				tt.mine(t, s, "vm")
			}
			if tt.anothers != nil {
				tt.anothers(t, s, "clone")
			}
			before := dir(t, s)
			must(t, s.Forget("vm", true))
			left := dir(t, s)
			delete(left, "last-boot.json")
			want := map[string]string{}
			for _, name := range tt.left {
				want[name] = before[name]
			}
			if diff := cmp.Diff(want, left); diff != "" {
				t.Errorf("-want +left:\n%s", diff)
			}
			must(t, s.Forget("vm", true))
		})
	}
	if err := (Store{filepath.Join(t.TempDir(), "missing")}).Forget("vm", true); err != nil {
		t.Error(err)
	}
}

// What a killed write left beside a record may hold as much of another instance.
func TestForgetUnfinished(t *testing.T) {
	s := Store{t.TempDir()}
	must(t, s.RecordKeys("clone", Keys{oldKey}, nil))
	write0(t, filepath.Join(s.Dir, "."+keysFile+".tmp-1"), `{"instance-id": "clone"}`)
	write0(t, filepath.Join(s.Dir, "."+passwordFile+".tmp-1"), `{"instance-id": "clone"}`)
	recordPassword(t, s, "clone", "secret")
	must(t, s.Forget("vm", true))
	if diff := cmp.Diff(map[string]string{}, dir(t, s)); diff != "" {
		t.Errorf("-want +left:\n%s", diff)
	}
}

// Whatever stands in a record's place goes, and where it leads to stays; one that
// does not go keeps the others from nothing.
func TestForgetHostile(t *testing.T) {
	s := Store{t.TempDir()}
	theirs := filepath.Join(t.TempDir(), "theirs")
	write0(t, theirs, `{"instance-id": "clone"}`)
	for _, name := range []string{keysFile, passwordFile} {
		path := filepath.Join(s.Dir, name)
		gone := func(t *testing.T) {
			must(t, s.Forget("vm", true))
			if _, err := os.Lstat(path); !os.IsNotExist(err) {
				t.Errorf("%s: got %v, want it gone", path, err)
			}
		}
		hostile(t, path, gone)
		must(t, os.Symlink(theirs, path))
		gone(t)
	}
	if _, err := os.Stat(theirs); err != nil {
		t.Error(err)
	}
	write0(t, filepath.Join(s.Dir, passwordFile, "x"), "")
	must(t, s.RecordKeys("clone", Keys{oldKey}, nil))
	want := "cannot remove " + filepath.Join(s.Dir, passwordFile) + ": directory not empty (move away what stands there)"
	if err := s.Forget("vm", true); err == nil || err.Error() != want {
		t.Errorf("error %v\nwant  %s", err, want)
	}
	if _, err := os.Lstat(filepath.Join(s.Dir, keysFile)); !os.IsNotExist(err) {
		t.Errorf("the keys: got %v, want them gone", err)
	}
}

// A record of a password that cannot be read goes, too, but not that there was one:
// what is served may have been applied.
func TestForgetLeavesDamage(t *testing.T) {
	s := Store{t.TempDir()}
	path := filepath.Join(s.Dir, passwordFile)
	check := func(t *testing.T) {
		must(t, s.Forget("vm", false))
		if text, err := os.ReadFile(path); err != nil || string(text) != `{"instance-id":"vm","damaged":true}`+"\n" {
			t.Errorf("got %q, %v, want the instance and the damage alone", text, err)
		}
		if d, first, err := s.Decision("vm", "x", "debian", Shadow{map[string]Fingerprint{}}); d != LeaveUnknown || first || err == nil {
			t.Errorf("got decision %d, first %t, error %v, want %d, false and an error", d, first, err, LeaveUnknown)
		}
		must(t, os.Remove(path))
	}
	hostile(t, path, check)
	for _, text := range []string{"", "{", `{}`, `{"instance-id": ["vm"]}`, strings.Repeat("[", 500000)} {
		write0(t, path, text)
		write0(t, filepath.Join(s.Dir, "."+passwordFile+".tmp-1"), `{"instance-id": "clone"}`)
		check(t)
	}
	if diff := cmp.Diff(map[string]string{}, dir(t, s)); diff != "" {
		t.Errorf("-want +left:\n%s", diff)
	}
	recordPassword(t, s, "clone", "secret") // can be read
	must(t, s.Forget("vm", false))
	if diff := cmp.Diff(map[string]string{}, dir(t, s)); diff != "" {
		t.Errorf("-want +left:\n%s", diff)
	}
}

// A first boot's keys are no keys that were applied.
func TestStoreFirstKeys(t *testing.T) {
	s := Store{t.TempDir()}
	must(t, s.RecordFirstKeys("vm", Keys{oldKey}))
	if keys, unsure, known, err := s.Keys("vm"); len(keys) > 0 || !slices.Equal(unsure, Keys{oldKey}) || known || err != nil {
		t.Errorf("got %v, handed over %v, known %t, error %v, want the old one handed over", keys, unsure, known, err)
	}
	must(t, s.RecordKeys("vm", Keys{oldKey}, nil))
	if keys, unsure, known, err := s.Keys("vm"); !slices.Equal(keys, Keys{oldKey}) || len(unsure) > 0 || !known || err != nil {
		t.Errorf("got %v, handed over %v, known %t, error %v, want the old one known", keys, unsure, known, err)
	}
}

// dir is what the store's directory holds.
func dir(t *testing.T, s Store) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(s.Dir)
	must(t, err)
	files := map[string]string{}
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(s.Dir, e.Name()))
		must(t, err)
		files[e.Name()] = string(data)
	}
	return files
}

func TestJob(t *testing.T) {
	dir := t.TempDir()
	if _, found, err := ReadJob(dir); found || err != nil {
		t.Errorf("got found %t, error %v, want false and none", found, err)
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
		t.Errorf("got found %t, error %v, want false and an error", found, err)
	}
	must(t, RemoveJob(dir))
	if _, found, err := ReadJob(dir); found || err != nil {
		t.Errorf("got found %t, error %v, want false and none", found, err)
	}
}

func FuzzRecord(f *testing.F) {
	s := Store{f.TempDir()}
	must(f, s.RecordKeys("vm", Keys{oldKey, newKey}, nil))
	recordPassword(f, s, "vm", "x")
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
			t.Errorf("got %q, want %q", again, keys)
		}
		if r, _, err := s.password("vm"); err == nil && r.Hash != nil && (r.Hash.log > 16 || r.Hash.r > 8 || r.Hash.p > 2) {
			t.Errorf("it costs too much: %+v", r.Hash)
		}
	})
}
