package nm

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/godbus/dbus/v5"
	"github.com/google/go-cmp/cmp"

	"github.com/nm-cloud-seed/nm-cloud-seed/internal/lease"
)

// same compares addresses and prefixes, whose fields are unexported.
var same = cmp.Options{
	cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
	cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
}

func addrs(list ...string) (result []netip.Addr) {
	for _, text := range list {
		result = append(result, netip.MustParseAddr(text))
	}
	return result
}

func many(count int) (list []string) {
	for i := range count {
		list = append(list, fmt.Sprintf("10.0.%d.%d", i/250, i%250+1))
	}
	return list
}

func TestAddresses(t *testing.T) {
	for name, test := range map[string]struct {
		text string
		want []netip.Addr
	}{
		"none":            {"", nil},
		"one":             {"10.1.1.1", addrs("10.1.1.1")},
		"two":             {"10.1.1.1 10.1.1.2", addrs("10.1.1.1", "10.1.1.2")},
		"odd white space": {"\t10.1.1.1\n\n 10.1.1.2 ", addrs("10.1.1.1", "10.1.1.2")},
		"commas":          {"10.1.1.1,10.1.1.2", nil},
		"twice":           {"10.1.1.1 10.1.1.1", addrs("10.1.1.1")},
		"link-local":      {"169.254.0.1", addrs("169.254.0.1")},
		"the highest":     {"239.255.255.255 223.255.255.255", addrs("223.255.255.255")},
		"IPv6":            {"fe80::1 2001:db8::1 ::ffff:10.1.1.1 fe80::1%eth0", nil},
		"not unicast":     {"0.0.0.0 0.1.2.3 127.0.0.1 127.255.0.1 224.0.0.1 240.0.0.1 255.255.255.255", nil},
		"no addresses":    {"10.1.1 10.1.1.256 010.1.1.1 0x0a.1.1.1 10.1.1.1/24 router ;rm", nil},
		"some of them":    {"127.0.0.1 10.1.1.1 ::1", addrs("10.1.1.1")},
		"1000":            {strings.Join(many(1000), " "), addrs(many(8)...)},
		"1 MB":            {strings.Repeat("x", 1<<20), nil},
		"1 MB of the bad": {strings.Repeat("127.0.0.1 ", 1<<20/10), nil},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, addresses(test.text), same); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestMaskBits(t *testing.T) {
	for text, want := range map[string]int{
		"255.255.255.0": 24, "255.255.255.255": 32, "255.255.254.0": 23, "128.0.0.0": 1, "0.0.0.0": 0,
		"": 32, "255.0.255.0": 32, "0.255.255.255": 32, "24": 32, "/24": 32, "ffff::": 32, "::ffff:255.255.255.0": 32,
		"255.255.255.0 255.0.0.0": 32, strings.Repeat("2", 1<<20): 32,
	} {
		if got := maskBits(text); got != want {
			t.Errorf("maskBits(%.40q) = %d, want %d", text, got, want)
		}
	}
}

func TestDomain(t *testing.T) {
	label := strings.Repeat("a", 63)
	longest := strings.Join([]string{label, label, label, label[:61]}, ".")
	for text, want := range map[string]string{
		"":                        "",
		"cs1cloud.internal":       "cs1cloud.internal",
		"cs1cloud.internal.":      "cs1cloud.internal",
		"CS-1.Example":            "CS-1.Example",
		"a_b.example":             "a_b.example", // seen in private networks
		"single":                  "single",
		label + ".example":        label + ".example",
		longest:                   longest,
		longest + ".":             longest,
		label + "a.example":       "",
		longest + "a":             "",
		strings.Repeat("a.", 150): "",
		strings.Repeat("a", 300):  "",
		strings.Repeat("a", 1e6):  "",
		".":                       "",
		"..":                      "",
		"a..b":                    "",
		".a":                      "",
		"a..":                     "",
		"-a.example":              "",
		"a-.example":              "",
		"a.-":                     "",
		"one.example two.example": "",
		" a.example":              "",
		"a.example\n":             "",
		"a\x00b":                  "",
		"a\x1b[2Jb":               "",
		"bücher.example":          "",
		"a.ex\u0430mple":          "",
		"\xff\xfe":                "",
		"../../etc":               "",
		"a/b":                     "",
		"a:b":                     "",
		"$(reboot)":               "",
		"a'b\"c":                  "",
	} {
		if got := domain(text); got != want {
			t.Errorf("domain(%.40q) = %.40q, want %.40q", text, got, want)
		}
	}
}

func strs(pairs ...string) properties {
	p := properties{}
	for i := 0; i < len(pairs); i += 2 {
		p[pairs[i]] = dbus.MakeVariant(pairs[i+1])
	}
	return p
}

func TestFromOptions(t *testing.T) {
	bare := lease.Lease{Address: netip.MustParsePrefix("10.1.1.2/32")}
	with := func(change func(*lease.Lease)) lease.Lease { l := bare; change(&l); return l }
	for name, test := range map[string]struct {
		options properties
		want    lease.Lease // a zero one: there is none
	}{
		"nothing":  {nil, lease.Lease{}},
		"bare":     {strs("ip_address", "10.1.1.2"), bare},
		"no mask":  {strs("ip_address", "10.1.1.2", "subnet_mask", "255.0.255.0"), bare},
		"two":      {strs("ip_address", "10.1.1.2 10.1.1.3"), lease.Lease{}},
		"loopback": {strs("ip_address", "127.0.0.1"), lease.Lease{}},
		"IPv6":     {strs("ip_address", "2001:db8::2"), lease.Lease{}},
		"a number": {properties{"ip_address": dbus.MakeVariant(uint32(0x0a010102))}, lease.Lease{}},
		"a list":   {properties{"ip_address": dbus.MakeVariant([]string{"10.1.1.2"})}, lease.Lease{}},
		"an empty variant": {
			properties{"ip_address": {}}, lease.Lease{},
		},
		"a variant in a variant": {
			properties{"ip_address": dbus.MakeVariant(dbus.MakeVariant("10.1.1.2"))}, lease.Lease{},
		},
		"all": {
			strs("ip_address", "10.1.1.2", "subnet_mask", "255.255.255.0", "dhcp_server_identifier", "10.1.1.1", "routers", "10.1.1.1",
				"domain_name_servers", "10.1.1.1 8.8.8.8", "domain_name", "cs1cloud.internal.", "next_server", "6.6.6.6"),
			lease.Lease{
				Address: netip.MustParsePrefix("10.1.1.2/24"), Server: netip.MustParseAddr("10.1.1.1"), Routers: addrs("10.1.1.1"),
				DNS: addrs("10.1.1.1", "8.8.8.8"), Domain: "cs1cloud.internal",
			},
		},
		"two servers":        {strs("ip_address", "10.1.1.2", "dhcp_server_identifier", "10.1.1.1 10.1.1.3"), bare},
		"server 0.0.0.0":     {strs("ip_address", "10.1.1.2", "dhcp_server_identifier", "0.0.0.0"), bare},
		"server broadcast":   {strs("ip_address", "10.1.1.2", "dhcp_server_identifier", "255.255.255.255"), bare},
		"router 0.0.0.0":     {strs("ip_address", "10.1.1.2", "routers", "0.0.0.0"), bare},
		"hostile domain":     {strs("ip_address", "10.1.1.2", "domain_name", "x\nsudo: ALL"), bare},
		"1 MB of routers":    {strs("ip_address", "10.1.1.2", "routers", strings.Repeat("10.1.1.1 ", 120_000)), bare},
		"domain not a text":  {properties{"ip_address": dbus.MakeVariant("10.1.1.2"), "domain_name": dbus.MakeVariant([]byte("a"))}, bare},
		"routers not a text": {properties{"ip_address": dbus.MakeVariant("10.1.1.2"), "routers": dbus.MakeVariant(true)}, bare},
		"250 routers": {
			strs("ip_address", "10.1.1.2", "routers", strings.Join(many(250), " ")),
			with(func(l *lease.Lease) { l.Routers = addrs(many(8)...) }),
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, ok := fromOptions(test.options)
			if diff := cmp.Diff(test.want, got, same); diff != "" || ok != got.Address.IsValid() {
				t.Errorf("got ok %v, want it with a valid address; -want +got:\n%s", ok, diff)
			}
		})
	}
}

