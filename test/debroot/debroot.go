// Package debroot keeps Debian systems in directories, for tests and programs
// that need the real systemd, dpkg or cloud-init of a release.
//
//	root := debroot.Image("trixie")
//	dir, err := root.Open() // a test: the root has to be there
//	err := debroot.Prepare(ctx, os.Stdout, root) // a program: builds what is missing
//
// mmdebstrap builds a root once, from the archive that this machine's apt uses.
// It is kept below ~/.cache/nm-cloud-seed/roots and never renewed. Nothing may
// write to it: what has to write mounts an overlay over it. To renew all roots,
// remove that directory while no test runs.
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

// Root is a Debian system that can boot: a release's minbase and packages that
// their own scripts have configured. Services are enabled as the packages enable
// them. It has no machine-id, no host name and no initial RAM disk.
type Root struct {
	suite    string // bookworm, trixie or sid
	packages []string
	onImage  bool // the packages are added to a copy of the suite's Image
}

// System returns the root with these packages and all that they depend on.
func System(suite string, packages ...string) Root {
	return Root{suite: suite, packages: unique(packages)}
}

// Image returns the root that is like an image for CloudStack, with these
// packages added: little more than cloud-init, NetworkManager and what Debian's
// own cloud images boot with. The kernel is for QEMU.
func Image(suite string, extra ...string) Root {
	if len(extra) > 0 {
		return Root{suite: suite, packages: unique(extra), onImage: true}
	}
	return System(suite, imagePackages()...)
}

func imagePackages() []string {
	return []string{
		"systemd-sysv", "dbus", "network-manager", "cloud-init", "openssh-server", "openssh-client", "libpam-systemd", "sudo", "iproute2",
		"linux-image-cloud-" + runtime.GOARCH,
	}
}

func unique(packages []string) []string {
	return slices.Compact(slices.Sorted(slices.Values(packages)))
}

// String names the root for a person: "trixie with cloud-init".
func (r Root) String() string {
	switch {
	case r.isImage():
		return r.suite + " with cloud-init"
	case len(r.packages) > 4:
		return fmt.Sprintf("%s with %s and %d more packages", r.suite, strings.Join(r.packages[:3], ", "), len(r.packages)-3)
	}
	return r.suite + " with " + strings.Join(r.packages, ", ")
}

func (r Root) isImage() bool { return !r.onImage && slices.Equal(r.packages, unique(imagePackages())) }

// base returns the root that r is a changed copy of, if it is one.
func (r Root) base() (base Root, ok bool) { return Image(r.suite), r.onImage }

// name returns the name of r's directory.
func (r Root) name() string {
	parts := []string{recipe, runtime.GOARCH, r.suite}
	if base, ok := r.base(); ok {
		parts = append(parts, base.name())
	}
	sum := sha256.Sum256([]byte(strings.Join(append(parts, r.packages...), " ")))
	return fmt.Sprintf("%s-%x", r.suite, sum[:8])
}

func (r Root) check() error {
	if suites := []string{"bookworm", "trixie", "sid"}; !slices.Contains(suites, r.suite) {
		return fmt.Errorf("cannot build a root of %q: want one of %s", r.suite, strings.Join(suites, ", "))
	}
	if len(r.packages) == 0 {
		return errors.New("cannot build a root without packages")
	}
	for _, p := range r.packages {
		if !packageName.MatchString(p) {
			return fmt.Errorf("cannot build a root with %q: not the name of a package", p)
		}
	}
	return nil
}

// Open returns the directory of a prepared root. It never builds one: that takes
// minutes and the network, which a test must not depend on.
func (r Root) Open() (dir string, err error) {
	s, err := openStore()
	if err != nil {
		return "", err
	}
	return s.open(r)
}

// store keeps roots in a directory.
type store struct {
	dir string
	// build fills the empty directory dir with a root; base is the directory of
	// its base, or empty.
	build func(ctx context.Context, dir string, r Root, base string) error
	free  func(dir string) (bytes int64, err error)
}

func openStore() (store, error) {
	cache, err := os.UserCacheDir() // XDG_CACHE_HOME or ~/.cache
	if err != nil {
		return store{}, fmt.Errorf("cannot keep Debian roots: %w", err)
	}
	return store{filepath.Join(cache, "nm-cloud-seed", "roots"), install, freeSpace}, nil
}

func (s store) path(r Root) string { return filepath.Join(s.dir, r.name()) }

// has reports whether a root is complete.
func (s store) has(r Root) bool {
	info, err := os.Stat(s.path(r))
	return err == nil && info.IsDir()
}

func (s store) open(r Root) (string, error) {
	if err := r.check(); err != nil {
		return "", err
	}
	if !s.has(r) {
		return "", fmt.Errorf("cannot use Debian %s: this root is not prepared\n%s", r, advice(r))
	}
	return s.path(r), nil
}

// make builds a root and its base, unless they are there. Of several processes
// that want the same root, one builds it and the others wait.
func (s store) make(ctx context.Context, r Root) error {
	if err := r.check(); err != nil {
		return err
	}
	var basePath string
	if base, ok := r.base(); ok {
		if err := s.make(ctx, base); err != nil {
			return err
		}
		basePath = s.path(base)
	}
	if err := s.makeOne(ctx, r, basePath); err != nil {
		return fmt.Errorf("cannot build Debian %s: %w", r, err)
	}
	return nil
}

func (s store) makeOne(ctx context.Context, r Root, base string) error {
	if err := os.MkdirAll(s.dir, 0o755); err != nil {
		return err
	}
	dir := s.path(r)
	unlock, err := lock(ctx, dir+".lock")
	if err != nil {
		return err
	}
	defer unlock()
	if s.has(r) {
		return nil
	}
	const unfinished = ".unfinished-"
	left, _ := filepath.Glob(dir + unfinished + "*") // by a process that was killed
	for _, d := range left {
		if err := os.RemoveAll(d); err != nil {
			return err
		}
	}
	temp, err := os.MkdirTemp(s.dir, filepath.Base(dir)+unfinished)
	if err != nil {
		return err
	}
	err = s.build(ctx, temp, r, base)
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
			return nil, fmt.Errorf("cannot wait for the process that builds it: %w", ctx.Err())
		case <-time.After(lockStep):
		}
	}
}
