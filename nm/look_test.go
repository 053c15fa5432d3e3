package nm

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nm-cloud-seed/nm-cloud-seed/internal/lease"
)

// TestLookLeavesOutContainerBridges: what container runtimes and libvirt have made leads nowhere.
func TestLookLeavesOutContainerBridges(t *testing.T) {
	device := func(name string, state lease.State) lease.Device { return lease.Device{Name: name, State: state} }
	found := func(device, server string) lease.Lease {
		l := lease.Lease{Device: device, Address: netip.MustParsePrefix("10.1.1.2/24")}
		if server != "" {
			l.Server = netip.MustParseAddr(server)
		}
		return l
	}
	routed := found("bond0", "")
	routed.Routers = []netip.Addr{netip.MustParseAddr("10.1.1.1")}
	named := found("eth0.7", "")
	named.DNS = routed.Routers
	view := nics(lease.View{
		Running: true,
		Leases:  []lease.Lease{found("docker0", ""), found("eth1", ""), found("br0", "10.1.1.1"), routed, named},
		Devices: []lease.Device{
			device("bond0", lease.Leased), device("br0", lease.Leased), device("br1", lease.Waiting), device("br2", lease.Unusable),
			device("docker0", lease.Leased), device("eth0", lease.Unusable), device("eth0.7", lease.Leased), device("eth1", lease.Leased),
		},
	}, map[string]bool{"eth0": true, "eth1": true})
	var got []string
	for _, l := range view.Leases {
		got = append(got, "lease "+l.Device)
	}
	for _, d := range view.Devices {
		got = append(got, d.Name)
	}
	want := []string{"lease eth1", "lease br0", "lease bond0", "lease eth0.7", "bond0", "br0", "br1", "eth0", "eth0.7", "eth1"}
	if diff := cmp.Diff(want, got); diff != "" || !view.Running {
		t.Errorf("running %v, -want +got:\n%s", view.Running, diff)
	}
}
