// Package netservice finds which network service runs the wired devices of a
// system. It reads files only, and asks no service.
package netservice

import (
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/nm-cloud-seed/nm-cloud-seed/internal/rootfs"
)

// Service is a network service, by the name that its users know.
type Service string

// The network services. Unknown is also that no service runs the devices.
const (
	Unknown        Service = ""
	NetworkManager Service = "NetworkManager"
	Networkd       Service = "systemd-networkd"
	Ifupdown       Service = "ifupdown"
)

// Limits of what is read: the generator reads early in each boot.
const (
	maxFile    = 256 << 10 // bytes
	maxEntries = 4096      // of a directory
	maxFiles   = 128       // of a directory that match
)

// Files are the files of a system.
type Files struct {
	FS fs.FS
	// Unreadable, if set, is told of each file and directory that cannot be read,
	// also of those that do not exist.
	Unreadable func(err error, name string)
}

// read returns the text of a file, or none if it cannot be read.
func (f Files) read(name string) string {
	data, err := rootfs.Read(f.FS, name, maxFile)
	if err != nil {
		f.tell(err, name)
		return ""
	}
	return string(data)
}

// list returns the files of a directory whose names match a pattern, with the
// directory's name, sorted.
func (f Files) list(dir, pattern string) []string {
	entries, err := rootfs.List(f.FS, dir, maxEntries)
	if err != nil {
		f.tell(err, dir)
	}
	var all []string
	for _, e := range entries {
		if matched, _ := path.Match(pattern, e.Name()); matched && len(all) < maxFiles {
			all = append(all, path.Join(dir, e.Name()))
		}
	}
	return all
}

func (f Files) tell(err error, name string) {
	if f.Unreadable != nil {
		f.Unreadable(err, name)
	}
}

func (f Files) exists(name string) bool {
	_, err := fs.Lstat(f.FS, name)
	return err == nil
}

// layered returns the files of several directories. A file hides those of the same
// name in the directories before it.
func (f Files) layered(pattern string, dirs ...string) []string {
	var all []string
	for _, dir := range dirs {
		files := f.list(dir, pattern)
		all = slices.DeleteFunc(all, func(old string) bool {
			return slices.ContainsFunc(files, func(file string) bool { return path.Base(file) == path.Base(old) })
		})
		all = append(all, files...)
	}
	return all
}

// sortByName sorts files by their names without the directories.
func sortByName(files []string) []string {
	slices.SortStableFunc(files, func(a, b string) int { return strings.Compare(path.Base(a), path.Base(b)) })
	return files
}

// unitDirs are the directories of systemd's units, those with the highest precedence
// first.
var unitDirs = []string{"etc/systemd/system", "run/systemd/system", "usr/local/lib/systemd/system", "usr/lib/systemd/system", "lib/systemd/system"}

// installed reports whether a unit exists and is not masked.
func (f Files) installed(unit string) bool {
	for _, dir := range unitDirs {
		name := dir + "/" + unit
		if to, err := fs.ReadLink(f.FS, name); err == nil && to == "/dev/null" {
			return false
		}
		info, err := fs.Stat(f.FS, name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		return err == nil && info.Size() > 0 // empty: masked
	}
	return false
}

// enabled reports whether systemd starts a unit at boot, as far as links of the usual
// targets tell.
func (f Files) enabled(unit string) bool {
	if !f.installed(unit) {
		return false
	}
	for _, dir := range append(slices.Clone(unitDirs), "run/systemd/generator", "run/systemd/generator.early", "run/systemd/generator.late") {
		for _, target := range []string{"multi-user.target", "network.target", "network-online.target", "sysinit.target"} {
			if f.exists(dir + "/" + target + ".wants/" + unit) {
				return true
			}
		}
	}
	return false
}

// Ethernet returns the service that runs the wired devices, as far as that is certain
// before any service has started, and in words how the files tell. It returns Unknown
// also where cloud-init's local stage may still write the file that decides.
func (f Files) Ethernet() (s Service, reason string) {
	plan := f.Netplan()
	left := f.LeftAlone()
	switch all := slices.ContainsFunc(left, func(l LeftAlone) bool { return l.Reach == All }); {
	case len(left) == 0 && len(plan.Files) == 0 && !f.netplanInstalled() && f.NetworkdFile() == "":
		return NetworkManager, "its configuration leaves no wired device alone"
	case len(left) == 0 && len(plan.Files) > 0 && plan.Readable && plan.Renderer == string(NetworkManager) && len(plan.Networkd) == 0:
		return NetworkManager, "netplan gives the network to NetworkManager"
	case !all || f.managesSome() || !f.networkdStarts(plan):
		return Unknown, ""
	}
	switch {
	case len(plan.Files) > 0 && (!plan.Readable || plan.AnyNetworkManager):
		return Unknown, ""
	case len(plan.Ethernets) > 0:
		return Networkd, "netplan gives the network to systemd-networkd"
	}
	if file := f.networkFile(""); file != "" {
		return Networkd, "systemd-networkd runs the network (/" + file + "), and NetworkManager leaves wired devices alone"
	}
	return Unknown, ""
}

// NetworkdFile returns the systemd.network(5) file for wired devices that
// systemd-networkd applies at boot, empty if there is none, or if it does not start.
// NetworkManager may nevertheless manage the devices.
func (f Files) NetworkdFile() string {
	if !f.enabled(networkdUnit) {
		return ""
	}
	return f.networkFile("")
}

// networkdStarts reports whether systemd starts systemd-networkd at boot. netplan's
// generator, which runs beside ours, has it started where netplan gives it a device.
func (f Files) networkdStarts(plan Netplan) bool {
	if f.enabled(networkdUnit) {
		return true
	}
	return f.installed(networkdUnit) && f.netplanInstalled() && len(plan.Ethernets) > 0
}

// InCharge returns the service other than NetworkManager that runs a device now. At
// boot, the service may have started only a moment ago.
func (f Files) InCharge(device string) Service {
	index := f.index(device)
	if f.NetworkdRuns(index) {
		return Networkd
	}
	switch f.networkdState(index) {
	case "unmanaged", "linger":
	default: // it has not decided yet, or does not run
		if (f.enabled(networkdUnit) || f.exists(networkdRuns)) && f.networkFile(device) != "" {
			return Networkd
		}
	}
	if file := f.Stanza(device); file != "" && f.ifupdownInstalled() && !f.ManagesIfupdown() {
		return Ifupdown
	}
	for _, name := range []string{"dhcpcd", "connman", "wicked"} { // which run all devices
		if f.enabled(name + ".service") {
			return Service(name)
		}
	}
	return Unknown
}

// Others returns the wired devices that another service than NetworkManager runs now, by
// service, and reports whether these are all wired devices. It is for when NetworkManager
// cannot be asked: a service that is only configured to run a device does not count where
// NetworkManager has noted that it manages the device.
func (f Files) Others() (devices map[Service][]string, all bool) {
	wired := f.wired()
	all = len(wired) > 0
	for _, device := range wired {
		service, index := f.InCharge(device), f.index(device)
		if service == Unknown || !f.NetworkdRuns(index) && f.notedAsManaged(index) {
			all = false
			continue
		}
		if devices == nil {
			devices = make(map[Service][]string)
		}
		devices[service] = append(devices[service], device)
	}
	return devices, all
}
