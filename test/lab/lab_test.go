//go:build integration

package lab

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// hangLimit ends a test that waits for what does not come. It judges no time:
// slow machines need seconds for what takes milliseconds.
const hangLimit = 5 * time.Minute

// eventually waits for something that NetworkManager does by itself.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), hangLimit)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("got no %s within %v, want one", what, hangLimit)
		}
	}
}

func nmcli(t *testing.T, l *Lab, args ...string) string {
	t.Helper()
	out, err := l.Nmcli(t.Context(), args...)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(out)
}

// state is a device's state as nmcli says it: "disconnected".
func state(t *testing.T, l *Lab, device string) string {
	t.Helper()
	out := nmcli(t, l, "-g", "DEVICE,STATE", "device", "status")
	for line := range strings.SplitSeq(out, "\n") {
		if s, ok := strings.CutPrefix(line, device+":"); ok {
			return s
		}
	}
	return "absent"
}

func wantState(t *testing.T, l *Lab, device, want string) {
	t.Helper()
	eventually(t, device+" "+want, func() bool { return state(t, l, device) == want })
}

// activate makes a DHCP profile for a NIC and returns its lease when it is
// active, or nmcli's complaint.
func activate(t *testing.T, l *Lab, i int) (map[string]string, error) {
	t.Helper()
	device := deviceName(i)
	nmcli(t, l, "connection", "add", "type", "ethernet", "con-name", device, "ifname", device,
		"autoconnect", "no", "ipv4.dad-timeout", "0", "ipv6.method", "disabled")
	if _, err := l.Nmcli(t.Context(), "connection", "up", device); err != nil {
		return nil, err
	}
	return leaseOf(t, l, device), nil
}

// leaseOf is a device's DHCP options, by NetworkManager's names.
func leaseOf(t *testing.T, l *Lab, device string) map[string]string {
	t.Helper()
	lease := make(map[string]string)
	for line := range strings.SplitSeq(nmcli(t, l, "-t", "-f", "DHCP4", "device", "show", device), "\n") {
		if _, option, ok := strings.Cut(line, ":"); ok {
			name, value, _ := strings.Cut(option, " = ")
			lease[name] = value
		}
	}
	return lease
}

// check compares some options of a lease; "" stands for a missing one.
func check(t *testing.T, lease, want map[string]string) {
	t.Helper()
	got := make(map[string]string)
	for k := range want {
		got[k] = lease[k]
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("lease (-want +got):\n%s", d)
	}
}

func TestLabGivesALease(t *testing.T) {
	t.Parallel()
	begin := time.Now()
	Run(t, Config{}, func(l *Lab) {
		t.Logf("up in %v", time.Since(begin).Round(time.Millisecond))
		wantState(t, l, "eth0", "disconnected")
		lease, err := activate(t, l, 0)
		if err != nil {
			t.Fatal(err)
		}
		check(t, lease, map[string]string{
			"ip_address":             l.ClientAddr(0).String(),
			"dhcp_server_identifier": l.VRAddr(0).String(),
			"routers":                "10.1.1.1",
			"domain_name_servers":    "10.1.1.1 8.8.8.8",
			"domain_name":            "cs2cloud.internal",
			"host_name":              "testvm",
			"dhcp_lease_time":        "4294967295",
		})
		if got, want := l.ClientAddr(0), netip.MustParseAddr("10.1.1.100"); got != want {
			t.Errorf("ClientAddr(0) = %v, want %v", got, want)
		}
		if !strings.Contains(l.DHCPLog(0), "DHCPACK(vr0) 10.1.1.100 "+l.MAC(0)) || !strings.Contains(l.NMLog(), "new lease") {
			t.Errorf("got logs without the lease, want it in both:\n%s\n%s", l.DHCPLog(0), l.NMLog())
		}
	})
}

// serve answers every connection to addr, on NIC i's router, with text.
func serve(t *testing.T, l *Lab, i int, addr, text string) {
	t.Helper()
	ln, err := l.Listen(i, addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			fmt.Fprint(conn, text)
			conn.Close()
		}
	}()
}

