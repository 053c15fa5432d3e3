// Package lease holds the one value that crosses from NetworkManager (package
// nm) to the datasource: what the VM's devices know of their networks.
package lease

import "net/netip"

// Lease is one device's IPv4 configuration, with what may lead to a virtual
// router. It comes from a DHCPv4 lease (RFC 2131, options of RFC 2132) or, with
// a zero Server, from a static profile.
type Lease struct {
	Device    string       // kernel interface name
	Index     int          // kernel interface index, 0 if unknown
	Address   netip.Prefix // the device's own address
	Server    netip.Addr   // option 54, the DHCP server; zero for a static address
	Routers   []netip.Addr // option 3, or the static gateway
	DNS       []netip.Addr // option 6, or the static name servers
	Domain    string       // option 15, a valid DNS name without final dot, or empty
	Temporary bool         // on a connection that we activated ourselves
}

// Default says whether this is a lease of the VM's default network: CloudStack
// sends the router option to the default NIC only.
func (l Lease) Default() bool { return len(l.Routers) > 0 }

// State says what can be expected of a device.
type State int

// The states of a device.
const (
	Unusable State = iota // nothing will come unless somebody changes something
	Waiting               // a lease may still come
	Leased                // there is a lease
)

// Details of devices that are Unusable, where somebody can do something about it.
const (
	Unmanaged    = "not managed by NetworkManager"
	NoCarrier    = "no carrier"
	NotConnected = "not connected"
)

// Device is one device as it stands, in words for a status line or an error.
type Device struct {
	Name   string
	State  State
	Detail string // for a person: "activating", "unmanaged by NetworkManager"
}

// View is everything that is known of the VM's networks at one moment.
type View struct {
	Leases   []Lease // by interface index
	Devices  []Device
	Running  bool // NetworkManager is on the bus
	Starting bool // and has not settled yet: further devices may come
	// Unmanaged are all wired devices, where NetworkManager has settled and manages
	// none of them.
	Unmanaged []string
}

// Waiting says whether a further lease may come without anybody's doing.
func (v View) Waiting() bool {
	if !v.Running || v.Starting {
		return true
	}
	for _, d := range v.Devices {
		if d.State == Waiting {
			return true
		}
	}
	return false
}
