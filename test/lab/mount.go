package lab

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	labDir   = "/run/lab"        // the lab's own files
	hostDir  = labDir + "/host"  // the host's /etc, read-only, at hostDir/etc
	emptyDir = labDir + "/empty" // where a program must find nothing
	tmpDir   = labDir + "/tmp"   // TMPDIR: a killed test leaves nothing behind
	nmDir    = "/etc/NetworkManager"

	// A lab has a machine id of its own, as some hosts have none.
	machineIDFile = "/etc/machine-id"
	machineID     = "6e6d2d636c6f75642d736565642d6c61" // "nm-cloud-seed-la"

	tmpfsMode = "mode=0755" // a tmpfs is 1777 otherwise
)

// freshEtc says whether the lab's /etc does not show the host's entry.
func freshEtc(name string) bool {
	switch name {
	case "NetworkManager", "network", "netns", "cloud", "machine-id", "hostname", "hosts", "resolv.conf":
		return true
	}
	return strings.HasPrefix(name, "nm-cloud-seed")
}

// mountAll gives this mount namespace its own, empty /run and /var/lib, an /etc
// that can be written without touching the host's, its own /proc and /sys.
func mountAll() error {
	// sysfs is read-only because NetworkManager takes a writable one for a
	// machine with udev, waits for it and leaves every device unmanaged.
	const inert = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("cannot make mounts private (in a chroot, / is no mount point: bind it to itself and use pivot_root): %w", err)
	}
	for _, m := range []struct {
		dir, fstype string
		flags       uintptr
		data        string
	}{
		{"/proc", "proc", inert, ""},
		{"/sys", "sysfs", inert | unix.MS_RDONLY, ""},
		{"/run", "tmpfs", unix.MS_NOSUID | unix.MS_NODEV, tmpfsMode},
		{"/var/lib", "tmpfs", unix.MS_NOSUID | unix.MS_NODEV, tmpfsMode},
	} {
		if err := unix.Mount(m.fstype, m.dir, m.fstype, m.flags, m.data); err != nil {
			return fmt.Errorf("cannot mount %s on %s: %w", m.fstype, m.dir, err)
		}
	}
	if err := makeDirs(hostDir+"/etc", emptyDir, tmpDir, "/run/dbus", "/run/netns",
		"/run/NetworkManager", "/var/lib/NetworkManager", "/var/lib/dbus", "/var/lib/misc"); err != nil {
		return err
	}
	if err := mountEtc(); err != nil {
		return err
	}
	return makeDirs(nmDir+"/conf.d", nmDir+"/system-connections")
}

// mountEtc puts a tmpfs of links to the host's entries over /etc, so that a
// program can create files there. An overlay would not do: root of a user
// namespace may not write in a directory whose owner has no id in there.
func mountEtc() error {
	if err := unix.Mount("/etc", hostDir+"/etc", "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("cannot bind the host's /etc: %w", err)
	}
	// Adding one attribute, not remounting: a user namespace may not drop
	// those that the mount has already.
	err := unix.MountSetattr(unix.AT_FDCWD, hostDir+"/etc", unix.AT_RECURSIVE,
		&unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY})
	if err != nil {
		return fmt.Errorf("cannot make the host's /etc read-only: %w", err)
	}
	if err := unix.Mount("tmpfs", "/etc", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, tmpfsMode); err != nil {
		return fmt.Errorf("cannot mount tmpfs on /etc: %w", err)
	}
	// Relative links below /etc that lead out of it.
	for _, d := range []string{"usr", "var", "run", "lib"} {
		if err := os.Symlink("/"+d, filepath.Join(hostDir, d)); err != nil {
			return fmt.Errorf("cannot lay out /etc: %w", err)
		}
	}
	entries, err := os.ReadDir(hostDir + "/etc")
	if err != nil {
		return fmt.Errorf("cannot read the host's /etc: %w", err)
	}
	for _, e := range entries {
		if freshEtc(e.Name()) {
			continue
		}
		target := filepath.Join(hostDir, "etc", e.Name())
		if e.Type()&os.ModeSymlink != 0 {
			if target, err = os.Readlink(target); err != nil {
				return fmt.Errorf("cannot lay out /etc: %w", err)
			}
		}
		if err := os.Symlink(target, filepath.Join("/etc", e.Name())); err != nil {
			return fmt.Errorf("cannot lay out /etc: %w", err)
		}
	}
	for name, text := range map[string]string{
		machineIDFile:      machineID + "\n",
		"/etc/hosts":       "127.0.0.1 localhost\n",
		"/etc/hostname":    "localhost\n",
		"/etc/resolv.conf": "",
	} {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			return fmt.Errorf("cannot lay out /etc: %w", err)
		}
	}
	if err := os.Symlink(machineIDFile, "/var/lib/dbus/machine-id"); err != nil {
		return fmt.Errorf("cannot lay out /var/lib: %w", err)
	}
	return nil
}

func makeDirs(dirs ...string) error {
	for _, d := range dirs {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return fmt.Errorf("cannot lay out the lab: %w", err)
		}
	}
	return nil
}
