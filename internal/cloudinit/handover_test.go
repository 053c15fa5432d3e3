package cloudinit

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What cloud-init makes of it: TestApplyAgreesWithRealCloudInit.
func TestHandover(t *testing.T) {
	const comment = "# Written by nm-cloud-seed: what CloudStack wants applied in this boot. It goes\n# away once cloud-init has done so.\n"
	for _, tt := range []struct {
		name string
		Handover
		want string
	}{
		{"nothing", Handover{}, comment},
		{"password", Handover{PasswordHash: aHash}, comment + "password: \"" + aHash + "\"\nchpasswd: {expire: false}\n"},
		{"keys", Handover{SSHKeys: true}, comment + "ssh_deletekeys: false\n"},
		{"all", Handover{PasswordHash: aHash, AllowPasswordAuth: true, SSHKeys: true}, comment + "password: \"" + aHash + "\"\nchpasswd: {expire: false}\nssh_pwauth: true\nssh_deletekeys: false\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "nm-cloud-seed")
			path := filepath.Join(dir, dropIn)
			if err := NoSearch(dir); err != nil { // what was there goes
				t.Fatal(err)
			}
			if err := tt.Write(dir); err != nil {
				t.Fatal(err)
			}
			got, err := os.ReadFile(path)
			if diff := cmp.Diff(tt.want, string(got)); diff != "" || err != nil {
				t.Errorf("got %v, -want +got:\n%s", err, diff)
			}
			for name, want := range map[string]fs.FileMode{filepath.Dir(path): fs.ModeDir | 0o700, path: 0o600} {
				if info, err := os.Lstat(name); err != nil || info.Mode() != want {
					t.Errorf("%s: got %v (%v), want %v", name, info.Mode(), err, want)
				}
			}
			if err := TakeBack(dir); err != nil {
				t.Error(err)
			}
			if _, err := os.Lstat(path); !os.IsNotExist(err) {
				t.Errorf("got %v, want the drop-in gone", err)
			}
		})
	}
}

func TestHandoverRefuses(t *testing.T) {
	for _, bad := range []string{
		"geheim", "R", "$1$a$b", "$6$a", "$6$a$", "$6$$b", "$6$a$b:", "$6$a$b\n", "$6$a$\"b", "$6$a$b\npassword: x", "$6$rounds=x$a$b", "x$6$a$b",
		"$6$a$" + strings.Repeat("b", maxHash),
	} {
		dir := t.TempDir()
		err := Handover{PasswordHash: bad}.Write(dir)
		if want := "cannot hand the password over to cloud-init: it is not a SHA-512-crypt hash"; err == nil || err.Error() != want {
			t.Errorf("%q: got %v, want %s", bad, err, want)
		}
		if _, err := os.Lstat(filepath.Join(dir, dropIn)); !os.IsNotExist(err) {
			t.Errorf("%q: got %v, want nothing written", bad, err)
		}
	}
}

// TestConfigKnowsOurLink: what is behind our link is not the image's word, what is behind
// another one, or in a file of that name, is.
func TestConfigKnowsOurLink(t *testing.T) {
	for _, tt := range []struct {
		name, to string
		linked   bool
		at       string
	}{
		{"ours", dropInTarget, true, ""},
		{"another", "/run/other.cfg", false, "/" + dropInLink + ":1"},
		{"a file", "", false, "/" + dropInLink + ":1"},
	} {
		root := t.TempDir()
		put(t, root, configFile, "")
		put(t, root, dropInTarget, "ssh_pwauth: true\n")
		put(t, root, "run/other.cfg", "ssh_pwauth: true\n")
		put(t, root, dropInLink, "ssh_pwauth: true\n")
		if tt.to != "" {
			if err := os.Remove(filepath.Join(root, dropInLink)); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(tt.to, filepath.Join(root, dropInLink)); err != nil {
				t.Fatal(err)
			}
		}
		c, err := (Files{Root: root}).Config()
		if c.Linked != tt.linked || c.PasswordAuth() != tt.at || err != nil {
			t.Errorf("%s: got %v, %q, %v, want %v, %q", tt.name, c.Linked, c.PasswordAuth(), err, tt.linked, tt.at)
		}
	}
}
