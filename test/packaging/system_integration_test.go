//go:build integration

package packaging

import (
	"bufio"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/nm-cloud-seed/nm-cloud-seed/test/debroot"
)

// system is a Debian system in namespaces of its own, where nothing runs and
// there is no network. All that is written there is gone with the test.
type system struct {
	t   *testing.T
	pid string // of the process that holds the namespaces, in the system's root
	dir string // the root, for us
	mnt string // where it is mounted, in the namespaces
}

// enterSystem mounts the system $1 below $2, changes into it and stays until the end of
// the input, which also comes when the test process dies.
const enterSystem = `
mount --make-rprivate /
mount -t tmpfs tmpfs "$2"
mkdir "$2/upper" "$2/work" "$2/root"
mount -t overlay -o "lowerdir=$1,upperdir=$2/upper,workdir=$2/work" overlay "$2/root"
mount -t proc proc "$2/root/proc"
mount -t tmpfs -o mode=755 tmpfs "$2/root/run"
mount --bind /dev/null "$2/root/dev/null"
cd "$2/root"
echo in
exec chroot . cat`

func newSystem(t *testing.T, suite string) *system {
	t.Helper()
	if os.Getuid() != 0 {
		t.Fatal("this test needs root: it mounts and uses chroot(2)")
	}
	root, err := debroot.Image(suite).Open()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cmd := exec.Command("sh", "-ec", enterSystem, "sh", root, dir)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWNET | syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS}
	in, errIn := cmd.StdinPipe()
	out, errOut := cmd.StdoutPipe()
	if errIn != nil || errOut != nil {
		t.Fatal(errIn, errOut)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("cannot create namespaces: %v", err)
	}
	t.Cleanup(func() {
		in.Close()
		_ = cmd.Wait()
	})
	// The echo of cat says that it is in the new root.
	if _, err := io.WriteString(in, "there\n"); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for range 2 {
		if !lines.Scan() {
			t.Fatalf("cannot enter a %s system: its shell has ended", suite)
		}
	}
	pid := strconv.Itoa(cmd.Process.Pid)
	return &system{t, pid, "/proc/" + pid + "/root/", dir + "/root"}
}

// try runs a command in the system, as dpkg is run by an unattended upgrade:
// nobody answers questions.
func (s *system) try(args ...string) (string, error) {
	cmd := exec.CommandContext(s.t.Context(), "nsenter", append([]string{"--target", s.pid, "--mount", "--net", "--ipc", "--uts", "--root", "--wd"}, args...)...)
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8", "HOME=/root", "DEBIAN_FRONTEND=noninteractive"}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (s *system) run(args ...string) string {
	s.t.Helper()
	out, err := s.try(args...)
	if err != nil {
		s.t.Fatalf("%q: %v:\n%s", args, err, out)
	}
	return out
}

// dpkg runs it, and fails if it says anything that a user would have to read.
// That a directory has other's files in it too is not worth that: bookworm's
// packages have them below /lib, which is not the same to dpkg.
func (s *system) dpkg(args ...string) {
	s.t.Helper()
	out := s.run(append([]string{"dpkg", "--force-unsafe-io"}, args...)...)
	for line := range strings.Lines(out) {
		if said := strings.ToLower(line); (strings.Contains(said, "warning") || strings.Contains(said, "error")) &&
			!strings.Contains(said, "not empty so not removed") {
			s.t.Errorf("dpkg %q: got\n%s, want no warning", args, out)
		}
	}
	if out := s.run("dpkg", "--audit"); out != "" {
		s.t.Errorf("dpkg --audit after dpkg %q: got\n%s, want nothing", args, out)
	}
}

func (s *system) install(pkg string, options ...string) {
	s.t.Helper()
	data, err := os.ReadFile(pkg)
	if err != nil {
		s.t.Fatal(err)
	}
	const name = "/run/nm-cloud-seed.deb"
	s.write(name, string(data))
	s.dpkg(append(options, "--install", name)...)
	if err := os.Remove(s.dir + name); err != nil {
		s.t.Error(err)
	}
}

func (s *system) write(name, text string) {
	s.t.Helper()
	if err := os.MkdirAll(s.dir+path.Dir(name), 0o755); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(s.dir+name, []byte(text), 0o644); err != nil {
		s.t.Fatal(err)
	}
}

func (s *system) link(target, name string) {
	s.t.Helper()
	if err := os.Symlink(target, s.dir+name); err != nil {
		s.t.Fatal(err)
	}
}

// remove is rm, and there has to be something to remove.
func (s *system) remove(name string) {
	s.t.Helper()
	if err := os.Remove(s.dir + name); err != nil {
		s.t.Fatal(err)
	}
}

func (s *system) read(name string) string {
	s.t.Helper()
	data, err := os.ReadFile(s.dir + name)
	if err != nil {
		s.t.Error(err)
	}
	return string(data)
}

// list says of files what ls -l does, a line each.
func (s *system) list(names []string) string {
	s.t.Helper()
	var b strings.Builder
	for _, name := range names {
		info, err := os.Lstat(s.dir + name)
		if err != nil {
			s.t.Error(err)
			continue
		}
		b.WriteString(s.describe(name, info) + "\n")
	}
	return b.String()
}

func (s *system) describe(name string, info fs.FileInfo) string {
	stat := info.Sys().(*syscall.Stat_t)
	text := fmt.Sprintf("%v %d:%d %s", info.Mode(), stat.Uid, stat.Gid, name)
	if target, err := os.Readlink(s.dir + name); err == nil {
		text += " -> " + target
	}
	return text
}

// tree is what is in the system, with times and sizes, but for what is no file of
// the system's and dpkg's and rpm's own books. Of dpkg's, the names of the
// packages' files count.
func (s *system) tree() map[string]string {
	s.t.Helper()
	skip := []string{"/proc", "/dev", "/sys", "/tmp", "/var/lib/rpm", "/var/log/dpkg.log", "/var/log/alternatives.log"}
	files := map[string]string{}
	err := filepath.WalkDir(s.dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := "/" + strings.TrimPrefix(p, s.dir)
		if slices.Contains(skip, name) {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		books := strings.HasPrefix(name, "/var/lib/dpkg/")
		if books && !strings.HasPrefix(name, "/var/lib/dpkg/info/") {
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		files[name] = s.describe(name, info)
		if info.Mode().IsRegular() && !books {
			files[name] += fmt.Sprintf(" %d bytes %v", info.Size(), info.ModTime())
		}
		return nil
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return files
}
