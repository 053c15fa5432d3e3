package doctor

import (
	"slices"

	"github.com/nm-cloud-seed/nm-cloud-seed/internal/lease"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/netservice"
)

// connect says how a device gets a lease: one that waits for it before one that has
// to be connected, which is before one that is left alone. why are the settings.
func (m *machine) connect() (fix string, why []string) {
	names := make(map[string]string) // the first device's, by what it is in
	for _, d := range slices.Backward(m.view.Devices) {
		names[d.Detail] = d.Name
	}
	left := m.leftAlone()
	switch file := m.ifupdown(); {
	case m.view.Waiting():
		return "see that the DHCP server of the network answers, which is CloudStack's virtual router, and that the NIC has the MAC address that CloudStack shows", nil
	case names[lease.NotConnected] != "":
		return "nmcli device connect " + names[lease.NotConnected], nil
	case len(left) > 0:
		for _, d := range left {
			why = append(why, d.Setting+" in /"+d.File+": "+d.Text)
		}
		return m.manage(left) + ", then systemctl reload NetworkManager", why
	case file != "":
		return "take the device out of /" + file + ", or write \"managed=true\" below [ifupdown] in /etc/NetworkManager/NetworkManager.conf, then systemctl restart NetworkManager", nil
	case names[lease.NoCarrier] != "":
		return "see in CloudStack that the NIC is attached to its network", nil
	case names[lease.Unmanaged] != "":
		return "nmcli device set " + names[lease.Unmanaged] + " managed yes; then find out who has NetworkManager leave it alone", nil
	}
	return "see in 'nmcli device' what holds the devices", nil
}

// leftAlone are the settings by which NetworkManager leaves a NIC alone.
func (m *machine) leftAlone() []netservice.LeftAlone {
	return slices.DeleteFunc(m.netFiles().LeftAlone(), func(left netservice.LeftAlone) bool {
		return left.Reach == netservice.Hardly || !slices.ContainsFunc(m.view.Devices, func(d lease.Device) bool {
			return d.Detail == lease.Unmanaged && left.Reaches(d.Name)
		})
	})
}

// ifupdown is the file that has ifupdown run a device that NetworkManager leaves
// alone: interfaces(5).
func (m *machine) ifupdown() string {
	files := m.netFiles()
	if files.ManagesIfupdown() {
		return ""
	}
	for _, d := range m.view.Devices {
		if file := files.Stanza(d.Name); file != "" && d.Detail == lease.Unmanaged {
			return file
		}
	}
	return ""
}
