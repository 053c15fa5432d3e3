package main

import (
	"net/netip"
	"slices"

	"github.com/nm-cloud-seed/nm-cloud-seed/datasource/cloudstack/vrtest"
	"github.com/nm-cloud-seed/nm-cloud-seed/test/boot/qemu"
	"github.com/nm-cloud-seed/nm-cloud-seed/test/lab"
)

// What CloudStack says of the VM, and what there has to be of it.
const (
	instance = "7d4f1f9a-58c1-4f5e-9a3c-3f0c5d9a1b2e"
	hostname = "web-1"
	domain   = "cs2cloud.internal"
	fqdn     = hostname + "." + domain
)

// scenario is an image and its boots, one after the other.
type scenario struct {
	name     string
	about    string // for a person
	suite    string
	packages []string          // Debian's, besides those of debroot.Image
	bare     bool              // without the package under test
	remove   []string          // packages
	files    map[string]string // by absolute path
	nic      lab.NIC           // what is special about the network
	// vr spoils the virtual router, if set.
	vr    func(*vrtest.VR)
	boots []boot
	// virtual is the machine for QEMU; nil is a container. Only its DMI counts.
	virtual *qemu.Machine
}

// boot is one boot of a scenario.
type boot struct {
	what    string // "first boot"
	cmdline []string
	checks  []check
}

// check is one verdict on a boot: nil, or what is wrong.
type check struct {
	name  string
	judge func(*report) error
}

// publicKey is the one that the virtual router has.
func publicKey() string {
	vm := vrtest.Example(instance, netip.Addr{})
	i := slices.IndexFunc(vm.Metadata, func(k vrtest.Key) bool { return k.Name == "public-keys" })
	return vm.Metadata[i].Value
}
