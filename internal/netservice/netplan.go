package netservice

import (
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/nm-cloud-seed/nm-cloud-seed/internal/rootfs"
)

// Netplan is what matters to us of netplan's configuration: netplan(5).
type Netplan struct {
	Files    []string // in the order in which netplan reads them
	Readable bool     // all of them could be read
	// Renderer is the renderer of all devices without their own, empty for the
	// default, which is networkd; RendererFile is the file that has it.
	Renderer, RendererFile string
	Ethernets              []string // the names of the entries for wired devices
	// Networkd are the entries for wired devices with "renderer: networkd" of their
	// own, and their files. "ethernets" stands for all.
	Networkd map[string]string
	// AnyNetworkManager is that NetworkManager renders a device, of whatever type:
	// then netplan hides the file that has NetworkManager leave wired devices alone.
	AnyNetworkManager bool
}

func (f Files) netplanInstalled() bool {
	return f.exists("usr/sbin/netplan") || f.exists("sbin/netplan") || f.exists("usr/lib/systemd/system-generators/netplan")
}

// Netplan reads netplan's configuration. A file hides those of the same name in a
// directory of lower priority, and the keys of a later file win.
func (f Files) Netplan() Netplan {
	p := Netplan{Networkd: make(map[string]string)}
	type device struct{ kind, name string } // without a name: all of the kind
	renderers := make(map[device]string)
	p.Files = sortByName(f.layered("*.yaml", "lib/netplan", "usr/lib/netplan", "run/netplan", "etc/netplan"))
	p.Readable = len(p.Files) < maxFiles // what is more is not read
	for _, file := range p.Files {
		var text struct{ Network map[string]yaml.Node }
		data, err := rootfs.Read(f.FS, file, maxFile)
		if err != nil {
			f.tell(err, file)
		} else {
			err = yaml.Unmarshal(data, &text)
		}
		if err != nil {
			p.Readable = false
			continue
		}
		for kind, node := range text.Network {
			if kind == "renderer" {
				p.Renderer, p.RendererFile = node.Value, file
				continue
			}
			var entries map[string]yaml.Node
			if node.Decode(&entries) != nil {
				continue // a number, such as the version
			}
			for name, node := range entries {
				var entry struct{ Renderer string }
				_ = node.Decode(&entry)
				d, listed := device{kind, name}, name
				if name == "renderer" {
					d, listed, entry.Renderer = device{kind: kind}, kind, node.Value
				}
				if entry.Renderer != "" || renderers[d] == "" { // a later file may only add to the entry
					renderers[d] = entry.Renderer
				}
				if kind == "ethernets" && entry.Renderer != "" {
					if delete(p.Networkd, listed); entry.Renderer != string(NetworkManager) {
						p.Networkd[listed] = file
					}
				}
			}
		}
	}
	p.AnyNetworkManager = p.Renderer == string(NetworkManager)
	for d, renderer := range renderers {
		if d.kind == "ethernets" && d.name != "" {
			p.Ethernets = append(p.Ethernets, d.name)
		}
		if renderer == string(NetworkManager) || d.kind == "modems" || d.kind == "nm-devices" {
			p.AnyNetworkManager = true
		}
	}
	slices.Sort(p.Ethernets)
	return p
}
