package lastboot

import (
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/nm-cloud-seed/nm-cloud-seed/datasource/cloudstack"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/rootfs"
)

// Machine is what tells a machine from those that have a copy of its disk: the
// product UUID in its firmware, which every hypervisor gives a new VM; or, where
// there is none, the MAC address of the network device that the data came over,
// which CloudStack gives each of a VM's NICs. Nothing that is on the disk serves,
// such as the machine-id.
type Machine struct {
	UUID string `json:"product-uuid,omitempty"`
	MAC  string `json:"mac,omitempty"`
}

// This is the machine below root ("" is the running system), with a device of it.
// It is the zero value where nothing tells it from another.
func This(root, device string) Machine {
	if id := productUUID(root); id != "" {
		return Machine{UUID: id}
	}
	return Machine{MAC: addresses(root)[device]}
}

// Answer says whether a machine is a certain one.
type Answer int

// The answers. No may become Yes where a device appears late.
const (
	Unknown Answer = iota
	Yes
	No
)

// Is says whether the machine below root is m.
func (m Machine) Is(root string) Answer {
	if m.UUID != "" {
		switch productUUID(root) {
		case m.UUID:
			return Yes
		case "":
			return Unknown
		}
		return No
	}
	all := addresses(root)
	for _, mac := range all {
		if mac == m.MAC {
			return Yes
		}
	}
	if len(all) == 0 {
		return Unknown
	}
	return No
}

// productUUID is the firmware's, if it is one: some firmware has all zeros, all
// ones, or what it was delivered with.
func productUUID(root string) string {
	id, err := uuid.Parse(cloudstack.ReadPlatform(root).UUID)
	if err != nil || id == uuid.Nil || id == uuid.Max || slices.Contains(placeholders, id) {
		return ""
	}
	return id.String()
}

// placeholders are product UUIDs that many machines have, from fwupd's and
// systemd's lists of them.
var placeholders = []uuid.UUID{
	uuid.MustParse("03000200-0400-0500-0006-000700080009"),
	uuid.MustParse("00020003-0004-0005-0006-000700080009"),
	uuid.MustParse("4c4c4544-0000-2010-8020-80c04f202020"),
	uuid.MustParse("58585858-5858-5858-5858-585858585858"),
}

const (
	maxDevices = 1024
	ethernet   = "1" // ARPHRD_ETHER of if_arp.h
	noAddress  = "00:00:00:00:00:00"
)

// addresses are the MAC addresses of the Ethernet devices, by name. Those of
// bridges, bonds and VLANs may be on the disk.
func addresses(root string) map[string]string {
	fsys, done, err := rootfs.Open(root)
	if err != nil {
		return nil
	}
	defer done()
	devices, _ := rootfs.List(fsys, "sys/class/net", maxDevices)
	all := make(map[string]string)
	for _, d := range devices {
		get := func(name string) string {
			text, _ := rootfs.Read(fsys, "sys/class/net/"+d.Name()+"/"+name, 4<<10)
			return strings.ToLower(strings.TrimSpace(string(text)))
		}
		virtual := strings.Contains("\n"+get("uevent"), "\ndevtype=")
		if mac := get("address"); get("type") == ethernet && !virtual && mac != "" && mac != noAddress {
			all[d.Name()] = mac
		}
	}
	return all
}
