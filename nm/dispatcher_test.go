package nm

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nm-cloud-seed/nm-cloud-seed/internal/lease"
)

// environ is what NetworkManager 1.42 to 1.58 hand to a script, more or less.
var environ = []string{
	"PATH=/usr/bin", "DEVICE_IFACE=eth0", "DEVICE_IP_IFACE=eth0", "CONNECTION_ID=Wired connection 1",
	"DHCP4_IP_ADDRESS=10.1.1.100", "DHCP4_SUBNET_MASK=255.255.255.0", "DHCP4_ROUTERS=10.1.1.1",
	"DHCP4_DOMAIN_NAME_SERVERS=10.1.1.1 8.8.8.8", "DHCP4_DHCP_SERVER_IDENTIFIER=10.1.1.2",
	"DHCP4_DOMAIN_NAME=cs2cloud.internal", "IP4_ADDRESS_0=10.1.1.100/24 10.1.1.1",
}

func TestDispatched(t *testing.T) {
	full := lease.Lease{
		Device: "eth0", Address: netip.MustParsePrefix("10.1.1.100/24"), Server: netip.MustParseAddr("10.1.1.2"),
		Routers: []netip.Addr{netip.MustParseAddr("10.1.1.1")},
		DNS:     []netip.Addr{netip.MustParseAddr("10.1.1.1"), netip.MustParseAddr("8.8.8.8")}, Domain: "cs2cloud.internal",
	}
	none := lease.Lease{}
	above := full
	above.Device = "br0"
	for name, test := range map[string]struct {
		args, environ []string
		want          lease.Lease
		ok            bool
	}{
		"up":               {[]string{"eth0", "up"}, environ, full, true},
		"lease changed":    {[]string{"eth0", "dhcp4-change"}, environ, full, true},
		"another action":   {[]string{"eth0", "down"}, environ, none, false},
		"before it is up":  {[]string{"eth0", "pre-up"}, environ, none, false},
		"no device":        {[]string{"", "hostname"}, environ, none, false},
		"too few words":    {[]string{"eth0"}, environ, none, false},
		"too many":         {[]string{"eth0", "up", "x"}, environ, none, false},
		"without a lease":  {[]string{"eth0", "up"}, environ[:4], lease.Lease{Device: "eth0"}, false},
		"no address":       {[]string{"eth0", "up"}, []string{"DHCP4_IP_ADDRESS=none", "DHCP4_ROUTERS=10.1.1.1"}, lease.Lease{Device: "eth0"}, false},
		"the device above": {[]string{"eth0", "up"}, append([]string{"DEVICE_IP_IFACE=br0"}, environ[4:]...), above, true},
		"words without =":  {[]string{"eth0", "up"}, append([]string{"DHCP4_", "=", "x"}, environ...), full, true},
	} {
		t.Run(name, func(t *testing.T) {
			got, ok := Dispatched(test.args, test.environ)
			if ok != test.ok {
				t.Errorf("got ok %t, want %t", ok, !ok)
			}
			if diff := cmp.Diff(test.want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b }), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" && ok {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
