//go:build integration

package nm

import (
	"net/netip"
	"strings"
	"testing"

	gnm "github.com/Wifx/gonetworkmanager/v2"
	"github.com/google/go-cmp/cmp"

	"github.com/nm-cloud-seed/nm-cloud-seed/internal/lease"
	"github.com/nm-cloud-seed/nm-cloud-seed/nm/nmtest"
)

// TestLook: devices and leases as they are, and nobody is asked to change them.
func TestLook(t *testing.T) {
	t.Parallel()
	bus, manager := lab(t)
	manager.AddDevice("eth1", nil)
	manager.AddDevice("docker0", map[string]any{"DeviceType": uint32(gnm.NmDeviceTypeBridge)})
	manager.Serve("eth0", aLease("10.1.1.2/24"), 0)
	manager.Activate("eth0", "Wired 1", "11111111-2222-3333-4444-555555555555", false)
	manager.Set(nmtest.Root, gnm.NetworkManagerInterface, map[string]any{"Version": "1.52.1"})
	view, version, err := look(t.Context(), bus.Dial, limits{call: never, total: never})
	if err != nil || version != "1.52.1" {
		t.Errorf("got version %q, error %v, want 1.52.1 and no error", version, err)
	}
	want := lease.View{Running: true,
		Leases: []lease.Lease{{
			Device: "eth0", Address: netip.MustParsePrefix("10.1.1.2/24"), Server: netip.MustParseAddr("10.1.1.1"),
			Routers: []netip.Addr{netip.MustParseAddr("10.1.1.1")}, DNS: []netip.Addr{netip.MustParseAddr("10.1.1.1"), netip.MustParseAddr("8.8.8.8")},
			Domain: "cs1cloud.internal",
		}},
		Devices: []lease.Device{{Name: "eth0", State: lease.Leased, Detail: `10.1.1.2/24 on "Wired 1"`}, {Name: "eth1", Detail: "not connected"}},
	}
	for i := range view.Leases {
		view.Leases[i].Index = 0 // of this machine's device of the name, if it has one
	}
	if diff := cmp.Diff(want, view, cmp.Comparer(func(a, b netip.Addr) bool { return a == b }), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	for _, method := range []string{"AddAndActivateConnection2", "DeactivateConnection", "Delete", "Update2", "GetConnectionByUuid"} {
		if n := manager.Calls(method); n > 0 {
			t.Errorf("got %d calls of %s, want 0", n, method)
		}
	}
}

func TestLookWithoutAnswer(t *testing.T) {
	for name, test := range map[string]struct {
		before func(*nmtest.Daemon, *nmtest.NM)
		says   string // the error; empty: none, and not running
	}{
		"no NetworkManager": {before: func(_ *nmtest.Daemon, m *nmtest.NM) { m.Stop() }},
		"hanging":           {before: func(_ *nmtest.Daemon, m *nmtest.NM) { m.Fail("GetManagedObjects", nmtest.Fault{Hang: true}) }, says: "is on the bus, but does not answer"},
		"frozen bus":        {before: func(b *nmtest.Daemon, _ *nmtest.NM) { b.Freeze() }, says: "cannot connect to the system bus"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bus, manager := lab(t)
			test.before(bus, manager)
			view, _, err := look(t.Context(), bus.Dial, limits{call: never, total: lookLimit})
			if view.Running != (name == "hanging") || len(view.Devices) > 0 || test.says == "" && err != nil || test.says != "" && (err == nil || !strings.Contains(err.Error(), test.says)) {
				t.Errorf("got %+v, error %v, want running %t, no devices, and an error with %q", view, err, name == "hanging", test.says)
			}
		})
	}
}
