package atomicfile

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// ls is what a directory holds: names with mode, and content or target.
func ls(t *testing.T, dir string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		info, err := os.Lstat(path)
		if err != nil {
			t.Fatal(err)
		}
		value := info.Mode().String()
		if info.Mode().IsRegular() {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			value += " " + string(data)
		} else if target, err := os.Readlink(path); err == nil {
			value = "-> " + target
		}
		got[e.Name()] = value
	}
	return got
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func check(t *testing.T, dir string, want map[string]string) {
	t.Helper()
	if diff := cmp.Diff(want, ls(t, dir)); diff != "" {
		t.Errorf("directory (-want +got):\n%s", diff)
	}
}

func checkError(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

func TestWriteFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "status.json")
	must(t, WriteFile(path, []byte("one"), 0o600))
	check(t, dir, map[string]string{"status.json": "-rw------- one"})
	old := syscall.Umask(0o777)
	err := WriteFile(path, nil, 0o644)
	syscall.Umask(old)
	must(t, err)
	check(t, dir, map[string]string{"status.json": "-rw-r--r-- "})

	must(t, os.Remove(path))
	must(t, os.Symlink("/elsewhere", path))
	must(t, WriteFile(path, []byte("two"), 0o644))
	check(t, dir, map[string]string{"status.json": "-rw-r--r-- two"})
}

func TestWriteFileFails(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "d")
	must(t, os.Mkdir(path, 0o755))
	checkError(t, WriteFile(path, []byte("s3cret"), 0o600), "cannot write "+path+": file exists (move away what stands there)")
	check(t, dir, map[string]string{"d": "drwxr-xr-x"})

	path = filepath.Join(dir, "missing/f")
	checkError(t, WriteFile(path, nil, 0o600), "cannot write "+path+": no such file or directory (create the directory first)")
}

func TestSymlinkReplacesALink(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "seed")
	for _, target := range []string{"seed.d/1", "seed.d/2"} {
		old := syscall.Umask(0o777)
		err := Symlink(target, path)
		syscall.Umask(old)
		must(t, err)
		check(t, dir, map[string]string{"seed": "-> " + target})
	}
	must(t, os.Remove(path))
	must(t, os.Mkdir(path, 0o755))
	checkError(t, Symlink("x", path), "cannot link "+path+": file exists (move away what stands there)")
	checkError(t, Symlink("", filepath.Join(dir, "l")), "cannot link "+dir+"/l: no such file or directory (create the directory first)")
	check(t, dir, map[string]string{"seed": "drwxr-xr-x"})
}

func TestRemoveLeavesOtherFiles(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "cloud.cfg")
	must(t, Remove(path))
	must(t, Remove(filepath.Join(dir, "missing/cloud.cfg")))

	must(t, WriteFile(path, nil, 0o600))
	must(t, os.WriteFile(filepath.Join(dir, ".cloud.cfg.tmp-1"), []byte("left by a kill"), 0o600))
	must(t, os.Mkdir(filepath.Join(dir, ".cloud.cfg.tmp-2"), 0o700))
	must(t, os.WriteFile(filepath.Join(dir, "cloud.cfg.old"), nil, 0o600))
	must(t, Remove(path))
	check(t, dir, map[string]string{"cloud.cfg.old": "-rw------- "})

	must(t, os.Mkdir(path, 0o700))
	must(t, os.WriteFile(filepath.Join(path, "x"), nil, 0o600))
	checkError(t, Remove(path), "cannot remove "+path+": directory not empty (move away what stands there)")
}

func TestMkdirAll(t *testing.T) {
	dir := t.TempDir()
	old := syscall.Umask(0o777)
	err := MkdirAll(filepath.Join(dir, "a/b"), 0o755)
	syscall.Umask(old)
	must(t, err)
	check(t, dir, map[string]string{"a": "drwxr-xr-x"})
	check(t, filepath.Join(dir, "a"), map[string]string{"b": "drwxr-xr-x"})
	must(t, MkdirAll(filepath.Join(dir, "a"), 0o700))
	check(t, dir, map[string]string{"a": "drwxr-xr-x"})

	must(t, os.Symlink("nowhere", filepath.Join(dir, "dangling")))
	checkError(t, MkdirAll(filepath.Join(dir, "dangling/x"), 0o755),
		"cannot create directory "+dir+"/dangling: no such file or directory (create the directory first)")
}

func TestPrivateDir(t *testing.T) {
	dir := t.TempDir()
	private := filepath.Join(dir, "run/private")
	must(t, PrivateDir(private))
	check(t, dir, map[string]string{"run": "drwxr-xr-x"})
	must(t, os.Chmod(private, 0o755))
	must(t, PrivateDir(private))
	check(t, filepath.Dir(private), map[string]string{"private": "drwx------"})

	must(t, os.Symlink("run", filepath.Join(dir, "link")))
	checkError(t, PrivateDir(filepath.Join(dir, "link")),
		"cannot make private "+dir+"/link: not a directory (remove what stands in the directory's place)")
	check(t, dir, map[string]string{"run": "drwxr-xr-x", "link": "-> run"})
}

func TestErrorSaysWhatToDo(t *testing.T) {
	if err := Error("write", "/x", nil); err != nil {
		t.Errorf("got %v, want no error of none", err)
	}
	for err, want := range map[error]string{
		&fs.PathError{Op: "open", Path: "/x.tmp-1", Err: syscall.ENOSPC}:            "no space left on device (free some space on that file system)",
		&os.LinkError{Op: "rename", Old: "/x.tmp-1", New: "/x", Err: syscall.EROFS}: "read-only file system (remount that file system read-write)",
		fmt.Errorf("wrapped: %w", &fs.PathError{Op: "write", Err: syscall.EACCES}):  "permission denied (run as root; a systemd unit needs the path in ReadWritePaths=)",
		syscall.EIO: "input/output error",
	} {
		got := Error("write", "/x", err)
		checkError(t, got, "cannot write /x: "+want)
		if strings.Contains(got.Error(), "tmp") {
			t.Errorf("got %v, want no temporary file named", got)
		}
	}
}
