package lab

import (
	"fmt"
	"net/netip"
	"time"
)

// Config describes one lab. The zero value is one VM on one isolated network
// whose virtual router serves DHCP and DNS, with a NetworkManager that touches
// nothing until told to.
type Config struct {
	// NICs are the VM's network cards, eth0 first. Nil means one default NIC;
	// none at all is an empty, non-nil slice.
	NICs []NIC
	// AutoDefault lets NetworkManager activate a DHCP profile of its own on
	// every NIC without a profile ("Wired connection 1").
	AutoDefault bool
	// NMConfig is text added to the end of NetworkManager.conf.
	NMConfig string
	// NMLogLevel is NetworkManager's log level; INFO if empty.
	NMLogLevel string
	// Profiles are keyfile profiles, by file name (ending in .nmconnection).
	Profiles map[string]string
	// NoNM leaves NetworkManager to a later StartNetworkManager.
	NoNM bool
}

// NIC is one network card of the VM and the network behind it. Network i is
// 10.1.(i+1).0/24 unless Net is set; the VM's own address there is always
// Net's .100.
type NIC struct {
	// Net is the network, a /24 or larger.
	Net netip.Prefix
	// ServerID is the virtual router's own address and the DHCP server
	// identifier (option 54); .1 if zero.
	ServerID netip.Addr
	// Router is the router option (option 3); ServerID if zero. It may be an
	// address nobody has, or one of ExtraAddrs.
	Router netip.Addr
	// NoRouter leaves the router option out.
	NoRouter bool
	// NonDefault makes this what CloudStack serves on a NIC that is not the
	// VM's default one: no router, DNS or domain option.
	NonDefault bool
	// DNS is option 6; the virtual router, then 8.8.8.8 if nil. Empty but not
	// nil leaves the option out.
	DNS []netip.Addr
	// Domain is option 15; cs2cloud.internal if empty.
	Domain string
	// NoDomain leaves the domain option out; the virtual router's DNS has Domain.
	NoDomain bool
	// Hostname is option 12; testvm if empty.
	Hostname string
	// HostRecords are names the virtual router's DNS knows, each also below
	// Domain if it has no dot. Nil means data-server at ServerID.
	HostRecords map[string]netip.Addr
	// DNSOff leaves the virtual router without a DNS server.
	DNSOff bool
	// DHCPOptions are further options, each as dnsmasq's --dhcp-option takes
	// it: "option:mtu,1450".
	DHCPOptions []string
	// NoDHCP leaves dnsmasq (DHCP and DNS) to a later StartDHCP.
	NoDHCP bool
	// DropFirst leaves that many DHCPDISCOVERs without an answer.
	DropFirst int
	// OfferDelay delays every DHCPOFFER (not the ACK), each by itself. dnsmasq
	// cannot do that: the lab's own DHCP server stands in for it, beside
	// dnsmasq's DNS and without DHCPOptions.
	OfferDelay time.Duration
	// ExtraAddrs are further addresses on the virtual router's side: a
	// redundant router's virtual address, a foreign router.
	ExtraAddrs []netip.Prefix
	// NoCarrier starts with the cable unplugged; SetCarrier plugs it in.
	NoCarrier bool
	// Absent leaves the card out until AddNIC.
	Absent bool
	// Unmanaged keeps NetworkManager away from the card.
	Unmanaged bool
}

const (
	defaultDomain   = "cs2cloud.internal"
	defaultHostname = "testvm"
)

var defaultDNS = netip.AddrFrom4([4]byte{8, 8, 8, 8})

// fill returns n with every default written out.
func (n NIC) fill(i int) (NIC, error) {
	if !n.Net.IsValid() {
		n.Net = netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 1, byte(i + 1), 0}), 24)
	}
	if !n.Net.Addr().Is4() || n.Net.Bits() > 24 {
		return n, fmt.Errorf("cannot use network %v for eth%d: want an IPv4 network of /24 or larger", n.Net, i)
	}
	n.Net = n.Net.Masked()
	if !n.ServerID.IsValid() {
		n.ServerID = host(n.Net, 1)
	}
	if !n.Net.Contains(n.ServerID) {
		return n, fmt.Errorf("cannot use server identifier %v for eth%d: it is not in %v", n.ServerID, i, n.Net)
	}
	if n.OfferDelay > 0 && len(n.DHCPOptions) > 0 {
		return n, fmt.Errorf("cannot use both OfferDelay and DHCPOptions for eth%d", i)
	}
	if !n.Router.IsValid() {
		n.Router = n.ServerID
	}
	if n.DNS == nil {
		n.DNS = []netip.Addr{n.ServerID, defaultDNS}
	}
	if n.Domain == "" {
		n.Domain = defaultDomain
	}
	if n.Hostname == "" {
		n.Hostname = defaultHostname
	}
	if n.HostRecords == nil {
		n.HostRecords = map[string]netip.Addr{"data-server": n.ServerID}
	}
	return n, nil
}

// client is the address that the virtual router gives to the VM.
func (n NIC) client() netip.Addr { return host(n.Net, 100) }

// host is the address of p with the given last byte.
func host(p netip.Prefix, last byte) netip.Addr {
	a := p.Masked().Addr().As4()
	a[3] = last
	return netip.AddrFrom4(a)
}

func deviceName(i int) string { return fmt.Sprintf("eth%d", i) }
func netnsName(i int) string  { return fmt.Sprintf("vr%d", i) }

// The addresses are the same in every lab: nothing of a lab meets another.
func clientMAC(i int) string { return fmt.Sprintf("02:00:00:00:01:%02x", i) }
func routerMAC(i int) string { return fmt.Sprintf("02:00:00:00:02:%02x", i) }
