package nm

import (
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/godbus/dbus/v5"

	"github.com/nm-cloud-seed/nm-cloud-seed/internal/lease"
)

// Bounds for what a DHCP server may send. RFC 2132 allows longer lists; no
// network has that many routers or name servers, and each one costs a probe.
const (
	maxAddresses = 8
	maxOption    = 4096 // bytes of one option's text
)

// fromOptions reads a lease from DHCP4Config's Options: an a{sv} in which every
// value is a string and lists are separated by spaces (NetworkManager's D-Bus
// API, org.freedesktop.NetworkManager.DHCP4Config; dhcp-options(5) names them).
// What is not an address or a name is dropped; without a valid address of the
// VM's own there is no lease.
func fromOptions(options map[string]dbus.Variant) (lease.Lease, bool) {
	text := func(name string) string {
		s, _ := options[name].Value().(string)
		if len(s) > maxOption {
			return ""
		}
		return s
	}
	own := addresses(text("ip_address"))
	if len(own) != 1 {
		return lease.Lease{}, false
	}
	l := lease.Lease{
		Address: netip.PrefixFrom(own[0], maskBits(text("subnet_mask"))),
		Routers: addresses(text("routers")),
		DNS:     addresses(text("domain_name_servers")),
		Domain:  domain(text("domain_name")),
	}
	if server := addresses(text("dhcp_server_identifier")); len(server) == 1 {
		l.Server = server[0]
	}
	return l, true
}

// fromStatic reads the configuration of a device that has no DHCP lease from
// IP4Config: AddressData and NameserverData are aa{sv}, Gateway is a string.
func fromStatic(config properties) (lease.Lease, bool) {
	own := own(config)
	if len(own) == 0 {
		return lease.Lease{}, false
	}
	l := lease.Lease{Address: own[0]}
	if gateway, ok := config["Gateway"].Value().(string); ok {
		l.Routers = addresses(gateway)
	}
	servers, _ := config["NameserverData"].Value().([]map[string]dbus.Variant)
	for _, server := range servers {
		s, _ := server["address"].Value().(string)
		if a := addresses(s); len(a) == 1 && len(l.DNS) < maxAddresses && !slices.Contains(l.DNS, a[0]) {
			l.DNS = append(l.DNS, a[0])
		}
	}
	for _, name := range []string{"Domains", "Searches"} { // a static profile's dns-search is in Searches
		if domains, _ := config[name].Value().([]string); len(domains) > 0 && l.Domain == "" {
			l.Domain = domain(domains[0])
		}
	}
	return l, true
}

// own lists the addresses that NetworkManager has put on the device.
func own(config properties) []netip.Prefix {
	data, _ := config["AddressData"].Value().([]map[string]dbus.Variant)
	var prefixes []netip.Prefix
	for _, entry := range data {
		text, _ := entry["address"].Value().(string)
		bits, _ := entry["prefix"].Value().(uint32)
		if a := addresses(text); len(a) == 1 && bits <= 32 && len(prefixes) < maxAddresses {
			prefixes = append(prefixes, netip.PrefixFrom(a[0], int(bits)))
		}
	}
	return prefixes
}

// addresses reads IPv4 unicast addresses separated by spaces, at most
// maxAddresses of them, each once.
func addresses(text string) []netip.Addr {
	var list []netip.Addr
	for word := range strings.FieldsSeq(text) {
		a, err := netip.ParseAddr(word)
		if err != nil || !a.Is4() || a.IsUnspecified() || a.IsLoopback() || a.IsMulticast() ||
			a.As4()[0] == 0 || // RFC 1122, "this network"
			a.As4()[0] >= 240 { // RFC 1112, reserved, and the limited broadcast
			continue
		}
		if slices.Contains(list, a) {
			continue
		}
		if list = append(list, a); len(list) == maxAddresses {
			break
		}
	}
	return list
}

// maskBits reads a dotted netmask; 32, the narrowest, if it is none.
func maskBits(text string) int {
	mask, err := netip.ParseAddr(text)
	if err != nil || !mask.Is4() {
		return 32
	}
	ones, bits := net.IPMask(mask.AsSlice()).Size()
	if bits == 0 { // not ones followed by zeros
		return 32
	}
	return ones
}

// domain takes a DNS name (RFC 1123) of at most 253 characters, without the
// final dot; empty for anything else. It becomes part of the VM's host name.
func domain(text string) string {
	text = strings.TrimSuffix(text, ".")
	if len(text) > 253 {
		return ""
	}
	for label := range strings.SplitSeq(text, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return ""
		}
		for _, c := range []byte(label) {
			switch {
			case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
			default:
				return ""
			}
		}
	}
	return text
}
