package credentials

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestRemove(t *testing.T) {
	const junk = "# a comment\r\n\n  \t\nnot a key\n\xff\xfe\x00\n"
	o, n, other := string(oldKey), string(newKey), string(otherKey)
	type files = map[string]string
	for _, tt := range []struct {
		name        string
		have, want  files // want nil: as they were
		remove      Keys
		removed     bool
		notApplied  bool
		presentNone bool
	}{
		{name: "as cloud-init leaves it", have: files{"authorized_keys": o + " a\n" + n + " b\n"}, want: files{"authorized_keys": n + " b\n"}, removed: true},
		{name: "as it leaves root's", have: files{"authorized_keys": disabled + o + " a\n" + disabled + n + " b\n"}, want: files{"authorized_keys": disabled + n + " b\n"}, removed: true},
		{
			name:    "all else stays, byte for byte",
			have:    files{"authorized_keys": junk + other + " x\r\n" + o + "\r\n#" + o + "\n" + n + "\n" + o + " again\n" + junk + "command=\"" + o + "\" " + other},
			want:    files{"authorized_keys": junk + other + " x\r\n#" + o + "\n" + n + "\n" + junk + "command=\"" + o + "\" " + other},
			removed: true,
		},
		{name: "the last line has no end", have: files{"authorized_keys": n + "\n" + o}, want: files{"authorized_keys": n + "\n"}, removed: true},
		{name: "nothing to remove", have: files{"authorized_keys": n + "\n" + other}},
		{name: "the new key is not there", have: files{"authorized_keys": o + "\n" + other + "\n"}, notApplied: true},
		{name: "it is not there, and there is nothing to remove", have: files{"authorized_keys": other + "\n"}, notApplied: true},
		{name: "it is commented out", have: files{"authorized_keys": o + "\n#" + n + "\n"}, notApplied: true},
		{name: "there are no new keys", have: files{"authorized_keys": o + "\n" + n + "\n"}, notApplied: true, presentNone: true},
		{name: "an empty file", have: files{"authorized_keys": ""}, notApplied: true},
		{name: "no file", have: files{"known_hosts": o}, notApplied: true},
		{name: "nothing at all", notApplied: true},
		{name: "another file of sshd's", have: files{"authorized_keys": n + "\n", "authorized_keys2": o}},
		{name: "a killed run's rest", have: files{"authorized_keys": n + "\n" + o, ".authorized_keys.nm-cloud-seed": "half"}, want: files{"authorized_keys": n + "\n"}, removed: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			home := t.TempDir()
			for name, text := range tt.have {
				write0(t, filepath.Join(home, ".ssh", name), text)
			}
			if tt.want == nil {
				tt.want = tt.have
			}
			present := Keys{newKey}
			if tt.presentNone {
				present = nil
			}
			removed, err := Remove(home, Keys{oldKey}, present)
			if tt.notApplied != errors.Is(err, ErrNotApplied) || !tt.notApplied && err != nil {
				t.Errorf("got the error %v, want ErrNotApplied: %t", err, tt.notApplied)
			}
			if want := (Keys{oldKey}); tt.removed && !slices.Equal(removed, want) || !tt.removed && removed != nil {
				t.Errorf("got %v removed, want the old key: %t", removed, tt.removed)
			}
			if diff := cmp.Diff(tt.want, sshFiles(t, home)); diff != "" {
				t.Errorf("files (-want +got):\n%s", diff)
			}
		})
	}
}

func sshFiles(t *testing.T, home string) map[string]string {
	entries, err := os.ReadDir(filepath.Join(home, ".ssh"))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	must(t, err)
	got := map[string]string{}
	for _, e := range entries {
		text, err := os.ReadFile(filepath.Join(home, ".ssh", e.Name()))
		must(t, err)
		got[e.Name()] = string(text)
	}
	return got
}

// What is there to be removed from, and its new version.
var (
	before = string(newKey) + "\n" + string(oldKey) + "\n"
	after  = string(newKey) + "\n"
)

func TestRemoveKeepsMode(t *testing.T) {
	for _, mode := range []os.FileMode{0o600, 0o644, 0o640, 0o400} {
		home := t.TempDir()
		path := filepath.Join(home, ".ssh/authorized_keys")
		write0(t, path, before)
		must(t, os.Chmod(path, mode))
		umask := syscall.Umask(0o777)
		_, err := Remove(home, Keys{oldKey}, Keys{newKey})
		syscall.Umask(umask)
		must(t, err)
		if info, err := os.Stat(path); err != nil || info.Mode() != mode {
			t.Errorf("got %v, error %v, want mode %v", info, err, mode)
		}
	}
}

// A file that needs no change is not touched at all.
func TestRemoveDoesNotTouchUnchangedFile(t *testing.T) {
	home := t.TempDir()
	path := filepath.Join(home, ".ssh/authorized_keys")
	write0(t, path, after)
	past := time.Now().Add(-time.Hour)
	must(t, os.Chtimes(path, past, past))
	was, err := os.Stat(path)
	must(t, err)
	if _, err := Remove(home, Keys{oldKey}, Keys{newKey}); err != nil {
		t.Fatal(err)
	}
	is, err := os.Stat(path)
	must(t, err)
	if !os.SameFile(was, is) || !is.ModTime().Equal(was.ModTime()) {
		t.Errorf("got a file of %v, want the same one of %v", is.ModTime(), was.ModTime())
	}
}

