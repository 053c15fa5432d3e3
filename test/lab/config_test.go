package lab

import (
	"bytes"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestNICDefaults(t *testing.T) {
	t.Parallel()
	n, err := NIC{}.fill(2)
	if err != nil {
		t.Fatal(err)
	}
	if n.Net != netip.MustParsePrefix("10.1.3.0/24") || n.client() != netip.MustParseAddr("10.1.3.100") ||
		n.ServerID != netip.MustParseAddr("10.1.3.1") || n.HostRecords["data-server"] != n.ServerID {
		t.Errorf("got the defaults %+v of eth2, want 10.1.3.0/24 with the router .1 and the VM .100", n)
	}
	n, err = NIC{Net: netip.MustParsePrefix("172.16.5.9/16")}.fill(0)
	if err != nil || n.ServerID != netip.MustParseAddr("172.16.0.1") {
		t.Errorf("got %+v, %v for 172.16.5.9/16, want the server 172.16.0.1", n, err)
	}
	for name, bad := range map[string]NIC{
		"too small":  {Net: netip.MustParsePrefix("10.0.0.0/25")},
		"IPv6":       {Net: netip.MustParsePrefix("fd00::/64")},
		"both":       {OfferDelay: 1, DHCPOptions: []string{"option:mtu,1450"}},
		"other side": {ServerID: netip.MustParseAddr("10.9.9.1")},
	} {
		if _, err := bad.fill(0); err == nil {
			t.Errorf("%s: got no error, want one", name)
		}
	}
}

func TestDnsmasqArgs(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		nic     NIC
		want    []string
		without string // a prefix that no argument has
	}{
		"default": {NIC{}, []string{
			"--dhcp-range=10.1.2.0,static,255.255.255.0,infinite",
			"--dhcp-host=02:00:00:00:01:01,10.1.2.100,testvm,infinite",
			"--dhcp-option=option:router,10.1.2.1",
			"--dhcp-option=option:dns-server,10.1.2.1,8.8.8.8",
			"--dhcp-option=option:domain-name,cs2cloud.internal",
			"--host-record=data-server,data-server.cs2cloud.internal,10.1.2.1",
		}, "--port"},
		"not the default NIC": {NIC{NonDefault: true}, []string{
			"--dhcp-option=option:router", "--dhcp-option=option:dns-server", "--dhcp-option=option:domain-name",
		}, "--port"},
		"no router": {NIC{NoRouter: true}, []string{
			"--dhcp-option=option:router", "--dhcp-option=option:dns-server,10.1.2.1,8.8.8.8",
		}, "--port"},
		"no name servers": {NIC{DNS: []netip.Addr{}}, []string{"--dhcp-option=option:dns-server"}, "--port"},
		"delay":           {NIC{OfferDelay: time.Second}, []string{"--local=/cs2cloud.internal/"}, "--dhcp"},
		"options":         {NIC{DHCPOptions: []string{"option:mtu,1450"}, DNSOff: true}, []string{"--dhcp-option=option:mtu,1450", "--port=0"}, "--no-hosts="},
		"no names":        {NIC{HostRecords: map[string]netip.Addr{}}, nil, "--host-record"},
	} {
		n, err := c.nic.fill(1)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		args := dnsmasqArgs(1, n)
		for _, want := range c.want {
			if !slices.Contains(args, want) {
				t.Errorf("%s: got the arguments %q, want %s among them", name, args, want)
			}
		}
		if slices.ContainsFunc(args, func(a string) bool { return strings.HasPrefix(a, c.without) }) {
			t.Errorf("%s: got the arguments %q, want none that begins with %s", name, args, c.without)
		}
	}
}

func TestFindNamesPackage(t *testing.T) {
	t.Parallel()
	if p, err := find("sh", searchPath()); err != nil || !strings.HasSuffix(p, "/sh") {
		t.Errorf("got %q, %v, want a path of sh", p, err)
	}
	for name, want := range map[string]string{
		"NetworkManager": "network-manager", "dnsmasq": "dnsmasq-base", "dbus-daemon": "dbus-daemon", "ip": "iproute2",
		"no-such-program": "cannot find no-such-program in",
	} {
		if _, err := find(name, []string{t.TempDir()}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got error %v, want %s", name, err, want)
		}
	}
}

func TestInnerEnvironLeadsNowhereOutside(t *testing.T) {
	t.Parallel()
	got := innerEnviron([]string{
		"HTTP_PROXY=x", "https_proxy=x", "no_proxy=x", "HOME=/h", "PATH=/nowhere", "NOTIFY_SOCKET=x",
		insideEnv + "=x", dirEnv + "=x", "DBUS_SYSTEM_BUS_ADDRESS=x", "DBUS_SESSION_BUS_ADDRESS=x",
	})
	want := []string{"HOME=/h", "DBUS_SYSTEM_BUS_ADDRESS=unix:path=/run/dbus/system_bus_socket"}
	if len(got) != 3 || !slices.Equal(got[:2], want) || !strings.Contains(got[2], "/usr/sbin") {
		t.Errorf("got %q, want %q and a PATH", got, want)
	}
}

func TestTestArgsSelectOneTest(t *testing.T) {
	t.Parallel()
	if got, want := testArgs("TestX/a.b/c#01")[1], `-test.run=^TestX$/^a\.b$/^c#01$`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestUnframedKeepsOnlyTheLog(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	u := &unframed{to: &b, test: "TestX/sub"}
	for _, part := range []string{
		"=== RUN   TestX\n=== RUN   TestX/sub\n    a.go:1: te", "xt\n--- PASS: TestX (0.0s)\n",
		"    --- PASS: TestX/sub (0.0s)\n        --- PASS: TestX/sub/deep (0.0s)\nPASS\ncoverage: 1% of statements\nlast",
	} {
		if n, err := u.Write([]byte(part)); n != len(part) || err != nil {
			t.Fatal(n, err)
		}
	}
	u.flush()
	if got, want := b.String(), "a.go:1: text\n    --- PASS: TestX/sub/deep (0.0s)\nlast\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
