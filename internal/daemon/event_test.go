package daemon

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/nm-cloud-seed/nm-cloud-seed/internal/lease"
)

func TestConcerned(t *testing.T) {
	vr, other := netip.MustParseAddr("10.1.1.1"), netip.MustParseAddr("10.1.1.9")
	at := func(device string, server netip.Addr, routers ...netip.Addr) lease.Lease {
		return lease.Lease{Device: device, Server: server, Routers: routers}
	}
	ready := func(def bool) State {
		return State{Phase: Ready, Instance: &Instance{Device: "eth0", Server: vr, DHCP: vr, Default: def}}
	}
	for name, test := range map[string]struct {
		state   State
		wanting bool
		lease   lease.Lease
		want    string // a part of it; empty: nothing to do
	}{
		"nothing to do here":       {State{Phase: Idle}, false, at("eth0", other, other), ""},
		"the same VR":              {ready(true), false, at("eth0", vr, vr), ""},
		"a foreign router":         {ready(true), false, at("eth0", vr, other), ""},
		"another VR":               {ready(true), false, at("eth0", other, other), "another DHCP server: 10.1.1.9"},
		"no DHCP any more":         {ready(true), false, at("eth0", netip.Addr{}, other), ""},
		"DHCP where none was":      {State{Phase: Ready, Instance: &Instance{Device: "eth0", Server: vr, Default: true}}, false, at("eth0", vr, vr), "another DHCP server"},
		"another network":          {ready(true), false, at("eth1", other), ""},
		"two default networks":     {ready(true), false, at("eth1", other, other), ""},
		"the default network":      {ready(false), false, at("eth1", other, other), "eth1 is in the VM's default network"},
		"no data":                  {State{Phase: Failed}, true, at("eth0", vr, vr), "this boot has no data"},
		"the last boot's data":     {ready(true), true, at("eth0", vr, vr), "this boot has no data"},
		"stopped":                  {State{Phase: Stopped}, true, at("eth1", vr), "this boot has no data"},
		"no data, and none wanted": {State{Phase: Failed}, false, at("eth0", vr, vr), ""},
	} {
		t.Run(name, func(t *testing.T) {
			got := test.state.concerned(test.lease, test.wanting)
			if (got == "") != (test.want == "") || !strings.Contains(got, test.want) {
				t.Errorf("%q, want %q", got, test.want)
			}
		})
	}
}

// Who is at work already follows NetworkManager itself, or has its answer soon.
func TestConcernedWhileBusy(t *testing.T) {
	now := time.Now()
	l := lease.Lease{Device: "eth0", Server: netip.MustParseAddr("10.1.1.1")}
	for name, test := range map[string]struct {
		state State
		want  bool
	}{
		"ended":         {State{Phase: Failed, Ended: &now}, true},
		"under way":     {State{Phase: Leasing, Process: thisProcess()}, false},
		"healing":       {State{Phase: Failed, Ended: &now, Healing: &Healing{Process: thisProcess()}}, false},
		"heal killed":   {State{Phase: Failed, Ended: &now, Healing: &Healing{Process: process{1 << 22, "1"}}}, true},
		"refreshing":    {State{Phase: Failed, Ended: &now, Refresh: &Refresh{Process: thisProcess()}}, true},
		"refreshed":     {State{Phase: Failed, Ended: &now, Refresh: &Refresh{Ended: &now}}, true},
		"refresh death": {State{Phase: Failed, Ended: &now, Refresh: &Refresh{Process: process{1 << 22, "1"}}}, true},
	} {
		t.Run(name, func(t *testing.T) {
			root := machine(t, map[string]string{wantingPath: ""})
			if err := test.state.write(root); err != nil {
				t.Fatal(err)
			}
			if got := Concerned(root, l); (got != "") != test.want {
				t.Errorf("%q, want: %t", got, test.want)
			}
		})
	}
	if got := Concerned(t.TempDir(), l); got != "" {
		t.Errorf("where the service has not run: got %q, want nothing", got)
	}
	if got := Concerned(machine(t, map[string]string{StatePath: "{", wantingPath: ""}), l); got != "" {
		t.Errorf("with a damaged state: got %q, want nothing", got)
	}
}
