package doctor

import (
	"iter"
	"maps"
	"path"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
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
		return ok("switched off at " + i.cloud.Network.At + ": nm-cloud-seed connects the VM until there is a profile")
	}
	if strings.Contains(" "+i.release("ID")+" "+i.release("ID_LIKE")+" ", "rhel") || i.exists("etc/sysconfig/network-scripts") || i.exists("etc/sysconfig/network") {
		return info("not known for this distribution: its cloud-init may write ifcfg files") // no such image was looked at yet
	}
	fix := i.chooseNetworkManager()
	switch r := i.selected(); r {
	case networkManager:
		return ok("cloud-init writes profiles for NetworkManager")
	case netplan:
		r, file := i.netplanRenderer()
		if r == "NetworkManager" {
			const well = "cloud-init writes for netplan, which writes profiles for NetworkManager"
			if devices := i.networkdDevices(); len(devices) > 0 {
				return warning(well+", but leaves devices to systemd-networkd:", `take "renderer: networkd" out there`).with(devices...)
			}
			return ok(well)
		}
		fix = `write "network: {version: 2, renderer: NetworkManager}" to ` + i.root + "/etc/netplan/01-network-manager.yaml, mode 600"
		if file != "" {
			fix = "write \"renderer: NetworkManager\" in " + i.root + "/" + file
		}
		return problem("cloud-init writes for netplan, which configures systemd-networkd and not NetworkManager", fix)
	case eni:
		if i.managesIfupdown() {
			return ok("cloud-init writes /etc/network/interfaces.d, which NetworkManager's ifupdown plugin takes over (managed=true)")
		}
		return problem("cloud-init writes /etc/network/interfaces.d for ifupdown, and NetworkManager leaves those devices alone", fix)
	case "":
		return problem("cloud-init finds no way to write network configuration, and fails", fix)
	default:
		return problem("cloud-init writes for "+string(r)+", not for NetworkManager", fix)
	}
}

// managesIfupdown says whether NetworkManager takes over what ifupdown has.
func (i *image) managesIfupdown() bool {
	managed := i.nmConf()["[ifupdown]managed"]
	return len(managed) > 0 && slices.Contains([]string{"true", "yes", "1", "on"}, strings.ToLower(managed[0].text))
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

// netplanRenderer is the global renderer in netplan's files, and the file that
// has it: the last one.
func (i *image) netplanRenderer() (name, file string) {
	for f, network := range i.netplanFiles() {
		if network.Renderer != "" {
			name, file = network.Renderer, f
		}
	}
	return name, file
}

// networkdDevices are the wired devices, or "ethernets" for all, that netplan's
// files give to systemd-networkd whatever the global renderer is.
func (i *image) networkdDevices() []string {
	where := make(map[string]string)
	for f, network := range i.netplanFiles() {
		for name, node := range network.Ethernets {
			var device struct{ Renderer string }
			_ = node.Decode(&device)
			if name == "renderer" {
				name, device.Renderer = "ethernets", node.Value
			}
			switch device.Renderer {
			case "":
			case "NetworkManager":
				delete(where, name)
			default:
				where[name] = f
			}
		}
	}
	var all []string
	for _, name := range slices.Sorted(maps.Keys(where)) {
		all = append(all, name+" in /"+where[name])
	}
	return all
}

// netplanNetwork is what matters to us of netplan's YAML.
type netplanNetwork struct {
	Renderer  string
	Ethernets map[string]yaml.Node
}

// netplanFiles are netplan's files that can be read, in their order.
func (i *image) netplanFiles() iter.Seq2[string, netplanNetwork] {
	return func(yield func(string, netplanNetwork) bool) {
		for _, f := range i.layered("*.yaml", "lib/netplan", "usr/lib/netplan", "run/netplan", "etc/netplan") {
			var text struct{ Network netplanNetwork }
			if yaml.Unmarshal([]byte(i.read(f)), &text) == nil && !yield(f, text.Network) {
				return
			}
		}
	}
}
