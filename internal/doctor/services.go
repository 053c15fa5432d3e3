package doctor

import (
	"io/fs"
	"slices"
	"strings"

	"github.com/nm-cloud-seed/nm-cloud-seed/internal/config"
	"github.com/nm-cloud-seed/nm-cloud-seed/systemd"
)

const (
	nmService = "NetworkManager.service"
	networkd  = "systemd-networkd.service"
)

// unit says whether a unit can be started; if not, its package may be missing.
func (i *image) unit(name, pkg string) Check {
	if file := i.units.Masked(name); file != "" {
		return problem(name+" is masked by "+file, i.systemctl("unmask "+name))
	}
	if !i.units.Installed(name) {
		return problem("there is no "+name, i.install(pkg))
	}
	return ok("")
}

// started says whether systemd starts a unit at boot.
func (i *image) started(name string) Check {
	if !i.units.Started(name) {
		return problem(name+" is not started at boot", i.systemctl("enable "+name))
	}
	return ok("")
}

func (i *image) networkManager() Check { return i.unit(nmService, "network-manager") }

func (i *image) networkManagerStarted() Check { return i.started(nmService) }

// dbus is how NetworkManager is asked.
func (i *image) dbus() Check {
	if c := i.unit("dbus.socket", "dbus"); c.State != OK {
		return c
	}
	if c := i.started("dbus.socket"); c.State != OK { // it has no [Install]
		return problem(c.Detail, "ln -s ../dbus.socket "+i.root+"/usr/lib/systemd/system/sockets.target.wants/")
	}
	return ok("")
}

// otherNetworks are services that run network devices, too.
func otherNetworks() []string {
	return []string{networkd, "networking.service", "dhcpcd.service", "connman.service", "wicked.service"}
}

// alone looks for services that would run the VM's devices, too.
func (i *image) alone() Check {
	others := slices.DeleteFunc(otherNetworks(), func(unit string) bool { return !i.units.Started(unit) })
	if len(others) == 0 {
		return ok("no other service runs the network")
	}
	names := strings.Join(others, " ")
	if i.other != "" {
		return info("also started at boot: " + names + ": " + i.other)
	}
	if others = slices.DeleteFunc(others, i.leavesAlone); len(others) == 0 {
		return info("also started at boot: " + names + ", for what NetworkManager leaves alone")
	}
	names = strings.Join(others, " ")
	return warning("also started at boot: "+names, i.systemctl("disable "+names)+", unless they leave the VM's devices alone")
}

// parts are the parts of the package that a boot needs; the rest comes with them.
func parts() []string {
	return []string{
		"usr/bin/nm-cloud-seed", "usr/lib/systemd/system-generators/nm-cloud-seed-generator",
		"usr/lib/systemd/system/nm-cloud-seed.service", "usr/lib/systemd/system/nm-cloud-seed-cleanup.service",
		"usr/lib/systemd/system/nm-cloud-seed-ssh-keys.service", "usr/lib/systemd/system/nm-cloud-seed-heal.service",
		"usr/lib/systemd/system/nm-cloud-seed-stages.service", "usr/lib/systemd/system/nm-cloud-seed-bus.service",
	}
}

// ours says whether the package is there.
func (i *image) ours() Check {
	var missing []string
	for _, name := range parts() {
		if !i.exists(name) {
			missing = append(missing, "/"+name)
		}
	}
	install := "install nm-cloud-seed-*.rpm" + i.inImage()
	switch {
	case i.program("apt-get") && i.root == "":
		install = "apt-get install --reinstall -y ./nm-cloud-seed_*_$(dpkg --print-architecture).deb"
	case i.program("apt-get"):
		install = "cp nm-cloud-seed_*_$(" + i.chroot("dpkg --print-architecture") + ").deb " + i.root + "/tmp/nm-cloud-seed.deb && " + i.chroot("apt-get install --reinstall -y /tmp/nm-cloud-seed.deb")
	}
	switch {
	case len(missing) == len(parts()):
		return problem("the package is not installed", install)
	case len(missing) > 0:
		return problem("not complete, without "+strings.Join(missing, " "), install)
	}
	// Of all places, systemd.generator(7) has these before the package's.
	for _, dir := range []string{"run", "etc", "usr/local/lib"} {
		if name := dir + "/systemd/system-generators/nm-cloud-seed-generator"; i.exists(name) {
			return problem("the generator is replaced or masked by /"+name, "rm "+i.root+"/"+name)
		}
	}
	if info, err := fs.Stat(i.fsys, "usr/bin/nm-cloud-seed"); err != nil || info.Mode()&0o111 == 0 {
		return problem("/usr/bin/nm-cloud-seed cannot be executed", "chmod 755 "+i.root+"/usr/bin/nm-cloud-seed")
	}
	return i.unit(systemd.Service, "nm-cloud-seed")
}

func (i *image) configuration() Check {
	if i.confErr == nil {
		return ok("")
	}
	return problem("there are mistakes", "mend the lines").with(strings.Split(i.shown(i.confErr.Error()), "\n")...)
}

func (i *image) switchedOn() Check {
	fix := "remove that line from " + i.root + "/etc/nm-cloud-seed.conf, or the file in " + i.root + "/etc/nm-cloud-seed.conf.d or " + i.root + "/usr/lib/nm-cloud-seed/conf.d that has it"
	switch {
	case i.conf.Ordering == config.OrderingOff:
		return problem("switched off by ordering=off: nothing is done", fix)
	case i.conf.Platform == config.PlatformNone:
		return problem("switched off by platform=none: nothing is done", fix)
	}
	return ok("platform=" + string(i.conf.Platform) + ", ordering=" + string(i.conf.Ordering))
}

// dropIn is the link by which cloud-init is told not to search once more after
// a failure.
func (i *image) dropIn() Check {
	const name, target = "etc/cloud/cloud.cfg.d/99-nm-cloud-seed.cfg", "/run/nm-cloud-seed/private/cloud.cfg"
	if to, err := fs.ReadLink(i.fsys, name); err == nil && to == target {
		return ok("")
	}
	return warning("/"+name+" does not lead to "+target+": after a failure, cloud-init searches another two minutes; on a network without a domain, the FQDN ends in .localdomain",
		"ln -sf "+target+" "+i.root+"/"+name)
}
