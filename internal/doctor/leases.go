package doctor

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/nm-cloud-seed/nm-cloud-seed/internal/lease"
)

// networkManagerRuns says whether NetworkManager can be asked now.
func (m *machine) networkManagerRuns() Check {
	switch {
	case m.viewErr != nil && m.view.Running:
		return problem(m.viewErr.Error(), "systemctl restart NetworkManager")
	case m.viewErr != nil:
		return problem(m.viewErr.Error(), "systemctl start dbus.socket NetworkManager")
	case !m.view.Running:
		return problem("NetworkManager is not on the bus", "systemctl start NetworkManager; if it fails: journalctl -b -u NetworkManager")
	case m.view.Starting:
		return info(strings.TrimSpace(m.nmVersion + ", which is still starting"))
	}
	return ok(m.nmVersion)
}

// leases are the devices as they are. Without a lease nobody can be asked.
func (m *machine) leases() Check {
	c := ok("")
	for _, d := range m.view.Devices {
		text := d.Name + ": " + d.Detail
		for _, l := range m.view.Leases {
			if l.Device == d.Name {
				text += known(l)
			}
		}
		c = c.with(text)
	}
	switch {
	case len(m.view.Leases) > 0:
		if !m.lacksDefault() {
			return c.one()
		}
		fix, why := m.connect()
		return warning("no lease is of the VM's default network, which has the password and the current SSH keys:", fix).with(c.Items...).with(why...)
	case m.elsewhere() != "":
		return m.spared("lease", c.Items)
	case m.other != "":
		return m.noLeases(c.Items)
	case len(m.view.Devices) == 0:
		return problem("there is no wired device", "see in CloudStack that the VM has a NIC, and in 'ip link' that its driver is there")
	}
	fix, why := m.connect()
	return problem("no device has an IPv4 address:", fix).with(c.Items...).with(why...)
}

// lacksDefault says whether no lease is of the default network, whose lease has a
// router, and there is a device that may be in it.
func (m *machine) lacksDefault() bool {
	if m.elsewhere() != "" || slices.ContainsFunc(m.view.Leases, lease.Lease.Default) {
		return false
	}
	return slices.ContainsFunc(m.view.Devices, mayBeConnected) || len(m.leftAlone()) > 0 || m.ifupdown() != ""
}

// mayBeConnected says whether a device without a lease is a NIC for certain: others
// are left alone for a reason.
func mayBeConnected(d lease.Device) bool {
	return d.State == lease.Waiting || d.Detail == lease.NotConnected || d.Detail == lease.NoCarrier
}

// one puts a single item where the eye looks first.
func (c Check) one() Check {
	if len(c.Items) == 1 && c.Detail == "" {
		c.Detail, c.Items = c.Items[0], nil
	}
	return c
}

// known is what of a lease leads to a virtual router.
func known(l lease.Lease) string {
	list := func(name string, addrs ...netip.Addr) string {
		var all []string
		for _, a := range addrs {
			if a.IsValid() {
				all = append(all, a.String())
			}
		}
		if len(all) == 0 {
			return ", no " + name
		}
		return ", " + name + " " + strings.Join(all, " ")
	}
	return list("DHCP server", l.Server) + list("router", l.Routers...) + list("DNS", l.DNS...)
}

// millis is a duration as people read it.
func millis(ms int64) string {
	if ms < 1000 {
		return fmt.Sprintf("%d ms", ms)
	}
	return fmt.Sprintf("%d.%d s", ms/1000, ms%1000/100)
}
