package doctor

import (
	"slices"
	"strings"

	"github.com/nm-cloud-seed/nm-cloud-seed/internal/netservice"
	"github.com/nm-cloud-seed/nm-cloud-seed/systemd"
)

// Where another service than NetworkManager runs the wired devices, nm-cloud-seed leaves
// the search for the virtual router to cloud-init, and what it would need is no problem.

const doesNothing = "nm-cloud-seed does nothing here"

// findOther notes whether another service runs the wired devices, and leaves the boot
// order alone where the generator does.
func (i *image) findOther() {
	files, before := i.netFiles(), len(i.denied)
	service, reason := files.Ethernet()
	if i.exists("run/nm-cloud-seed/private") { // this boot began otherwise, and the generator stays with that
		service = netservice.Unknown
	}
	i.deniedNetwork = slices.Clone(i.denied[before:])
	if service == netservice.Networkd {
		i.other, i.plan = reason, systemd.Plan{Ordering: i.plan.Ordering, Notes: []string{"nothing to do: " + reason}}
		return
	}
	if len(files.LeftAlone()) > 0 {
		i.networkdFile = files.NetworkdFile()
	}
}

// leavesAlone reports whether a service runs only what NetworkManager leaves alone.
func (i *image) leavesAlone(unit string) bool {
	if writes, _ := i.writesFor(); writes == unit {
		return true
	}
	switch unit {
	case networkd:
		return i.networkdFile != ""
	case "networking.service":
		return i.netFiles().IfupdownRuns()
	}
	return false
}

// findOtherHere does what findOther does, in a system that runs.
func (m *machine) findOtherHere() {
	files := m.netFiles()
	var devices []string
	for _, device := range m.view.Unmanaged {
		if service := files.InCharge(device); service != netservice.Unknown {
			devices = append(devices, device+" belongs to "+string(service))
		}
	}
	if m.other == "" {
		m.other = strings.Join(devices, ", ")
	}
}

// neverStarted reports whether the generator leaves the service out, as another service
// runs the wired devices for certain.
func (m *machine) neverStarted() bool { return m.other != "" && len(m.plan.Files) == 0 }

// end returns the summary where another service runs the wired devices.
func (i *image) end() string {
	const leaves = "nm-cloud-seed does nothing, and leaves the search for the virtual router to cloud-init."
	switch {
	case i.other != "":
		return "No problem found: " + i.other + ". There " + leaves
	case i.networkdFile != "":
		return "No problem found: /" + i.networkdFile + " gives devices to systemd-networkd. Where it has all wired ones, " + leaves
	}
	if _, writes := i.writesFor(); writes != "" {
		return "No problem found: " + writes + ". There " + leaves
	}
	return ""
}

// othersDevices checks devices that NetworkManager leaves alone, and that
// another service has. The fix is for those who want NetworkManager to have them.
func (i *image) othersDevices(found []netservice.LeftAlone) (c Check, is bool) {
	switch {
	case i.other != "":
		c = info("NetworkManager leaves wired devices alone: " + i.other + ", and " + doesNothing)
	case i.networkdFile != "":
		c = info("NetworkManager leaves devices alone, and /" + i.networkdFile + " gives systemd-networkd some: where it has all, " + doesNothing)
	default:
		return c, false
	}
	c.Fix = "only if NetworkManager is to run them: " + i.manage(found)
	return c, true
}

// writesFor returns the service that cloud-init writes the network's configuration for,
// if that is another than NetworkManager and systemd starts it, and in words how.
func (i *image) writesFor() (unit, text string) {
	if i.cloud.Network.At != "" && slices.Contains(i.cloud.Network.Values, "disabled") {
		return "", ""
	}
	switch r := i.selected(); {
	case r == netplan && i.units.Installed(networkd) && i.units.Masked(networkd) == "" && i.netFiles().Netplan().Renderer != "NetworkManager":
		return networkd, "cloud-init writes for netplan, which gives the network to systemd-networkd"
	case r == networkdFiles && i.units.Started(networkd):
		return networkd, "cloud-init writes for systemd-networkd"
	case r == eni && i.units.Started("networking.service") && !i.netFiles().ManagesIfupdown():
		return "networking.service", "cloud-init writes /etc/network/interfaces.d for ifupdown"
	}
	return "", ""
}

// othersConfiguration checks the network's configuration where cloud-init writes
// it for another service.
func othersConfiguration(text, fix string) Check {
	c := info(text + ": " + doesNothing + ", and leaves the search for the virtual router to cloud-init")
	c.Fix = "only if NetworkManager is to run the network: " + fix
	return c
}

// noLeases is the check of NetworkManager's leases where another service has the devices.
func (m *machine) noLeases(items []string) Check {
	return info("none of NetworkManager's: " + m.other + ", and " + doesNothing).with(items...)
}

// notStarted is the check of the service that has not run, as it has nothing to do.
func (m *machine) notStarted() Check {
	return info("it has not run, as there is nothing to do: " + m.other)
}
