package daemon

import (
	"os"
	"strings"

	"github.com/nm-cloud-seed/nm-cloud-seed/datasource"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/cloudinit"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/seed"
)

// nameFor decides under which name an instance is seeded, such that cloud-init asks no
// DHCP client for a domain, and a VM that has been set up keeps its name.
func (d *Daemon) nameFor(inst *datasource.Instance) seed.Name {
	files := cloudinit.Files{Root: d.Root}
	image, err := files.Config()
	if err != nil {
		d.Log.Debug(err) // then cloud-init has no configuration, either
	}
	user := cloudinit.ParseUserConfig(inst.UserData)
	hidden := user.MayName()
	if user.Opaque() { // what cloud-init has made of it at the last boot is better
		if last, err := files.UserConfig(inst.ID); err == nil && !last.Empty() {
			user, hidden = last, false
		}
	}
	name := seed.NameFacts{
		Given:      inst.Metadata["local-hostname"],
		Current:    d.currentHostname(),
		Domain:     inst.Origin.Domain,
		PreferFQDN: image.With(user).PreferFQDN(),
		Recorded:   files.RecordedFQDN(inst.ID),
	}.Decide()
	if name.Replaced {
		d.Log.Warnf("the virtual router's local-hostname is not a host name: the VM gets the name %s", name.Local)
	}
	// Ours would override another one, or may: then the compatibility lease has to do.
	if image.Names(user) != "" || hidden {
		name.FQDN = ""
	}
	return name
}

// currentHostname returns the kernel's host name, empty if it is unknown.
func (d *Daemon) currentHostname() string {
	name, _ := os.ReadFile(d.Root + "/proc/sys/kernel/hostname") // of the kernel: at most 64 bytes
	return strings.TrimSpace(string(name))
}
