package main

import (
	"net/netip"
	"slices"
	"time"

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
	about    string // what it proves, for a person
	extended string // why it is only in `make test-boot-all`: what else proves the same; "" if it is in `make test-boot`, too
	suite    string
	packages []string          // Debian's, besides those of debroot.Image
	bare     bool              // without the package under test
	later    bool              // the package is not installed: it lies in packageFile
	remove   []string          // packages
	files    map[string]string // by absolute path
	setup    string            // shell commands for the image, before the package is installed
	userData string            // instead of userdata.yaml and bootcmd.yaml
	nics     []lab.NIC         // the networks, if they are not one usual one
	router   int               // the NIC in whose network the virtual router is
	machines bool              // each NIC is another machine's: see boot.on
	// vr spoils the virtual router, if set. The end of an outage ends that, too.
	vr    func(*vrtest.VR)
	boots []boot
	// doctor are the problems and warnings that the doctor has for the image.
	doctor []string
	// virtual is the machine for QEMU; nil is a container. Only its DMI counts.
	virtual *qemu.Machine
	storm   bool // this program is in the image, for stormCommand
	// installedIdle leaves the D-Bus API's process its real time until it ends
	// without a call; elsewhere a drop-in shortens that, see shortIdle.
	installedIdle bool
	disk          bool // an empty /dev/vda, in a virtual machine
}

// boot is one boot of a scenario.
type boot struct {
	what    string // "first boot"
	cmdline []string
	vm      func(*vrtest.VM) // what the virtual router says from now on; the usual without
	on      int              // the machine that the disk is in, if there are several: the one with this NIC
	outage  *outage          // how the boot begins
	cut     *moment          // the power fails; only of a virtual machine
	checks  []check
}

// outage is a virtual router that does not answer.
type outage struct {
	faults    []vrtest.Fault // what it does not answer; nil: anything
	network   bool           // its DHCP server does not, either
	unplugged bool           // the VM's cable to it is not plugged in
	end       *moment        // nil: not in this boot
}

// moment is when the virtual router has got a request of the password protocol,
// or "" for one of metadata, so many times, or when the console shows this; and
// so long after that.
type moment struct {
	request string
	times   int
	console string
	after   time.Duration
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
