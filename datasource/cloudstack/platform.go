package cloudstack

import (
	"io/fs"
	"strings"

	"github.com/nm-cloud-seed/nm-cloud-seed/internal/rootfs"
)

// Platform is what the firmware says of the machine.
type Platform struct {
	Product string // DMI product name
	UUID    string // DMI product UUID, lower case; empty if unreadable (only root may)
}

// kvm is the product name that CloudStack gives its KVM guests. VMware's and
// Xen's guests show their hypervisor's own.
const kvm = "CloudStack KVM Hypervisor"

// containerFile is systemd's word that it runs in one (manager startup in
// src/core/main.c), before any generator does.
const containerFile = "run/systemd/container"

// ReadPlatform reads /sys/class/dmi/id below root ("" for the real one). What
// cannot be read is empty, and all of it in a container, which sees its host's.
func ReadPlatform(root string) Platform {
	fsys, done, err := rootfs.Open(root)
	if err != nil {
		return Platform{}
	}
	defer done()
	if _, err := fs.Stat(fsys, containerFile); err == nil {
		return Platform{}
	}
	dmi := func(name string) string {
		text, err := rootfs.Read(fsys, "sys/class/dmi/id/"+name, 4<<10)
		if err != nil {
			return ""
		}
		return strings.TrimSpace(string(text))
	}
	return Platform{Product: dmi("product_name"), UUID: strings.ToLower(dmi("product_uuid"))}
}

// CloudStack says whether the firmware names CloudStack, by the same rule as
// cloud-init's ds-identify and DataSourceCloudStack.
func (p Platform) CloudStack() bool { return strings.HasPrefix(p.Product, "CloudStack") }

// Silent says whether this may be a CloudStack VM of whose firmware nothing can
// be learned: on the hypervisors that CloudStack runs besides KVM it names the
// hypervisor (VMware, Xen, Hyper-V), and in some VMs and containers there is none.
func (p Platform) Silent() bool {
	return p.Product == "" || strings.HasPrefix(p.Product, "VMware") || p.Product == "HVM domU" || p.Product == "Virtual Machine"
}

// InstanceUUID is the instance-id that the VR must have for this machine, where
// that is known: only on KVM is the product UUID the VM's.
func (p Platform) InstanceUUID() string {
	if p.Product != kvm {
		return ""
	}
	return p.UUID
}