// ask is what addr answers to the VM, or why it does not.
func ask(t *testing.T, addr string) string {
	t.Helper()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", addr)
	if err != nil {
		return err.Error()
	}
	defer conn.Close()
	b, err := io.ReadAll(conn)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// Two networks; on the first one the addresses of a redundant router, on the
// second one the options of a NIC that is not the default one.
func TestEachNetworkHasItsOwnRouter(t *testing.T) {
	t.Parallel()
	Run(t, Config{NICs: []NIC{
		{
			ServerID:   netip.MustParseAddr("10.1.1.2"),
			Router:     netip.MustParseAddr("10.1.1.1"),
			ExtraAddrs: []netip.Prefix{netip.MustParsePrefix("10.1.1.1/24")},
		},
		{NonDefault: true},
	}}, func(l *Lab) {
		serve(t, l, 0, "10.1.1.1:80", "virtual address")
		serve(t, l, 0, "10.1.1.2:80", "own address")
		serve(t, l, 1, "10.1.2.1:80", "other network")
		for i, want := range []map[string]string{
			{"ip_address": "10.1.1.100", "dhcp_server_identifier": "10.1.1.2", "routers": "10.1.1.1"},
			{"ip_address": "10.1.2.100", "dhcp_server_identifier": "10.1.2.1", "routers": "",
				"domain_name_servers": "", "domain_name": ""},
		} {
			lease, err := activate(t, l, i)
			if err != nil {
				t.Fatal(err)
			}
			check(t, lease, want)
		}
		for addr, want := range map[string]string{
			"10.1.1.1:80": "virtual address", "10.1.1.2:80": "own address", "10.1.2.1:80": "other network",
		} {
			if got := ask(t, addr); got != want {
				t.Errorf("%s answers %q, want %q", addr, got, want)
			}
		}
		if got := ask(t, "10.1.1.2:8080"); !strings.Contains(got, "connection refused") {
			t.Errorf("got %q from a port without a listener, want connection refused", got)
		}
	})
}

func TestRouterAnswersDNS(t *testing.T) {
	t.Parallel()
	Run(t, Config{NICs: []NIC{
		{},
		{HostRecords: map[string]netip.Addr{"data-server": netip.MustParseAddr("10.1.2.9"), "x.example.org": netip.MustParseAddr("10.1.2.8")}},
		{DNSOff: true},
	}}, func(l *Lab) {
		for i := range 3 {
			if _, err := activate(t, l, i); err != nil {
				t.Fatal(err)
			}
		}
		for _, c := range []struct{ server, name, want string }{
			{"10.1.1.1", "data-server.", "10.1.1.1"},
			{"10.1.1.1", "data-server.cs2cloud.internal.", "10.1.1.1"},
			{"10.1.2.1", "data-server.", "10.1.2.9"},
			{"10.1.2.1", "x.example.org.", "10.1.2.8"},
			{"10.1.2.1", "nobody.cs2cloud.internal.", "no such host"},
		} {
			r := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, network, c.server+":53")
			}}
			addrs, err := r.LookupHost(t.Context(), c.name)
			if got := fmt.Sprint(addrs, err); !strings.Contains(got, c.want) {
				t.Errorf("%s at %s: %s, want %s", c.name, c.server, got, c.want)
			}
		}
		if got := ask(t, "10.1.3.1:53"); !strings.Contains(got, "connection refused") {
			t.Errorf("got %q from a DNS server that is off, want connection refused", got)
		}
	})
}

func TestLateDHCPServerIsFound(t *testing.T) {
	t.Parallel()
	Run(t, Config{NICs: []NIC{{NoDHCP: true, NoRouter: true}}}, func(l *Lab) {
		done := make(chan error, 1)
		go func() {
			_, err := l.Nmcli(t.Context(), "device", "connect", "eth0")
			done <- err
		}()
		wantState(t, l, "eth0", "connecting (getting IP configuration)")
		if err := l.StartDHCP(0); err != nil {
			t.Fatal(err)
		}
		if err := l.StartDHCP(0); err == nil {
			t.Error("got a second dnsmasq, want an error")
		}
		if err := <-done; err != nil { // NetworkManager asks again after 2.7 s
			t.Fatal(err)
		}
		check(t, leaseOf(t, l, "eth0"), map[string]string{"ip_address": "10.1.1.100", "routers": ""})

		if err := l.StopDHCP(0); err != nil {
			t.Fatal(err)
		}
		if err := l.StartDHCP(0); err != nil {
			t.Fatal(err)
		}
	})
}

