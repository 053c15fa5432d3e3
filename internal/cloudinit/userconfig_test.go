package cloudinit

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// What decides passwords, and who is the default user: TestConfigOfWorlds.
func TestUserConfig(t *testing.T) {
	const password = "\npassword: a\n"
	for text, want := range map[string]string{
		"#cloud-config" + password:                     "user-data:2",
		"  \n#Cloud-Config # of mine" + password:       "user-data:3",
		"#cloud-config\r\npassword: a\r\n":             "user-data:2",
		"":                                             "",
		"#cloud-config":                                "",
		"#!/bin/sh" + password:                         "",
		"password: a\n":                                "",
		"#cloud-config-archive" + password:             "",
		"#cloud-config-jsonp" + password:               "",
		"## template: jinja\n#cloud-config" + password: "",
		"Content-Type: multipart/mixed\n\n#cloud-config" + password:     "",
		"#cloud-config\n- password: a\n":                                "",
		"#cloud-config\npassword: {\n":                                  "",
		"#cloud-config\npassword: a\n---\n{}\n":                         "",
		"\x1f\x8b#cloud-config" + password:                              "",
		"#cloud-config\npassword: \xff\n":                               "",
		"#cloud-config" + password + strings.Repeat("#", maxUserConfig): "",
	} {
		if got := (Config{}).With(ParseUserConfig([]byte(text))).Passwords(); got != want {
			t.Errorf("%.100q: got %q, want %q", text, got, want)
		}
	}
	u := ParseUserConfig([]byte("#!/bin/sh\necho ssh-ed25519 AAAAC3Nz+/= me\n"))
	if !u.Mentions("AAAAC3Nz+/=") || u.Mentions("AAAAC3Nz+/=x") || (UserConfig{}).Mentions("A") {
		t.Errorf("got the key mentioned: %t, a longer one: %t, in nothing: %t, want true, false, false", u.Mentions("AAAAC3Nz+/="), u.Mentions("AAAAC3Nz+/=x"), (UserConfig{}).Mentions("A"))
	}
}

func TestUserConfigFile(t *testing.T) {
	root := t.TempDir()
	files := Files{Root: root}
	const name = instancesDir + "/i/cloud-config.txt"
	if u, err := files.UserConfig("i"); u.text != nil || err != nil {
		t.Errorf("missing: got %v, %v, want nothing", u, err)
	}
	put(t, root, name, "#cloud-config\n\npassword: a\n")
	u, err := files.UserConfig("i")
	if got := (Config{}).With(u).Passwords(); got != "/"+name+":3" || err != nil {
		t.Errorf("got %q, %v, want %q", got, err, "/"+name+":3")
	}
	put(t, root, name, strings.Repeat("SECRET", maxUserConfig/6+1))
	want := "cannot read /" + name + ": too big, more than 1048576 bytes"
	if u, err := files.UserConfig("i"); text(err) != want || u.Mentions("SECRET") {
		t.Errorf("too big: got %v, want %s", err, want)
	}
	if err := os.Remove(filepath.Join(root, name)); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(root, name), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := files.UserConfig("i"); text(err) != "cannot read /"+name+": not a regular file" {
		t.Errorf("a FIFO: got %v, want: not a regular file", err)
	}
}

// TestUserConfigHostile has anything as user-data. None of it takes a second; a
// bomb that was unfolded would outlast the test binary's timeout.
func TestUserConfigHostile(t *testing.T) {
	bomb := "a0: &a0 {a: 1}\n"
	for i := range 100 {
		bomb += fmt.Sprintf("a%d: &a%d {a: *a%d, b: *a%d}\n", i+1, i+1, i, i)
	}
	for name, text := range map[string]string{
		"bomb":       bomb + "chpasswd: *a100\nusers: *a100\nuser: *a100\ncloud_init_modules: *a100\n",
		"loop":       "users: &a [*a]\nuser: &b {name: *b}\ncloud_init_modules: &c [*c, [*c], {name: *c}]\n",
		"deep":       strings.Repeat("[", maxUserConfig-100),
		"many":       strings.Repeat("a:\n", maxUserConfig/3-100),
		"long":       "users: [" + strings.Repeat("a,", maxUserConfig/2-100) + "]\n",
		"too big":    strings.Repeat("a:\n", maxUserConfig),
		"name":       "user: \"a\\e[31m\"\n",
		"long name":  "user: " + strings.Repeat("a", 1000) + "\n",
		"two words":  "user: a b\n",
		"a colon":    "user: a:b\n",
		"other keys": "[a]: b\n? {c: d}\n: e\n1: 2\n",
	} {
		c := Config{}.With(ParseUserConfig([]byte("#cloud-config\n" + text)))
		c.Stage("ssh")
		c.Passwords()
		c.HostKeys()
		c.PublicKeysOff()
		if got := c.DefaultUser(); got != "" {
			t.Errorf("%s: got user %.100q, want none", name, got)
		}
	}
}

func FuzzUserConfig(f *testing.F) {
	for _, tt := range worlds {
		f.Add([]byte(cloudConfig(tt.user)))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		u := ParseUserConfig(data)
		c := Config{files: layers{{"/x", u.layers.first()}}}.With(u)
		c.Stage("ssh")
		for _, at := range []string{c.Passwords(), c.PasswordAuth(), c.HostKeys(), c.PublicKeysOff()} {
			if at != "" && !strings.HasPrefix(at, "user-data:") && !strings.HasPrefix(at, "/x:") {
				t.Errorf("at %q", at)
			}
		}
		if user := c.DefaultUser(); len(user) > maxName || strings.ContainsAny(user, ":/ \n\x1b") {
			t.Errorf("user %q", user)
		}
		if !u.Mentions(string(bytes.TrimSpace(data))) {
			t.Error("does not mention itself")
		}
	})
}
