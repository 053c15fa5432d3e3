package main

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// tree is laid over every image.
//
//go:embed image
var tree embed.FS

// enabled are the units of the tree that `systemctl enable` would link. Not
// the report: see there.
var enabled = map[string]string{
	"probe-plain.service":   "multi-user.target",
	"probe-network.service": "multi-user.target",
	"probe-cron.service":    "multi-user.target",
	"probe-timer.timer":     "timers.target",
	"probe-path.path":       "multi-user.target",
	"probe-socket.socket":   "sockets.target",
	"probe-socket.service":  "multi-user.target",
}

// imageDir is where a lab has its image: a cached root below, and above it, in
// memory, what the boots of one scenario change. It is below the lab's own /run.
const imageDir = "/run/boot"

// image is the root file system of a scenario.
type image struct{ root string }

// newImage mounts an image over lower, a directory that may be hidden by the
// lab's own mounts.
func newImage(lower *os.File) (*image, error) {
	i := &image{imageDir + "/root"}
	for _, d := range []string{"root", "upper", "work"} {
		if err := os.MkdirAll(filepath.Join(imageDir, d), 0o755); err != nil {
			return nil, fmt.Errorf("cannot make an image: %w", err)
		}
	}
	options := fmt.Sprintf("lowerdir=/proc/self/fd/%d,upperdir=%[2]s/upper,workdir=%[2]s/work", lower.Fd(), imageDir)
	if err := unix.Mount("overlay", i.root, "overlay", 0, options); err != nil {
		return nil, fmt.Errorf("cannot make an image: cannot mount an overlay: %w", err)
	}
	return i, nil
}

// fill makes it the image of a scenario. pkg is the package under test, which
// may be nil.
func (i *image) fill(ctx context.Context, s scenario, pkg []byte) error {
	err := fs.WalkDir(tree, "image", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := tree.ReadFile(name)
		if err != nil {
			return err
		}
		return i.write(strings.TrimPrefix(name, "image"), string(text))
	})
	for unit, target := range enabled {
		link := filepath.Join(i.root, "etc/systemd/system", target+".wants", unit)
		err = errors.Join(err, os.MkdirAll(filepath.Dir(link), 0o755), os.Symlink("/etc/systemd/system/"+unit, link))
	}
	if s.storm { // this program, with another name
		self, readErr := os.ReadFile("/proc/self/exe")
		err = errors.Join(err, readErr, os.WriteFile(i.path("/usr/local/lib/boot-test"), self, 0o755))
	}
	// Without this directory the journal would be gone with the boot.
	err = errors.Join(err, os.MkdirAll(i.path("/var/log/journal"), 0o755))
	if !s.bare && !s.installedIdle {
		err = errors.Join(err, i.write(shortIdleFile, shortIdle))
	}
	for name, text := range s.files {
		err = errors.Join(err, i.write(name, text))
	}
	if err != nil {
		return fmt.Errorf("cannot fill the image: %w", err)
	}
	if s.setup != "" {
		if err := i.run(ctx, "/bin/sh", "-euc", s.setup); err != nil {
			return err
		}
	}
	if len(s.remove) > 0 {
		// Others depend on them, for what is not tested here.
		if err := i.run(ctx, append([]string{"dpkg", "--purge", "--force-depends"}, s.remove...)...); err != nil {
			return err
		}
	}
	if s.bare {
		return nil
	}
	if err := os.WriteFile(i.path(packageFile), pkg, 0o644); err != nil {
		return fmt.Errorf("cannot install the package: %w", err)
	}
	if s.later {
		return nil
	}
	if err := i.run(ctx, "dpkg", "--install", packageFile); err != nil {
		return fmt.Errorf("cannot install the package: %w", err)
	}
	return os.Remove(i.path(packageFile))
}

// packageFile is the package under test in an image, until it is installed.
const packageFile = "/var/tmp/nm-cloud-seed.deb"

// shortIdle ends the D-Bus API's process 10 s after the last call, not 30 s: every
// boot that has called it waits for that.
const (
	shortIdleFile = "/etc/systemd/system/nm-cloud-seed-bus.service.d/short-idle.conf"
	shortIdle     = "[Service]\nExecStart=\nExecStart=/usr/bin/nm-cloud-seed bus --idle 10s\n"
)

// path is where a file of the image is on this machine.
func (i *image) path(name string) string { return filepath.Join(i.root, name) }

// write makes a file, to be executed if it is a program of ours, and for root
// alone where its reader insists on that.
func (i *image) write(name, text string) error {
	mode := fs.FileMode(0o644)
	switch path.Dir(name) {
	case "/usr/local/lib":
		mode = 0o755
	case "/etc/NetworkManager/system-connections", "/etc/netplan":
		mode = 0o600
	}
	if err := os.MkdirAll(filepath.Dir(i.path(name)), 0o755); err != nil {
		return err
	}
	return os.WriteFile(i.path(name), []byte(text), mode)
}