// NetworkManager asks again when its first DISCOVERs are lost.
func TestDroppedDiscoversAreAskedAgain(t *testing.T) {
	t.Parallel()
	Run(t, Config{NICs: []NIC{{DropFirst: 2}}}, func(l *Lab) {
		if _, err := activate(t, l, 0); err != nil {
			t.Fatal(err)
		}
		log := l.DHCPLog(0)
		if got := strings.Count(log, droppedDiscover); got != 2 {
			t.Errorf("got %d dropped DISCOVERs, want 2", got)
		}
		if dropped, heard := strings.LastIndex(log, droppedDiscover), strings.Index(log, "DHCPDISCOVER("); heard < dropped {
			t.Errorf("got a DISCOVER that dnsmasq heard before the last dropped one, want it later:\n%s", log)
		}
	})
}

// A late OFFER has the options that dnsmasq would send.
func TestLateOfferHasDnsmasqsOptions(t *testing.T) {
	t.Parallel()
	const delay = 700 * time.Millisecond
	want := map[string]string{
		"ip_address": "10.1.1.100", "dhcp_server_identifier": "10.1.1.1", "routers": "10.1.1.1", "subnet_mask": "255.255.255.0",
		"domain_name_servers": "10.1.1.1 8.8.8.8", "domain_name": "cs2cloud.internal", "host_name": "testvm",
		"dhcp_lease_time": "4294967295",
	}
	Run(t, Config{NICs: []NIC{{OfferDelay: delay}, {}}}, func(l *Lab) {
		begin := time.Now()
		lease, err := activate(t, l, 0)
		if err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begin); took < delay {
			t.Errorf("got a lease after %v, want %v or more", took, delay)
		}
		check(t, lease, want)

		// The same of dnsmasq.
		if lease, err = activate(t, l, 1); err != nil {
			t.Fatal(err)
		}
		for k, v := range want {
			want[k] = strings.ReplaceAll(v, "10.1.1.", "10.1.2.")
		}
		check(t, lease, want)
	})
}

func TestCarrierGoesAndComes(t *testing.T) {
	t.Parallel()
	Run(t, Config{NICs: []NIC{{NoCarrier: true}}, AutoDefault: true}, func(l *Lab) {
		wantState(t, l, "eth0", "unavailable")
		if err := l.SetCarrier(0, true); err != nil {
			t.Fatal(err)
		}
		wantState(t, l, "eth0", "connected")
		serve(t, l, 0, "10.1.1.1:80", "hello")
		if got := ask(t, "10.1.1.1:80"); got != "hello" {
			t.Errorf("got the answer %q, want hello", got)
		}
		if err := l.SetCarrier(0, false); err != nil {
			t.Fatal(err)
		}
		wantState(t, l, "eth0", "unavailable") // after NetworkManager's own 6 s
		if err := l.SetCarrier(0, true); err != nil {
			t.Fatal(err)
		}
		wantState(t, l, "eth0", "connected")
	})
}

func TestNetworkManagerManagesWhatItIsTold(t *testing.T) {
	t.Parallel()
	Run(t, Config{
		NICs:        []NIC{{}, {Unmanaged: true}, {Absent: true}, {}},
		AutoDefault: true,
		NMConfig:    "[device-quiet]\nmatch-device=interface-name:eth3\nkeep-configuration=no\n\n[main]\nno-auto-default=eth3",
		Profiles: map[string]string{
			"static.nmconnection": "[connection]\nid=static\ntype=ethernet\ninterface-name=eth0\n" +
				"[ipv4]\nmethod=manual\naddress1=10.1.1.7/24\n[ipv6]\nmethod=disabled\n",
		},
	}, func(l *Lab) {
		wantState(t, l, "eth0", "connected")
		for device, want := range map[string]string{
			"eth0": "connected", "eth1": "unmanaged", "eth2": "absent", "eth3": "disconnected",
		} {
			if got := state(t, l, device); got != want {
				t.Errorf("%s is %s, want %s", device, got, want)
			}
		}
		if got := nmcli(t, l, "-g", "IP4.ADDRESS", "device", "show", "eth0"); got != "10.1.1.7/24" {
			t.Errorf("got the address %q of eth0, want 10.1.1.7/24 of the profile", got)
		}
		begin := time.Now()
		if err := l.AddNIC(2); err != nil {
			t.Fatal(err)
		}
		wantState(t, l, "eth2", "connected")
		t.Logf("eth2 connected after %v", time.Since(begin).Round(time.Millisecond))
		check(t, leaseOf(t, l, "eth2"), map[string]string{"ip_address": "10.1.3.100"})
		if err := l.AddNIC(2); err == nil {
			t.Error("got a second eth2, want an error")
		}
	})
}

