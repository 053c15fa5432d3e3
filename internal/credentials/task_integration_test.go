//go:build integration

package credentials

import (
	"errors"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// someone is a user with a home that nobody else can enter.
func someone(t *testing.T) *user.User {
	if os.Geteuid() != 0 {
		t.Fatal("this test needs root: it acts as another user")
	}
	home := t.TempDir()
	must(t, os.Chmod(filepath.Dir(home), 0o755)) // only root's, otherwise
	must(t, os.Mkdir(filepath.Join(home, ".ssh"), 0o700))
	write0(t, filepath.Join(home, ".ssh/authorized_keys"), before)
	u := &user.User{Uid: "1234", Gid: "2345", Username: "someone", HomeDir: home}
	give(t, home)
	must(t, os.Chmod(home, 0o700))
	return u
}

func give(t *testing.T, dir string) {
	t.Helper()
	must(t, filepath.Walk(dir, func(path string, _ os.FileInfo, err error) error {
		return errors.Join(err, os.Lchown(path, 1234, 2345))
	}))
}

var task = Task{Remove: Keys{oldKey}, Present: Keys{newKey}}

func TestRunAs(t *testing.T) {
	u := someone(t)
	path := filepath.Join(u.HomeDir, ".ssh/authorized_keys")
	removed, err := task.RunAs(u, "run-task")
	if err != nil || len(removed) != 1 {
		t.Fatalf("got %v removed, error %v, want one and none", removed, err)
	}
	checkText(t, path, after)
	info, err := os.Lstat(path)
	must(t, err)
	if s := info.Sys().(*syscall.Stat_t); s.Uid != 1234 || s.Gid != 2345 || info.Mode() != 0o600 {
		t.Errorf("got owner %d:%d and mode %v, want 1234:2345 and 0600", s.Uid, s.Gid, info.Mode())
	}
	write0(t, path, string(oldKey))
	if _, err := task.RunAs(u, "run-task"); !errors.Is(err, ErrNotApplied) {
		t.Errorf("got the error %v, want %v", err, ErrNotApplied)
	}
	checkText(t, path, string(oldKey))
}

// Nothing of root's is read or written in the user's name.
func TestRunAsLinks(t *testing.T) {
	u := someone(t)
	roots := t.TempDir()
	must(t, os.Chmod(filepath.Dir(roots), 0o755))
	must(t, os.Chmod(roots, 0o755))
	ssh := filepath.Join(u.HomeDir, ".ssh")
	path := filepath.Join(ssh, "authorized_keys")
	secret := filepath.Join(roots, "authorized_keys")
	for _, tt := range []struct {
		name, want string
		put        func() error
	}{
		{"a link to it", "it is a symbolic link", func() error { return os.Symlink(secret, path) }},
		{"a hard link", "permission denied", func() error { return os.Link(secret, path) }},
		{"a file of root's", "it belongs to another user or group", func() error {
			return errors.Join(os.WriteFile(path, []byte(before), 0o644), os.Chown(path, 0, 2345))
		}},
		{"a file of another group's", "it belongs to another user or group", func() error {
			return errors.Join(os.WriteFile(path, []byte(before), 0o644), os.Chown(path, 1234, 0))
		}},
		{"the home is a link", "not a directory, or a symbolic link", func() error {
			return errors.Join(os.Remove(ssh), os.Symlink(roots, ssh))
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			write0(t, secret, before)
			must(t, os.Remove(path))
			must(t, tt.put())
			if removed, err := task.RunAs(u, "run-task"); removed != nil || err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v removed, error %v, want none and %q", removed, err, tt.want)
			}
			checkText(t, path, before)
			checkText(t, secret, before)
		})
	}
}

// A process that does not do as it should.
func TestRunAsHostile(t *testing.T) {
	u := someone(t)
	const prefix = "cannot remove SSH keys as someone: "
	_, err := task.RunAs(u, "die")
	if err == nil || !strings.HasPrefix(err.Error(), prefix) {
		t.Errorf("got the error %v, want one that begins with %q", err, prefix)
	}
	_, err = task.RunAs(u, "whoami")
	if want := "1234 2345 0 0  [31mxxx"; err == nil || !strings.HasPrefix(err.Error(), want) || len(err.Error()) > 1000 {
		t.Errorf("error %q, want %s", err, want)
	}
	in, out, err := start([]string{"hang"}, &syscall.Credential{Uid: 1234, Gid: 2345})
	must(t, err)
	if _, err = task.talk(in, out, 50*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got the error %v of a process that does not answer, want %v", err, os.ErrDeadlineExceeded)
	}
}
