package doctor

import (
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/nm-cloud-seed/nm-cloud-seed/internal/netservice"
)

// renderer is a way of cloud-init's to write network configuration.
type renderer string

const (
	eni            renderer = "eni" // /etc/network/interfaces, for ifupdown
	sysconfig      renderer = "sysconfig"
	netplan        renderer = "netplan"
	networkManager renderer = "network-manager"
	networkdFiles  renderer = "networkd"
)

// network says whether the network configuration that cloud-init writes gets to
// NetworkManager. The local stage writes it in each boot's beginning, one with
// DHCP if there is none.
func (i *image) network() Check {
	if i.cloud.Network.At != "" && slices.Contains(i.cloud.Network.Values, "disabled") {
		if i.other != "" || i.networkdFile != "" {
			return ok("switched off at " + i.cloud.Network.At)
		}
		return ok("switched off at " + i.cloud.Network.At + ": nm-cloud-seed connects the VM until there is a profile")
	}
	if strings.Contains(" "+i.release("ID")+" "+i.release("ID_LIKE")+" ", "rhel") || i.exists("etc/sysconfig/network-scripts") || i.exists("etc/sysconfig/network") {
		return info("not known for this distribution: its cloud-init may write ifcfg files") // no such image was looked at yet
	}
	fix := i.chooseNetworkManager()
	_, text := i.writesFor()
	switch r := i.selected(); r {
	case networkManager:
		return ok("cloud-init writes profiles for NetworkManager")
	case netplan:
		plan := i.netFiles().Netplan()
		if plan.Renderer == "NetworkManager" {
			const well = "cloud-init writes for netplan, which writes profiles for NetworkManager"
			if devices := networkdDevices(plan); len(devices) > 0 {
				return warning(well+", but leaves devices to systemd-networkd:", `take "renderer: networkd" out there`).with(devices...)
			}
			return ok(well)
		}
		fix = `write "network: {version: 2, renderer: NetworkManager}" to ` + i.root + "/etc/netplan/01-network-manager.yaml, mode 600"
		if plan.RendererFile != "" {
			fix = "write \"renderer: NetworkManager\" in " + i.root + "/" + plan.RendererFile
		}
		if text != "" {
			return othersConfiguration(text, fix)
		}
		return problem("cloud-init writes for netplan, which configures systemd-networkd and not NetworkManager", fix)
	case eni:
		if i.netFiles().ManagesIfupdown() {
			return ok("cloud-init writes /etc/network/interfaces.d, which NetworkManager's ifupdown plugin takes over (managed=true)")
		}
		if text != "" {
			return othersConfiguration(text, fix)
		}
		return problem("cloud-init writes /etc/network/interfaces.d for ifupdown, and NetworkManager leaves those devices alone", fix)
	case "":
		return problem("cloud-init finds no way to write network configuration, and fails", fix)
	default:
		if text != "" {
			return othersConfiguration(text, fix)
		}
		return problem("cloud-init writes for "+string(r)+", not for NetworkManager", fix)
	}
}

// chooseNetworkManager says how to make cloud-init choose NetworkManager.
func (i *image) chooseNetworkManager() string {
	const nmConf = "etc/NetworkManager/NetworkManager.conf"
	switch at := i.cloud.Renderers.At; {
	case !i.program("nmcli"):
		return i.install("network-manager")
	case !i.available(networkManager):
		return "touch " + i.root + "/" + nmConf + ", which cloud-init before 24.1 wants"
	case at != "":
		return "put network-manager first in the renderers at " + at
	}
	return `write "system_info: {network: {renderers: [network-manager]}}" to ` + i.root + "/etc/cloud/cloud.cfg.d/90-network-manager.cfg"
}

// selected is the first available renderer: select() in cloudinit/net/renderers.py.
func (i *image) selected() renderer {
	order := []renderer{eni, sysconfig, netplan, networkManager, networkdFiles}
	if len(i.cloud.Renderers.Values) > 0 {
		order = nil
		for _, name := range i.cloud.Renderers.Values {
			order = append(order, renderer(name))
		}
	}
	for _, r := range order {
		if i.available(r) {
			return r
		}
	}
	return ""
}

// available is what each renderer's available() looks for, from 22.4.2 to 26.2.
func (i *image) available(r renderer) bool {
	sbin := []string{"usr/sbin", "sbin"}
	switch r {
	case eni:
		return i.program("ifquery", sbin...) && i.program("ifup", sbin...) && i.program("ifdown", sbin...) && i.exists("etc/network/interfaces")
	case netplan:
		return i.program("netplan", sbin...)
	case networkManager: // 24.1 does without the file
		return i.program("nmcli") && i.units.Started(nmService) && (!i.version.before(24, 1) || i.exists("etc/NetworkManager/NetworkManager.conf"))
	case networkdFiles:
		return i.program("ip", "usr/sbin", "bin") && i.program("systemctl", "usr/sbin", "bin")
	}
	return false
}

// layered are the files of directories, of which one of a name counts, that in
// the last directory; sorted by name.
func (i *image) layered(pattern string, dirs ...string) []string {
	files := make(map[string]string)
	for _, dir := range dirs {
		for _, file := range i.list(dir, pattern) {
			files[path.Base(file)] = file
		}
	}
	var all []string
	for _, name := range slices.Sorted(maps.Keys(files)) {
		all = append(all, files[name])
	}
	return all
}

// networkdDevices are the wired devices, or "ethernets" for all, that netplan's
// files give to systemd-networkd whatever the global renderer is.
func networkdDevices(plan netservice.Netplan) []string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(plan.Networkd)) {
		all = append(all, name+" in /"+plan.Networkd[name])
	}
	return all
}
