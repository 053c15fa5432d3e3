package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// recipe is part of the directory's name: it changes with the arguments of
// mmdebstrap below.
const recipe = "1"

// cloudInit is the cloud-init of Debian 12 in a directory, with all that it
// depends on, unpacked but not configured: enough for its Python, and small.
//
// The tests use the complete systems of package debroot. Only root can make
// those; this one is for an ordinary user, too.
type cloudInit struct {
	dir string // it is kept there
	// build fills the empty directory dir. Its temporary files are in tmp.
	build func(ctx context.Context, dir, tmp string) error
}

func newCloudInit() (cloudInit, error) {
	cache, err := os.UserCacheDir() // XDG_CACHE_HOME or ~/.cache
	if err != nil {
		return cloudInit{}, fmt.Errorf("cannot keep cloud-init: %w", err)
	}
	name := "cloud-init-bookworm-" + runtime.GOARCH + "-" + recipe
	return cloudInit{filepath.Join(cache, "nm-cloud-seed", "demo", name), unpack}, nil
}

func (c cloudInit) there() bool {
	info, err := os.Stat(c.dir)
	return err == nil && info.IsDir()
}

// make builds the directory unless it is there. Of a failed or interrupted build
// nothing stays; what a killed one left is removed by the next one.
func (c cloudInit) make(ctx context.Context) error {
	if c.there() {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(c.dir), 0o755); err != nil {
		return fmt.Errorf("cannot keep cloud-init: %w", err)
	}
	unlock, err := lock(ctx, c.dir+".lock")
	if err != nil {
		return err
	}
	defer unlock()
	if c.there() {
		return nil
	}
	temp := c.dir + ".unfinished"
	root, tmp := filepath.Join(temp, "root"), filepath.Join(temp, "tmp")
	err = os.RemoveAll(temp)
	for _, d := range []string{root, tmp} {
		if err == nil {
			err = os.MkdirAll(d, 0o755)
		}
	}
	if err == nil {
		err = c.build(ctx, root, tmp)
	}
	if err == nil {
		err = os.Rename(root, c.dir)
	}
	if err != nil {
		err = fmt.Errorf("cannot unpack cloud-init of Debian 12: %w", err)
	}
	return errors.Join(err, os.RemoveAll(temp))
}

// lock waits for another demo that builds the same directory. The kernel drops
// the lock with the process.
func lock(ctx context.Context, name string) (unlock func(), err error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("cannot keep cloud-init: %w", err)
	}
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			f.Close()
			return nil, fmt.Errorf("cannot lock %s: %w", name, err)
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, fmt.Errorf("cannot wait for another demo: %w", ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// mergeUsr makes the links of a merged /usr: bookworm's base-files, unpacked
// only, has none. (mmdebstrap's own hook for that needs root.)
const mergeUsr = `for d in bin sbin lib lib64; do mkdir -p "$1/usr/$d" && ln -s "usr/$d" "$1/$d" || exit 1; done`

// unpack lets mmdebstrap download and unpack the packages. It verifies them with
// the keys of this machine's apt or of Debian's keyring.
func unpack(ctx context.Context, dir, tmp string) error {
	mirror, err := mirror(ctx)
	if err != nil {
		return err
	}
	// mmdebstrap leaves temporary files when it is interrupted.
	_, err = run(ctx, []string{"TMPDIR=" + tmp}, "mmdebstrap",
		"--mode=chrootless", // without privileges, and without a chroot(2)
		"--skip=check/chrootless",
		"--variant=extract", "--format=directory", "--include=cloud-init",
		"--setup-hook="+mergeUsr,
		// A mirror may be behind: that is no danger here.
		`--aptopt=Acquire::Check-Valid-Until "false"`,
		`--aptopt=Acquire::Retries "3"`,
		"bookworm", dir, mirror)
	return err
}

// mirror returns the address that this machine's apt gets Debian from.
func mirror(ctx context.Context) (string, error) {
	out, err := run(ctx, nil, "apt-get", "indextargets", "--format",
		"$(REPO_URI)", "Created-By: Packages", "Origin: Debian", "Label: Debian", "Component: main")
	if err != nil {
		return "", err
	}
	uri, _, _ := strings.Cut(string(out), "\n")
	if uri == "" {
		return "", errors.New("this machine's apt has no lists of Debian's main archive\nhint: on Debian, run apt-get update")
	}
	return uri, nil
}

// run returns what a program, with env added to its environment, writes to stdout. The end of ctx, or of this
// process, ends the program, and what it has started, with SIGTERM. The
// program has a session of its own, as Ctrl-C would end its parts at random.
func run(ctx context.Context, env []string, name string, args ...string) ([]byte, error) {
	path, err := exec.LookPath(name)
	if err != nil {
		return nil, fmt.Errorf("cannot find %s: it is in the Debian package %s", name, strings.TrimSuffix(name, "-get"))
	}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGTERM}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = time.Minute
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	done := make(chan error, 1)
	go func() {
		// Pdeathsig is about the thread that starts cmd (https://go.dev/issue/27505).
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		done <- cmd.Run()
	}()
	if err := <-done; err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, fmt.Errorf("%s: %w\n%s", name, err, lastLines(errs.String(), 5))
	}
	return out.Bytes(), nil
}

func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return "  " + strings.Join(lines[max(0, len(lines)-n):], "\n  ")
}