func TestNetworkManagerRestarts(t *testing.T) {
	t.Parallel()
	Run(t, Config{NoNM: true}, func(l *Lab) {
		if _, err := l.Nmcli(t.Context(), "device"); err == nil {
			t.Fatal("got an answer of a NetworkManager that was not started, want an error of nmcli")
		}
		for i, sig := range []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM} {
			if err := l.StartNetworkManager(); err != nil {
				t.Fatal(err)
			}
			if err := l.StartNetworkManager(); err == nil {
				t.Error("got a second NetworkManager, want an error")
			}
			if i == 0 {
				if _, err := activate(t, l, 0); err != nil {
					t.Fatal(err)
				}
			} else if got := nmcli(t, l, "-g", "NAME", "connection"); !strings.Contains(got, "eth0") {
				t.Errorf("got the profiles %q after a restart, want eth0 among them", got)
			}
			if err := l.StopNetworkManager(sig); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// What a lab must not see, and what it must be able to write.
func TestLabIsIsolatedFromHost(t *testing.T) {
	t.Parallel()
	var before []net.Interface
	if !Inside() {
		before = interfaces(t)
	}
	Run(t, Config{}, func(l *Lab) {
		var names []string
		for _, i := range interfaces(t) {
			names = append(names, i.Name)
		}
		if d := cmp.Diff([]string{"eth0", "lo"}, slices.Sorted(slices.Values(names))); d != "" {
			t.Errorf("interfaces of the VM (-want +got):\n%s", d)
		}
		for _, name := range []string{
			"/run/nm-cloud-seed/x", "/var/lib/cloud/seed/x", "/var/lib/nm-cloud-seed/x", "/etc/nm-cloud-seed.conf",
			"/etc/cloud/cloud.cfg.d/x", "/run/systemd/x", filepath.Join(t.TempDir(), "x"),
		} {
			if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
				t.Error(err)
			}
			if err := os.WriteFile(name, []byte("lab"), 0o600); err != nil {
				t.Error(err)
			}
		}
		for _, name := range []string{"/etc/passwd", "/etc/group", "/etc/apt", "/etc/os-release"} {
			if _, err := os.Stat(name); err != nil {
				t.Errorf("got %v, want the host's file", err)
			}
		}
		if err := os.WriteFile("/etc/default/nm-cloud-seed-lab", nil, 0o600); err == nil {
			t.Error("got a file in the host's /etc/default, want an error")
		}
		cmd := l.Command(t.Context(), "sh", "-c", `echo "$DBUS_SYSTEM_BUS_ADDRESS $NM_CLOUD_SEED_LAB $(readlink /proc/self/ns/net)"`)
		got, err := output(cmd)
		own, _ := os.Readlink("/proc/self/ns/net")
		if want := "unix:path=/run/dbus/system_bus_socket  " + own + "\n"; got != want || err != nil {
			t.Errorf("a command's environment is %q, %v; want %q", got, err, want)
		}
		got, err = output(l.RouterCommand(t.Context(), 0, "ip", "-o", "link", "show", "vr0"))
		if err != nil || !strings.HasPrefix(got, "1000: vr0@") || !strings.Contains(got, routerMAC(0)) {
			t.Errorf("got the link %q, %v of the router, want 1000: vr0 with %s", got, err, routerMAC(0))
		}
	})
	if !Inside() {
		if d := cmp.Diff(before, interfaces(t)); d != "" {
			t.Errorf("interfaces of the host (-before +after):\n%s", d)
		}
		for _, name := range []string{"/run/nm-cloud-seed", "/var/lib/nm-cloud-seed", "/etc/nm-cloud-seed.conf", "/run/lab"} {
			if _, err := os.Stat(name); err == nil {
				t.Errorf("got %s on the host, want it in the lab only", name)
			}
		}
	}
}

func interfaces(t *testing.T) []net.Interface {
	t.Helper()
	all, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	return all
}
