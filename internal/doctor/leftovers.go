package doctor

import (
	"io/fs"
	"path"
	"slices"
	"strings"
)

// What is left of a system that has run makes its clones take each other's, or
// its own, place.

func (i *image) instance() Check {
	if i.exists("var/lib/cloud/instance") {
		return warning("cloud-init has run in this image: /var/lib/cloud/instance", i.chroot("cloud-init clean --logs"))
	}
	return ok("cloud-init has not run in this image")
}

// ownSeed is a seed of the CloudStack datasource's that is not our link: since
// 25.2 cloud-init reads it before we can replace it.
func (i *image) ownSeed() Check {
	const name = "var/lib/cloud/seed/cs"
	if to, err := fs.ReadLink(i.fsys, name); !i.exists(name) || err == nil && strings.HasPrefix(to, "/run/nm-cloud-seed/") {
		return ok("none")
	}
	return problem("/"+name+" has another VM's data, which cloud-init takes for its own", "rm -r "+i.root+"/"+name)
}

// machineID also looks at D-Bus's, usually a link: systemd takes it where it has
// none, systemd-machine-id-setup(1).
func (i *image) machineID() Check {
	const dbus = "var/lib/dbus/machine-id"
	fix, remove := "truncate -s 0 "+i.root+"/etc/machine-id", "rm "+i.root+"/"+dbus
	info, err := fs.Lstat(i.fsys, dbus)
	copied := err == nil && info.Mode().IsRegular() && strings.TrimSpace(i.read(dbus)) != ""
	if copied {
		fix += " && " + remove
	}
	switch id := strings.TrimSpace(i.read("etc/machine-id")); {
	case !i.exists("etc/machine-id"):
		return warning("there is no /etc/machine-id: systemd, which starts on a read-only disk, cannot make one", fix)
	case copied && (id == "" || id == "uninitialized"):
		return warning("/"+dbus+" is set, which systemd takes: all VMs of this image have the same", remove)
	case id == "uninitialized": // "First Boot Semantics" in machine-id(5)
		if names := slices.DeleteFunc(otherNetworks(), func(unit string) bool { return !i.units.Installed(unit) || !i.preset(unit) }); len(names) > 0 {
			return warning("/etc/machine-id is uninitialized: in each VM's first boot systemd enables, by its presets, "+strings.Join(names, " "), fix)
		}
		return ok("uninitialized: each VM makes its own")
	case id == "":
		return ok("empty: each VM makes its own")
	default:
		return warning("/etc/machine-id is set: all VMs of this image have the same", fix)
	}
}

// preset says whether systemd.preset(5) enables a unit: the first line that
// matches counts, and without one it does.
func (i *image) preset(unit string) bool {
	const dir = "systemd/system-preset"
	for _, file := range i.layered("*.preset", "usr/lib/"+dir, "usr/local/lib/"+dir, "run/"+dir, "etc/"+dir) {
		for line := range strings.Lines(i.read(file)) {
			words := strings.Fields(line)
			if len(words) < 2 || words[0] != "enable" && words[0] != "disable" {
				continue
			}
			if matched, _ := path.Match(words[1], unit); matched {
				return words[0] == "enable"
			}
		}
	}
	return true
}
