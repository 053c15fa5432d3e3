// Package debroot gives tests the file systems of Debian releases, side by
// side on one machine, each with its own Python: packages with their
// dependencies, only unpacked (Root) or a system that can boot (System).
//
//	dir, err := debroot.Root(ctx, "trixie", "cloud-init")
//	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: dir}
//
// A root is built once, by mmdebstrap from the archive that this machine's apt
// uses, and kept below ~/.cache/nm-cloud-seed/roots. Nobody writes in it: who
// has to puts an overlay over it. It is never renewed; deleting it does that.
//
// In a Root is what the packages depend on and nothing more: no shell and no
// /etc/passwd unless asked for (dash, base-passwd), no /proc and no /run. Of the
// packages' configuration only this is done: Python's modules are compiled, and
// the CA certificates are in one file.
package debroot

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const lockStep = 50 * time.Millisecond

var packageName = regexp.MustCompile(`^[a-z0-9][a-z0-9+.-]+$`)

// Root returns a directory with these packages of a Debian release (bookworm,
// trixie or sid) and all that they depend on, ready for chroot(2), and builds
// it if it is not there yet: some seconds and about 150 MB for cloud-init.
// Tests and processes that want the same root at the same time wait for one of
// them to build it.
//
// An ordinary user gets one, too, where mmdebstrap works for him (it needs
// newuidmap and a range in /etc/subuid).
func Root(ctx context.Context, suite string, packages ...string) (dir string, err error) {
	return cached(ctx, unpack, suite, packages)
}

// Image are the packages of an image as it would be for CloudStack: little more
// than cloud-init, NetworkManager and what Debian's own cloud images boot with.
// All tests that use these share one root per release; the kernel is for QEMU.
func Image() []string {
	return []string{
		"systemd-sysv", "dbus", "network-manager", "cloud-init", "openssh-server", "openssh-client", "libpam-systemd", "sudo", "iproute2",
		"linux-image-cloud-" + runtime.GOARCH,
	}
}

// System is Root for a system that can boot: Debian's minbase and the packages,
// configured by their own scripts. It takes root, a minute or two to build, and
// some hundred MB. Services are enabled as the packages enable them; there is
// no machine-id and no host name yet.
func System(ctx context.Context, suite string, packages ...string) (dir string, err error) {
	return cached(ctx, install, suite, packages)
}

func cached(ctx context.Context, build builder, suite string, packages []string) (dir string, err error) {
	cache, err := os.UserCacheDir() // XDG_CACHE_HOME or ~/.cache
	if err != nil {
		return "", fmt.Errorf("cannot keep Debian roots: %w", err)
	}
	return store{filepath.Join(cache, "nm-cloud-seed", "roots"), build}.root(ctx, suite, packages)
}

// builder makes a root in a directory. Its recipe is to be changed with
// anything that changes what is in there.
type builder struct {
	recipe string
	build  func(ctx context.Context, dir, suite string, packages []string) error
}

// store keeps roots in a directory.
type store struct {
	dir string
	builder
}

func (s store) root(ctx context.Context, suite string, packages []string) (string, error) {
	if err := check(suite, packages); err != nil {
		return "", err
	}
	packages = slices.Compact(slices.Sorted(slices.Values(packages)))
	dir := filepath.Join(s.dir, suite+"-"+s.hash(suite, packages))
	if there(dir) {
		return dir, nil
	}
	if err := s.once(ctx, dir, suite, packages); err != nil {
		return "", fmt.Errorf("cannot build a Debian %s root with %s: %w", suite, strings.Join(packages, ", "), err)
	}
	return dir, nil
}

func check(suite string, packages []string) error {
	if suites := []string{"bookworm", "trixie", "sid"}; !slices.Contains(suites, suite) {
		return fmt.Errorf("cannot build a root of %q: want one of %s", suite, strings.Join(suites, ", "))
	}
	if len(packages) == 0 {
		return errors.New("cannot build a root without packages")
	}
	for _, p := range packages {
		if !packageName.MatchString(p) {
			return fmt.Errorf("cannot build a root with %q: not the name of a package", p)
		}
	}
	return nil
}

func (b builder) hash(suite string, packages []string) string {
	sum := sha256.Sum256(fmt.Append(nil, b.recipe, runtime.GOARCH, suite, strings.Join(packages, " ")))
	return fmt.Sprintf("%x", sum[:8])
}

// once builds dir unless somebody else does or has done it.
func (s store) once(ctx context.Context, dir, suite string, packages []string) error {
	if err := os.MkdirAll(s.dir, 0o755); err != nil {
		return err
	}
	unlock, err := lock(ctx, dir+".lock")
	if err != nil {
		return err
	}
	defer unlock()
	if there(dir) {
		return nil
	}
	const unfinished = ".unfinished-"
	left, _ := filepath.Glob(dir + unfinished + "*") // by somebody who was killed
	for _, d := range left {
		if err := os.RemoveAll(d); err != nil {
			return err
		}
	}
	temp, err := os.MkdirTemp(s.dir, filepath.Base(dir)+unfinished)
	if err != nil {
		return err
	}
	err = s.build(ctx, temp, suite, packages)
	if err == nil {
		err = os.Chmod(temp, 0o755)
	}
	if err == nil {
		err = os.Rename(temp, dir)
	}
	if err != nil {
		return errors.Join(err, os.RemoveAll(temp))
	}
	return nil
}

func there(dir string) bool {
	info, err := os.Stat(dir)
	return err == nil && info.IsDir()
}

// lock waits for the lock that goes with a file. The kernel drops it with the
// process; the file stays, as removing it would make two locks of it.
func lock(ctx context.Context, name string) (unlock func(), err error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			f.Close()
			return nil, &fs.PathError{Op: "lock", Path: name, Err: err}
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, fmt.Errorf("cannot wait for who is building it: %w", ctx.Err())
		case <-time.After(lockStep):
		}
	}
}
