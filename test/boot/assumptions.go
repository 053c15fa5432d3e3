package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/nm-cloud-seed/nm-cloud-seed/test/boot/qemu"
	"github.com/nm-cloud-seed/nm-cloud-seed/test/lab"
)

// assumption is what a boot assumes unless its scenario says otherwise. What all
// boots had in common once hid defects, so at least one scenario of `make test-boot`
// breaks each assumption: a test holds that, and the README's table.
type assumption struct {
	what   string
	usual  string
	broken func(scenario) bool
}

// isBrokenBy reports whether a scenario with the package breaks the assumption. Without
// it, a boot shows only that the package is needed.
func (a assumption) isBrokenBy(s scenario) bool { return a.broken(s) && !s.bare }

func assumptions() []assumption {
	return []assumption{
		{"firmware (DMI)", "none, as in a container", func(s scenario) bool { return s.virtual != nil }},
		{"who says that it is CloudStack", "`platform=cloudstack` in our configuration", func(s scenario) bool {
			return !strings.Contains(s.files[ourConfig], "platform=cloudstack")
		}},
		{"kernel command line", "`ci.ds=CloudStack`", func(s scenario) bool {
			return s.virtual != nil || s.files[onlyListedFile] != "" || slices.ContainsFunc(s.boots, func(b boot) bool { return len(b.cmdline) > 0 })
		}},
		{"order of the boot", "cloud-init's units as Debian ships them, `ordering=late`", func(s scenario) bool {
			return strings.Contains(s.setup, "$STAGE") || strings.Contains(s.files[ourConfig], "ordering=")
		}},
		{"package", "installed before the first boot", func(s scenario) bool { return s.later }},
		{"machine-id at the first boot", "empty", func(s scenario) bool { return s.files["/etc/machine-id"] != "" }},
		{"NICs", "one, `eth0`", func(s scenario) bool { return len(s.nics) > 1 }},
		{"name of the NIC", "`eth0`", func(s scenario) bool { return s.virtual != nil }},
		{"link", "up when the VM starts", func(s scenario) bool {
			return hasOutage(s, func(o outage) bool { return o.unplugged })
		}},
		{"DHCP", "answers at once", func(s scenario) bool {
			return slices.ContainsFunc(s.nics, func(n lab.NIC) bool { return n.NoDHCP }) || hasOutage(s, func(o outage) bool { return o.network })
		}},
		{"domain of the network", "`" + domain + "`, by DHCP option 15", func(s scenario) bool {
			return slices.ContainsFunc(s.nics, func(n lab.NIC) bool { return n.NoDomain }) ||
				s.files["/etc/NetworkManager/system-connections/static.nmconnection"] == staticProfile
		}},
		{"host name", "the short name, not the FQDN", func(s scenario) bool { return s.files[preferFQDN[0]] != "" }},
		{"gateway", "the virtual router", func(s scenario) bool {
			return slices.ContainsFunc(s.nics, func(n lab.NIC) bool { return n.Router.IsValid() })
		}},
		{"DHCP client of the image", "what the packages bring: none on Debian 12 and 13, dhcpcd on sid", func(s scenario) bool {
			return slices.Contains(s.packages, "isc-dhcp-client") || slices.Contains(s.remove, "dhcpcd-base")
		}},
		{"profile of the NIC", "cloud-init's, by DHCP", func(s scenario) bool {
			return s.files["/etc/NetworkManager/system-connections/static.nmconnection"] != ""
		}},
		{"network configuration", "cloud-init writes a profile for NetworkManager", func(s scenario) bool {
			return s.files["/etc/cloud/cloud.cfg.d/97-no-network.cfg"] != "" || slices.Contains(s.packages, "netplan.io")
		}},
		{"who manages the NIC", "NetworkManager", func(s scenario) bool {
			return strings.Contains(strings.Join(slices.Collect(maps.Values(s.files)), ""), "unmanaged-devices") || s.files["/etc/NetworkManager/conf.d/unmanaged.conf"] != "" || slices.Contains(s.packages, "ifupdown")
		}},
		{"resolver", "`/etc/resolv.conf`, written by NetworkManager", func(s scenario) bool {
			return slices.Contains(s.packages, "systemd-resolved")
		}},
		{"D-Bus broker", "dbus-daemon", func(s scenario) bool { return slices.Contains(s.packages, "dbus-broker") }},
		{"virtual router", "answers at once, for this VM", func(s scenario) bool {
			return s.vr != nil || hasOutage(s, func(outage) bool { return true })
		}},
		{"password and SSH keys", "no password, always the same key", func(s scenario) bool {
			return slices.ContainsFunc(s.boots, func(b boot) bool { return b.vm != nil })
		}},
		{"user-data", "a user, a file and commands; no password", func(s scenario) bool {
			return strings.Contains(s.userData, "chpasswd")
		}},
		{"`/etc/fstab`", "lists nothing", func(s scenario) bool { return s.files["/etc/fstab"] != "" }},
		{"disk", "always in the same machine", func(s scenario) bool { return s.machines }},
		{"service", "its run comes to its end", func(s scenario) bool { return s.files[killer] != "" }},
		{"end of a boot", "an orderly power-off", func(s scenario) bool {
			return slices.ContainsFunc(s.boots, func(b boot) bool { return b.cut != nil })
		}},
	}
}

func hasOutage(s scenario, is func(outage) bool) bool {
	return slices.ContainsFunc(s.boots, func(b boot) bool { return b.outage != nil && is(*b.outage) })
}

// assumptionTable returns the README's table of the assumptions, and of the scenarios
// that break them.
func assumptionTable(all []scenario) string {
	var b strings.Builder
	b.WriteString("| what | usually | broken by |\n|---|---|---|\n")
	for _, a := range assumptions() {
		var names []string
		for _, s := range all {
			if a.isBrokenBy(s) {
				names = append(names, s.name)
			}
		}
		const most = 4
		if more := len(names) - most; more > 0 {
			names = append(names[:most], fmt.Sprintf("%d more", more))
		}
		fmt.Fprintf(&b, "| %s | %s | %s |\n", a.what, a.usual, strings.Join(names, ", "))
	}
	return b.String()
}

// scenarioTable returns the README's table of the scenarios and of what they prove.
func scenarioTable(all []scenario) string {
	var b strings.Builder
	b.WriteString("| scenario | boots | in | proves | only in `test-boot-all` |\n|---|---|---|---|---|\n")
	for _, s := range all {
		where := "container"
		if s.virtual != nil {
			where = "QEMU, " + product(s.virtual)
		}
		fmt.Fprintf(&b, "| %s | %d | %s | %s | %s |\n", s.name, len(s.boots), where, s.about, s.extended)
	}
	return b.String()
}

func product(m *qemu.Machine) string {
	name, _, _ := strings.Cut(cmp.Or(m.Product, "no DMI"), " (")
	return name
}
