package credentials

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestMain is also the process that Task.RunAs starts.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 {
		switch os.Args[1] {
		case "run-task":
			if err := RunTask(os.Stdin, os.Stdout); err != nil {
				os.Exit(1)
			}
			os.Exit(0)
		case "whoami":
			groups, _ := os.Getgroups()
			fmt.Printf(`{"error": "%d %d %d %v\n\u001b[31m%s"}`, os.Getuid(), os.Getgid(), len(groups), len(os.Environ()), strings.Repeat("x", 2000))
			os.Exit(0)
		case "die":
			os.Exit(1)
		case "hang": // until nobody reads what it says
			_, _ = unix.Poll([]unix.PollFd{{Fd: 1}}, -1)
			os.Exit(0)
		}
	}
	os.Exit(m.Run())
}

// key makes a key of this type; n tells it from others.
func key(typ string, n byte) Key {
	blob := binary.BigEndian.AppendUint32(nil, uint32(len(typ)))
	blob = append(blob, typ...)
	blob = append(blob, 0, 0, 0, 32)
	for range 32 {
		blob = append(blob, n)
	}
	return Key(typ + " " + base64.StdEncoding.EncodeToString(blob))
}

var (
	oldKey   = key("ssh-ed25519", 1)
	otherKey = key("ssh-rsa", 2)
	newKey   = key("ssh-ed25519", 3)
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func write0(t testing.TB, path, text string) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(path), 0o700))
	must(t, os.WriteFile(path, []byte(text), 0o600))
}

// recordPassword puts a password on record as applied, in the place of whatever is there.
func recordPassword(t testing.TB, s Store, instance, password string) {
	t.Helper()
	hash, err := newHash(instance, password)
	must(t, err)
	must(t, s.write(passwordRecord{Instance: instance, Hash: hash}))
}

// hostile puts into path, in turn, all that could make its reader hang or go
// astray.
func hostile(t *testing.T, path string, each func(t *testing.T)) {
	must(t, os.MkdirAll(filepath.Dir(path), 0o700))
	for name, put := range map[string]func() error{
		"fifo":      func() error { return syscall.Mkfifo(path, 0o600) },
		"directory": func() error { return os.Mkdir(path, 0o700) },
		"link":      func() error { return os.Symlink(filepath.Join(t.TempDir(), "x"), path) },
		"device":    func() error { return os.Symlink("/dev/zero", path) },
		"loop":      func() error { return os.Symlink(filepath.Base(path), path) },
		"sparse": func() error {
			return os.WriteFile(path, nil, 0o600)
		},
	} {
		t.Run(name, func(t *testing.T) {
			must(t, os.RemoveAll(path))
			must(t, put())
			if name == "sparse" {
				must(t, os.Truncate(path, 1<<40))
			}
			each(t)
		})
	}
	must(t, os.RemoveAll(path))
}
