package rootfs

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestReadRegularFilesOfBoundedSize(t *testing.T) {
	root, outside := t.TempDir(), t.TempDir()
	for path, data := range map[string]string{
		root + "/five": "12345", root + "/six": "123456", root + "/empty": "", outside + "/secret": "x",
	} {
		if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for link, target := range map[string]string{
		"relative": "five", "absolute": outside + "/secret", "up": "../" + filepath.Base(outside) + "/secret", "dangling": "nowhere",
		"rooted": "/five", "above": "../../five", "dir": "/", "loop": "/loop",
	} {
		if err := os.Symlink(target, filepath.Join(root, link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(root+"/fifo", 0o600); err != nil {
		t.Fatal(err)
	}
	fsys, done, err := Open(root)
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	for _, tt := range []struct {
		name, want string
		err        error
		text       string
	}{
		{"five", "12345", nil, ""},
		{"empty", "", nil, ""},
		{"relative", "12345", nil, ""},
		{"six", "", ErrTooBig, "more than 5 bytes"},
		{"fifo", "", ErrNotRegular, ""},
		{".", "", ErrNotRegular, ""},
		{"dangling", "", fs.ErrNotExist, ""},
		{"missing", "", fs.ErrNotExist, ""},
		{"five/x", "", syscall.ENOTDIR, ""},
		// Of the host's files, none.
		{"absolute", "", fs.ErrNotExist, ""},
		{"up", "", fs.ErrNotExist, ""},
		{"rooted", "12345", nil, ""},
		{"above", "12345", nil, ""},
		{"dir/five", "12345", nil, ""},
		{"dir/rooted", "12345", nil, ""},
		{"loop", "", nil, "too many"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Read(fsys, tt.name, 5)
			if string(got) != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			switch {
			case tt.err == nil && tt.text == "":
				if err != nil {
					t.Error(err)
				}
			case err == nil, tt.err != nil && !errors.Is(err, tt.err), !strings.Contains(err.Error(), tt.text):
				t.Errorf("got %v, want %v %s", err, tt.err, tt.text)
			}
		})
	}
}

func TestOpenOfThisSystem(t *testing.T) {
	fsys, done, err := Open("")
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	if data, err := Read(fsys, "proc/self/stat", 4096); err != nil || len(data) == 0 {
		t.Errorf("got %q, %v, want this process's", data, err)
	}
	if _, _, err := Open(t.TempDir() + "/missing"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want %v", err, fs.ErrNotExist)
	}
}

func TestList(t *testing.T) {
	root := t.TempDir()
	for _, name := range []string{"full/b", "full/a", "full/c", "empty"} {
		if err := os.MkdirAll(filepath.Join(root, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(root, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	fsys, done, err := Open(root)
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	for _, tt := range []struct {
		name  string
		limit int
		want  string
		err   error
	}{
		{"full", 3, "a b c", nil},
		{"empty", 3, "", nil},
		{"fifo", 3, "", ErrNotDirectory},
		{"missing", 3, "", fs.ErrNotExist},
	} {
		entries, err := List(fsys, tt.name, tt.limit)
		var names []string
		for _, e := range entries {
			names = append(names, e.Name())
		}
		if got := strings.Join(names, " "); got != tt.want || !errors.Is(err, tt.err) {
			t.Errorf("%s: got %q, %v, want %q, %v", tt.name, got, err, tt.want, tt.err)
		}
	}
	// Which of them is up to the file system.
	if entries, err := List(fsys, "full", 2); len(entries) != 2 || !errors.Is(err, ErrTooBig) {
		t.Errorf("got %d entries, %v, want 2, %v", len(entries), err, ErrTooBig)
	}
}

// What is asked of a link itself, not of what it leads to.
func TestReadLinkInsideTheRoot(t *testing.T) {
	root := t.TempDir()
	if err := os.Mkdir(filepath.Join(root, "real"), 0o755); err != nil {
		t.Fatal(err)
	}
	for link, target := range map[string]string{"dir": "/real", "real/x": "/dev/null"} {
		if err := os.Symlink(target, filepath.Join(root, link)); err != nil {
			t.Fatal(err)
		}
	}
	fsys, done, err := Open(root)
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	for _, name := range []string{"real/x", "dir/x"} {
		if to, err := fs.ReadLink(fsys, name); to != "/dev/null" {
			t.Errorf("%s: got %q, %v, want /dev/null", name, to, err)
		}
		if info, err := fs.Lstat(fsys, name); err != nil || info.Mode().Type() != fs.ModeSymlink {
			t.Errorf("%s: got %v, %v, want a link", name, info, err)
		}
	}
	if entries, err := List(fsys, "dir", 9); len(entries) != 1 {
		t.Errorf("got %v, %v, want one entry", entries, err)
	}
}