func addressData(entries ...any) properties {
	var data []map[string]dbus.Variant
	for i := 0; i < len(entries); i += 2 {
		data = append(data, properties{"address": dbus.MakeVariant(entries[i]), "prefix": dbus.MakeVariant(entries[i+1])})
	}
	return properties{"AddressData": dbus.MakeVariant(data)}
}

func TestFromStatic(t *testing.T) {
	with := func(more properties) properties {
		p := addressData("10.1.1.2", uint32(24))
		for name, value := range more {
			p[name] = value
		}
		return p
	}
	servers := func(texts ...string) properties {
		var data []map[string]dbus.Variant
		for _, text := range texts {
			data = append(data, strs("address", text))
		}
		return with(properties{"NameserverData": dbus.MakeVariant(data)})
	}
	bare := lease.Lease{Address: netip.MustParsePrefix("10.1.1.2/24")}
	dns := func(list ...string) lease.Lease { l := bare; l.DNS = addrs(list...); return l }
	for name, test := range map[string]struct {
		config properties
		want   lease.Lease
	}{
		"nothing":           {nil, lease.Lease{}},
		"bare":              {with(nil), bare},
		"wide prefix":       {addressData("10.1.1.2", uint32(33)), lease.Lease{}},
		"prefix of a text":  {addressData("10.1.1.2", "24"), lease.Lease{Address: netip.MustParsePrefix("10.1.1.2/0")}},
		"address of no use": {addressData("127.0.0.1", uint32(8), "::1", uint32(128), 7, uint32(1)), lease.Lease{}},
		"the second":        {addressData("0.0.0.0", uint32(0), "10.1.1.2", uint32(24)), bare},
		"not a list":        {properties{"AddressData": dbus.MakeVariant("10.1.1.2/24")}, lease.Lease{}},
		"gateway": {with(strs("Gateway", "10.1.1.1")), func() lease.Lease {
			l := bare
			l.Routers = addrs("10.1.1.1")
			return l
		}()},
		"no gateway":      {with(strs("Gateway", "")), bare},
		"gateway a path":  {with(properties{"Gateway": dbus.MakeVariant(dbus.ObjectPath("/"))}), bare},
		"servers":         {servers("10.1.1.1", "8.8.8.8"), dns("10.1.1.1", "8.8.8.8")},
		"servers twice":   {servers("8.8.8.8", "8.8.8.8"), dns("8.8.8.8")},
		"many servers":    {servers(many(100)...), dns(many(8)...)},
		"lists in a list": {servers(many(7)[0], strings.Join(many(9), " ")), dns(many(1)...)},
		"servers a text":  {with(strs("NameserverData", "8.8.8.8")), bare},
		"domain": {with(properties{"Domains": dbus.MakeVariant([]string{"a.example", "b.example"})}), func() lease.Lease {
			l := bare
			l.Domain = "a.example"
			return l
		}()},
		"bad domain":    {with(properties{"Domains": dbus.MakeVariant([]string{"a b"})}), bare},
		"no domains":    {with(properties{"Domains": dbus.MakeVariant([]string{})}), bare},
		"domain a text": {with(strs("Domains", "a.example")), bare},
	} {
		t.Run(name, func(t *testing.T) {
			got, ok := fromStatic(test.config)
			if diff := cmp.Diff(test.want, got, same); diff != "" || ok != got.Address.IsValid() {
				t.Errorf("got ok %v, want it with a valid address; -want +got:\n%s", ok, diff)
			}
		})
	}
	if got := own(addressData(func() (all []any) {
		for _, a := range many(1000) {
			all = append(all, a, uint32(24))
		}
		return all
	}()...)); len(got) != maxAddresses {
		t.Errorf("got %d addresses of one device, want %d", len(got), maxAddresses)
	}
}