// Whatever stands in the place of the file, it is an error.
func TestRemoveHostileFile(t *testing.T) {
	home := t.TempDir()
	hostile(t, filepath.Join(home, ".ssh/authorized_keys"), func(t *testing.T) {
		removed, err := Remove(home, Keys{oldKey}, Keys{newKey})
		if removed != nil || err == nil || !strings.HasPrefix(err.Error(), "cannot remove SSH keys from "+home+"/.ssh/authorized_keys: it is ") {
			t.Errorf("got %v removed, error %v, want none, and an error that says what it is", removed, err)
		}
	})
}

func TestRemoveHostileDirectory(t *testing.T) {
	home, outside := t.TempDir(), t.TempDir()
	write0(t, filepath.Join(outside, "authorized_keys"), before)
	for name, put := range map[string]func(path string) error{
		"link": func(path string) error { return os.Symlink(outside, path) },
		"file": func(path string) error { return os.WriteFile(path, nil, 0o600) },
		"fifo": func(path string) error { return syscall.Mkfifo(path, 0o600) },
	} {
		path := filepath.Join(home, ".ssh")
		must(t, os.RemoveAll(path))
		must(t, put(path))
		if _, err := Remove(home, Keys{oldKey}, Keys{newKey}); err == nil || err.Error() != "cannot open "+path+": not a directory, or a symbolic link" {
			t.Errorf("%s: got the error %v, want that it is no directory, or a link", name, err)
		}
	}
	checkText(t, filepath.Join(outside, "authorized_keys"), before)
	// The home itself may be reached through a link.
	must(t, os.RemoveAll(filepath.Join(home, ".ssh")))
	must(t, os.Rename(outside, filepath.Join(home, ".ssh")))
	link := filepath.Join(t.TempDir(), "home")
	must(t, os.Symlink(home, link))
	if _, err := Remove(link, Keys{oldKey}, Keys{newKey}); err != nil {
		t.Error(err)
	}
	checkText(t, filepath.Join(home, ".ssh/authorized_keys"), after)
}

func checkText(t *testing.T, path, want string) {
	t.Helper()
	text, err := os.ReadFile(path)
	must(t, err)
	if string(text) != want {
		t.Errorf("%s: %q, want %q", path, text, want)
	}
}

// What was changed meanwhile is not overwritten.
func TestRemoveRefusesChangedFile(t *testing.T) {
	home := t.TempDir()
	path := filepath.Join(home, ".ssh/authorized_keys")
	write0(t, path, before)
	dir, err := openDir(home)
	must(t, err)
	defer syscall.Close(dir)
	f := file{dir: dir, name: "authorized_keys"}
	_, f.stat, err = readRegular(dir, f.name)
	must(t, err)
	write0(t, path, before+string(otherKey)+"\n")
	if err := f.replace([]byte(after)); !errors.Is(err, errChanged) {
		t.Errorf("got the error %v, want %v", err, errChanged)
	}
	if diff := cmp.Diff(map[string]string{"authorized_keys": before + string(otherKey) + "\n"}, sshFiles(t, home)); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
}

// TestRemoveRace: whatever its user does to .ssh meanwhile, nothing outside of it
// changes.
func TestRemoveRace(t *testing.T) {
	home, outside := t.TempDir(), t.TempDir()
	target := filepath.Join(outside, "authorized_keys")
	write0(t, target, before)
	ssh := filepath.Join(home, ".ssh")
	path := filepath.Join(ssh, "authorized_keys")
	done := make(chan struct{})
	swapped := make(chan struct{})
	go func() {
		defer close(swapped)
		for i := 0; ; i++ {
			select {
			case <-done:
				return
			default:
			}
			_ = os.RemoveAll(ssh)
			switch i % 3 {
			case 0: // the directory
				_ = os.Symlink(outside, ssh)
			case 1: // the file
				_ = os.Mkdir(ssh, 0o700)
				_ = os.Symlink(target, path)
			case 2: // the file, under its reader's eyes
				_ = os.Mkdir(ssh, 0o700)
				_ = os.WriteFile(path, []byte(before), 0o600)
				_ = os.Symlink(target, path+".link")
				_ = os.Symlink(target, filepath.Join(ssh, ".authorized_keys.nm-cloud-seed"))
				_ = os.Rename(path+".link", path)
			}
		}
	}()
	for range 2000 {
		_, _ = Remove(home, Keys{oldKey}, Keys{newKey})
	}
	close(done)
	<-swapped
	checkText(t, target, before)
	if entries, err := os.ReadDir(outside); err != nil || len(entries) != 1 {
		t.Errorf("got %v, error %v outside, want one file", entries, err)
	}
}

// FuzzWithout: what was removed is gone, and what has nothing of it stays.
func FuzzWithout(f *testing.F) {
	for _, tt := range lines {
		f.Add([]byte(tt.line + "\n" + string(newKey) + "\n"))
		f.Add([]byte("a\r\n" + tt.line))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		rest, found := without(text, Keys{oldKey})
		var want []byte
		gone := 0
		for _, line := range bytes.SplitAfter(text, []byte("\n")) {
			if key, _ := keyOf(string(line)); key == oldKey {
				gone++
				bare := bytes.Map(func(r rune) rune {
					if strings.ContainsRune("\r\n\v\f", r) {
						return -1
					}
					return r
				}, line)
				if !bytes.Contains(bare, []byte(oldKey.Base64())) {
					t.Errorf("%q has not got it", line)
				}
				continue
			}
			want = append(want, line...)
		}
		if !bytes.Equal(rest, want) || (gone > 0) != (len(found) == 1) {
			t.Errorf("%q: got %q, removed %v, want %q", text, rest, found, want)
		}
		if again, found := without(rest, Keys{oldKey}); !bytes.Equal(again, rest) || found != nil {
			t.Errorf("it is still in %q", rest)
		}
	})
}
