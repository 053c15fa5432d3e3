package doctor

import (
	"slices"
	"strings"

	"github.com/nm-cloud-seed/nm-cloud-seed/internal/lease"
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
			why = append(why, d.setting+" in /"+d.file+": "+d.text)
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
func (m *machine) leftAlone() []leftAlone {
	return slices.DeleteFunc(m.unmanaged(), func(left leftAlone) bool {
		return left.reach == hardly || !slices.ContainsFunc(m.view.Devices, func(d lease.Device) bool {
			return d.Detail == lease.Unmanaged && left.reaches(d.Name)
		})
	})
}

// ifupdown is the file that has ifupdown run a device that NetworkManager leaves
// alone: interfaces(5).
func (m *machine) ifupdown() string {
	if m.managesIfupdown() {
		return ""
	}
	for _, file := range append([]string{"etc/network/interfaces"}, m.list("etc/network/interfaces.d", "*")...) {
		for line := range strings.Lines(m.read(file)) {
			words := strings.Fields(line)
			if len(words) > 1 && words[0] == "iface" && slices.Contains(m.view.Devices, lease.Device{Name: words[1], Detail: lease.Unmanaged}) {
				return file
			}
		}
	}
	return ""
}