var hostName = regexp.MustCompile(`^([A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?)(\.[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?)*$`)

func FuzzOptions(f *testing.F) {
	f.Add("10.1.1.2", "255.255.255.0", "10.1.1.1", "10.1.1.1", "8.8.8.8 1.1.1.1", "cs1cloud.internal", uint32(24))
	f.Add("0.0.0.0", "255.0.255.0", "::1", "127.0.0.1 10.0.0.1 10.0.0.1", "224.0.0.1", "-a..b.", uint32(33))
	f.Add("10.1.1.2 10.1.1.3", "", "\x00", "1 2 3", "10.1.1.1%eth0", "a\u0430", uint32(1<<31))
	f.Fuzz(func(t *testing.T, ip, mask, server, routers, dns, name string, prefix uint32) {
		dhcp, ok := fromOptions(strs("ip_address", ip, "subnet_mask", mask, "dhcp_server_identifier", server,
			"routers", routers, "domain_name_servers", dns, "domain_name", name))
		check(t, dhcp, ok)
		config := addressData(ip, prefix, server, prefix)
		config["Gateway"] = dbus.MakeVariant(routers)
		config["NameserverData"] = dbus.MakeVariant([]map[string]dbus.Variant{strs("address", dns), strs("address", routers), strs("address", dns)})
		config["Domains"] = dbus.MakeVariant([]string{name})
		static, ok := fromStatic(config)
		check(t, static, ok)
	})
}

// check is what holds for any lease, whoever sent it.
func check(t *testing.T, l lease.Lease, ok bool) {
	t.Helper()
	if !ok {
		if diff := cmp.Diff(lease.Lease{}, l, same); diff != "" {
			t.Errorf("no lease, and yet: %s", diff)
		}
		return
	}
	all := append(append([]netip.Addr{l.Address.Addr()}, l.Routers...), l.DNS...)
	if l.Server.IsValid() {
		all = append(all, l.Server)
	}
	for _, a := range all {
		if !a.Is4() || !a.IsGlobalUnicast() && !a.IsLinkLocalUnicast() || a.As4()[0] == 0 || a.As4()[0] >= 240 {
			t.Errorf("%s is not an IPv4 unicast address", a)
		}
	}
	for _, list := range [][]netip.Addr{l.Routers, l.DNS} {
		sorted := slices.SortedFunc(slices.Values(list), netip.Addr.Compare)
		if len(list) > maxAddresses || len(slices.Compact(sorted)) != len(list) {
			t.Errorf("too many, or one twice: %s", list)
		}
	}
	if !l.Address.IsValid() {
		t.Errorf("invalid prefix %s", l.Address)
	}
	if l.Domain != "" && (len(l.Domain) > 253 || !hostName.MatchString(l.Domain)) {
		t.Errorf("%q is not a domain", l.Domain)
	}
}
