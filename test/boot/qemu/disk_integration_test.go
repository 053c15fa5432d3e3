//go:build integration

package qemu

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// listing says of everything in a directory what it is, as far as Extract tells.
func listing(t *testing.T, dir string) map[string]string {
	t.Helper()
	list := map[string]string{}
	must(t, filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := os.Lstat(path)
		if err != nil {
			return err
		}
		stat := info.Sys().(*syscall.Stat_t)
		text := fmt.Sprintf("%v %d:%d", info.Mode()&^(fs.ModeSetuid|fs.ModeSticky), stat.Uid, stat.Gid)
		switch {
		case info.Mode().IsRegular():
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			text += fmt.Sprintf(" %v %q", info.ModTime().Unix(), content)
		case info.Mode()&fs.ModeSymlink != 0:
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			text = "-> " + target
		}
		name, err := filepath.Rel(dir, path)
		list[name] = text
		return err
	}))
	return list
}

// tree makes a directory to be made a disk of.
func tree(t *testing.T) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Fatal("this test needs root: it makes files of other owners")
	}
	root := t.TempDir()
	in := func(name string) string { return filepath.Join(root, name) }
	long := "var/" + strings.Repeat("n", 255)
	must(t,
		os.MkdirAll(in("var/empty"), 0o755),
		os.Mkdir(in(long), 0o700),
		os.WriteFile(in(long+"/"+strings.Repeat("m", 255)), []byte("deep"), 0o600),
		os.WriteFile(in("var/nothing"), nil, 0o644),
		os.WriteFile(in("var/large"), []byte(strings.Repeat("large\n", 100000)), 0o644),
		os.WriteFile(in("var/with \"spaces\" and ü"), []byte("x"), 0o644),
		os.WriteFile(in("var/su"), []byte("x"), 0o755),
		os.Symlink("../usr", in("var/link")),
		os.Symlink("/"+strings.Repeat("t", 200), in("var/longlink")),
		os.Symlink("nowhere", in("var/dangling")),
		os.Lchown(in("var/su"), 998, 65534),
		os.Chmod(in("var/su"), 0o755|fs.ModeSetuid),
		os.Chmod(in("var/empty"), 0o777|fs.ModeSticky),
		os.Lchown(in("var/empty"), 100000, 42),
		os.Chtimes(in("var/nothing"), time.Unix(1e9, 0), time.Unix(1e9, 0)),
	)
	return root
}

func TestDiskRoundTrip(t *testing.T) {
	root, out := tree(t), t.TempDir()
	image := filepath.Join(t.TempDir(), "disk.img")
	must(t, MakeDisk(t.Context(), root, image, 64), Extract(t.Context(), image, "/var", out))
	if diff := cmp.Diff(listing(t, root+"/var"), listing(t, out+"/var")); diff != "" {
		t.Error(diff)
	}
	for name, mode := range map[string]string{"/var/su": "04755", "/var/empty": "01777"} {
		out, err := exec.CommandContext(t.Context(), "debugfs", "-R", "stat "+name, image).Output()
		if err != nil || !strings.Contains(string(out), "Mode:  "+mode) {
			t.Errorf("%s on the disk: %s, %v", name, out, err)
		}
	}
	var stat unix.Stat_t
	must(t, unix.Stat(image, &stat))
	if stat.Size != 64<<20 || stat.Blocks*512 > stat.Size/2 {
		t.Errorf("the image has %d bytes and takes %d", stat.Size, stat.Blocks*512)
	}
	if _, err := run(t.Context(), "e2fsck", "-fn", image); err != nil {
		t.Error(err)
	}
}

func TestExtractOneFile(t *testing.T) {
	root, out := tree(t), t.TempDir()
	image := filepath.Join(t.TempDir(), "disk.img")
	const name = `with "spaces" and ü`
	must(t, MakeDisk(t.Context(), root, image, 64), Extract(t.Context(), image, "/var/"+name, out))
	if b, err := os.ReadFile(filepath.Join(out, name)); string(b) != "x" || err != nil {
		t.Errorf("got %q, %v", b, err)
	}
}

// An overlay shows what is on the disk, not how it came there.
func TestDiskOfAnOverlay(t *testing.T) {
	root, layers, out := tree(t), t.TempDir(), t.TempDir()
	must(t, unix.Mount("tmpfs", layers, "tmpfs", 0, ""))
	t.Cleanup(func() { must(t, unix.Unmount(layers, 0)) })
	merged := filepath.Join(layers, "merged")
	for _, d := range []string{"merged", "upper", "work"} {
		must(t, os.Mkdir(filepath.Join(layers, d), 0o755))
	}
	must(t, unix.Mount("overlay", merged, "overlay", 0, fmt.Sprintf("lowerdir=%s,upperdir=%[2]s/upper,workdir=%[2]s/work", root, layers)))
	t.Cleanup(func() { must(t, unix.Unmount(merged, 0)) })
	must(t, os.Remove(merged+"/var/large"), os.WriteFile(merged+"/var/new", []byte("new"), 0o600))
	image := filepath.Join(t.TempDir(), "disk.img")
	must(t, MakeDisk(t.Context(), merged, image, 64), Extract(t.Context(), image, "/var", out))
	if diff := cmp.Diff(listing(t, merged+"/var"), listing(t, out+"/var")); diff != "" {
		t.Error(diff)
	}
}

func TestDiskErrorsSayWhatCannotBeDone(t *testing.T) {
	root, dir := tree(t), t.TempDir()
	image := filepath.Join(dir, "disk.img")
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	for name, err := range map[string]error{
		"too small":    MakeDisk(t.Context(), "/usr/bin", image, 8),
		"no directory": MakeDisk(t.Context(), dir+"/none", image, 64),
		"no place":     MakeDisk(t.Context(), root, dir+"/none/disk.img", 64),
		"cancelled":    MakeDisk(cancelled, root, image, 64),
	} {
		if err == nil || !strings.HasPrefix(err.Error(), "cannot make a disk: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if left, _ := filepath.Glob(dir + "/*"); left != nil {
		t.Errorf("left: %q", left)
	}
	must(t, MakeDisk(t.Context(), root, image, 64))
	for name, err := range map[string]error{
		"no such file": Extract(t.Context(), image, "/var/none", dir),
		"no place":     Extract(t.Context(), image, "/var", dir+"/none"),
		"no image":     Extract(t.Context(), image+"x", "/var", dir),
		"not an image": Extract(t.Context(), "/bin/sh", "/var", dir),
		"a device":     Extract(t.Context(), "/dev/null", "/var", dir),
	} {
		if err == nil || !strings.HasPrefix(err.Error(), "cannot extract /var") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
