package doctor

import (
	"cmp"
	"slices"
	"strings"
)

// only is what to write into cloud-init's configuration: its generators differ in
// what else they read.
const only = `write exactly "datasource_list: [ CloudStack ]" `

// listFile is where to write it if no file has a list.
const listFile = "/etc/cloud/cloud.cfg.d/90-cloudstack.cfg"

func (i *image) cloudInit() Check {
	if stages := i.units.NetworkStages(); len(stages) > 0 {
		return ok(strings.Join(stages, ", "))
	}
	if c := i.unit("cloud-init-network.service", "cloud-init"); i.units.Masked("cloud-init-network.service") != "" {
		return c
	}
	return i.unit("cloud-init.service", "cloud-init")
}

func (i *image) cloudInitVersion() Check {
	switch v := i.version; {
	case v.major == 0:
		return warning("unknown: there is no cloudinit/version.py in /usr/lib/python3*/*-packages that says it", "see that it is "+oldest.text+" or newer")
	case v.before(oldest.major, oldest.minor):
		return problem(v.text+" is older than "+oldest.text+", the oldest that was seen to work", "install cloud-init "+oldest.text+" or newer, or a newer release of the distribution")
	default:
		return ok(v.text)
	}
}

// cloudInitEnabled looks at cloud-init's switch, and whether systemd starts what
// it needs, as cloud-init's generator would have it.
func (i *image) cloudInitEnabled() Check {
	switch reason := i.files.Disabled(i.cmdline); {
	case reason == "":
	case i.files.Disabled("") == "":
		return problem(reason, "take that word out of the kernel command line, and reboot")
	default:
		return problem(reason, "rm "+i.root+"/etc/cloud/cloud-init.disabled")
	}
	units := []string{"cloud-init.target", "cloud-init-main.service", "cloud-init-local.service", "cloud-config.service", "cloud-final.service"}
	for _, unit := range append(units, i.units.NetworkStages()...) {
		if !i.units.Installed(unit) && i.units.Masked(unit) == "" {
			continue // this version has none
		}
		for _, c := range []Check{i.unit(unit, "cloud-init"), i.started(unit)} {
			if c.State != OK {
				return c
			}
		}
	}
	return ok("")
}

func (i *image) cloudInitConfig() Check {
	if i.cloudErr != nil {
		return problem(i.shown(i.cloudErr.Error()), "restore the file from the package cloud-init")
	}
	notes := i.cloud.Notes
	if i.exists("etc/cloud/ds-identify.cfg") {
		notes = append(notes, "/etc/cloud/ds-identify.cfg may decide about datasources, and is not read here")
	}
	if len(notes) > 0 {
		return warning("what follows holds unless these matter:", "mend the files, or remove what is not needed").with(notes...)
	}
	return ok("")
}

// datasources says whether cloud-init looks for CloudStack. Its generator,
// ds-identify, decides by the list, and if that has several, by the firmware,
// which names CloudStack on KVM only.
func (i *image) datasources() Check {
	read, at := i.cloud.Identified, i.listAt()
	list := "[ " + strings.Join(read.Values, ", ") + " ] at " + at
	switch {
	case at == "":
		c := info("cloud-init's own list: CloudStack is found by its firmware, on KVM only")
		c.Fix = "for VMware and Xen " + only + "to " + i.root + listFile
		return c
	case len(read.Values) == 0:
		return warning("datasource_list at "+at+" is not read by every cloud-init's generator (ds-identify), which then takes its own list", only+"there")
	case !slices.Contains(read.Values, "CloudStack"):
		return problem(list+" is without CloudStack", only+"there")
	case !i.cloud.OnlyCloudStack():
		c := info(list + ": CloudStack is found by its firmware, on KVM only")
		c.Fix = "for VMware and Xen " + only + "there"
		return c
	}
	return ok(list)
}

// listAt is the line to write the list on, if there is one.
func (i *image) listAt() string { return cmp.Or(i.cloud.Identified.At, i.cloud.Datasources.At) }

// otherSeeds are other datasources' seed directories: a datasource that has one
// is found, and most come before CloudStack.
func (i *image) otherSeeds() Check {
	var seeds []string
	for _, dir := range i.list("var/lib/cloud/seed", "*") {
		if name := strings.TrimPrefix(dir, "var/lib/cloud/seed/"); !strings.HasPrefix(name, "cs") && len(i.list(dir, "*")) > 0 {
			seeds = append(seeds, "/"+dir)
		}
	}
	switch {
	case len(seeds) == 0:
		return ok("")
	case i.cloud.OnlyCloudStack():
		return info("not looked at, since CloudStack is the only datasource: " + strings.Join(seeds, " "))
	}
	where := "to " + i.root + listFile
	if at := i.listAt(); at != "" {
		where = "at " + at // it may override ours
	}
	return problem("cloud-init may take the VM's data from "+strings.Join(seeds, " ")+" instead of CloudStack",
		"rm -r "+i.root+strings.Join(seeds, " "+i.root)+", or "+only+where)
}

// dhcpClient is about what cloud-init does with a DHCP client of its own, if
// there is one: facts that differ by version.
func (i *image) dhcpClient() Check {
	var clients []string
	for _, name := range []string{"dhclient", "dhcpcd", "udhcpc"} {
		if i.program(name) {
			clients = append(clients, name)
		}
	}
	names, v := strings.Join(clients, ", "), i.version
	switch {
	case len(clients) == 0:
		return ok("none, and none is needed: nm-cloud-seed tells cloud-init the virtual router and the FQDN")
	case v.major > 0 && !v.before(25, 2):
		return info(names + ": cloud-init's local stage takes a lease with it, and would look for the virtual router before NetworkManager starts, which nm-cloud-seed prevents")
	case v.before(24, 1) || clients[0] != "dhcpcd":
		return ok(names)
	case i.other != "" || i.networkdFile != "":
		return info("dhcpcd: cloud-init asks it for the virtual router only where systemd-networkd has no lease")
	case i.units.Started(networkd):
		return warning("dhcpcd: cloud-init 24.1 to 25.1 can crash asking it for the virtual router; where systemd-networkd runs a device, nm-cloud-seed cannot prevent that",
			i.systemctl("disable "+networkd))
	}
	return info("dhcpcd: cloud-init 24.1 to 25.1 can crash asking it for the virtual router, which nm-cloud-seed prevents")
}
