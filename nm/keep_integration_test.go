//go:build integration

package nm

import (
	"slices"
	"strings"
	"testing"

	gnm "github.com/Wifx/gonetworkmanager/v2"

	"github.com/nm-cloud-seed/nm-cloud-seed/internal/lease"
	"github.com/nm-cloud-seed/nm-cloud-seed/nm/nmtest"
)

// TestKeep: what was handed over becomes permanent, and nothing else does.
func TestKeep(t *testing.T) {
	const other = "11111111-2222-3333-4444-555555555555"
	ours := func(device string, volatile bool) func(*nmtest.NM) {
		return func(m *nmtest.NM) {
			m.Activate(device, "nm-cloud-seed "+device, connectionUUID(device), volatile)
		}
	}
	both := func(m *nmtest.NM) { ours("eth0", false)(m); ours("eth1", false)(m) }
	fail := func(f nmtest.Fault) func(*nmtest.NM) {
		return func(m *nmtest.NM) { both(m); m.Fail("Update2", f) }
	}
	three := func(m *nmtest.NM) { // longer than the limit, one by one
		fail(nmtest.Fault{Hang: true})(m)
		m.AddDevice("eth2", nil)
		ours("eth2", false)(m)
	}
	for name, test := range map[string]struct {
		before func(*nmtest.NM)
		names  []string
		kept   []string
		says   string // the error; empty: none
	}{
		"all":               {before: both, kept: []string{"eth0", "eth1"}},
		"one of two":        {before: both, names: []string{"eth1"}, kept: []string{"eth1"}},
		"the same twice":    {before: both, names: []string{"eth1", "eth1"}, kept: []string{"eth1"}},
		"no connection":     {before: func(*nmtest.NM) {}, says: "there is nothing to keep"},
		"none on it":        {before: ours("eth0", false), names: []string{"eth1", "eth0"}, kept: []string{"eth0"}, says: "the connection of eth1: there is none"},
		"unknown device":    {before: both, names: []string{"eth0", "eth7"}, kept: []string{"eth0"}, says: "eth7: there is no such wired device"},
		"of a run":          {before: ours("eth0", true), says: "a run that has not ended still holds it"},
		"one of a run":      {before: func(m *nmtest.NM) { ours("eth0", true)(m); ours("eth1", false)(m) }, kept: []string{"eth1"}, says: "of eth0: a run"},
		"somebody else's":   {before: func(m *nmtest.NM) { m.Activate("eth0", "Wired 1", other, false) }, says: "there is nothing to keep"},
		"theirs, by name":   {before: func(m *nmtest.NM) { m.Activate("eth0", "Wired 1", other, false) }, names: []string{"eth0"}, says: `it is "Wired 1"`},
		"not permitted":     {before: fail(nmtest.Fault{Error: gnm.SettingsInterface + ".PermissionDenied"}), says: "try again as root"},
		"not by the bus":    {before: fail(nmtest.Fault{Error: "org.freedesktop.DBus.Error.AccessDenied"}), says: "try again as root"},
		"not written":       {before: fail(nmtest.Fault{Error: gnm.SettingsInterface + ".Failed"}), says: "told to refuse"},
		"hanging":           {before: three, says: "of eth2: context deadline exceeded"},
		"hanging all along": {before: func(m *nmtest.NM) { m.Fail("GetManagedObjects", nmtest.Fault{Hang: true}) }, says: "cannot read NetworkManager's objects"},
		"no NetworkManager": {before: (*nmtest.NM).Stop, says: "NetworkManager is not on the bus"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bus, manager := lab(t)
			manager.AddDevice("eth1", nil)
			manager.Serve("eth1", aLease("10.2.2.2/24"), 0)
			test.before(manager)
			l := limits{call: never, total: never}
			if strings.HasPrefix(name, "hanging") {
				l.total = keepLimit
			}
			kept, err := keep(t.Context(), bus.Dial, l, test.names)
			if !slices.Equal(kept, test.kept) {
				t.Errorf("got %q kept, want %q", kept, test.kept)
			}
			if test.says == "" && err != nil || test.says != "" && (err == nil || !strings.Contains(err.Error(), test.says)) {
				t.Errorf("got the error %v, want %q in it", err, test.says)
			}
			for _, device := range test.kept { // is as permanent as it gets
				if kept, err := keep(t.Context(), bus.Dial, l, []string{device}); len(kept) > 0 || err == nil || !strings.Contains(err.Error(), "permanent already") {
					t.Errorf("once more: got %q kept, error %v, want none and %q", kept, err, "permanent already")
				}
			}
			if n := manager.Calls("Delete") + manager.Calls("DeactivateConnection") + manager.Calls("AddAndActivateConnection2"); n > 0 {
				t.Errorf("got %d other changes, want 0", n)
			}
		})
	}
}

// TestKeepGivesUpFrozenBus: a bus that does not answer costs a few seconds, no more.
func TestKeepGivesUpFrozenBus(t *testing.T) {
	t.Parallel()
	bus := nmtest.Bus(t)
	bus.Freeze()
	_, err := keep(t.Context(), bus.Dial, limits{call: never, total: keepLimit}, nil)
	if want := "cannot connect to the system bus"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got the error %v, want %q in it", err, want)
	}
}

// TestProfileSavedDuringRunIsLeftAlone: a profile of ours that somebody saves while the run holds
// it is theirs from then on: it is not handed over, and not taken down.
func TestProfileSavedDuringRunIsLeftAlone(t *testing.T) {
	for name, leave := range map[string]bool{"left": true, "SIGTERM": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bus, manager := lab(t)
			s := start(t, bus, Options{Owner: true})
			s.until("a lease", leased(1))
			s.Settle("eth0")
			manager.SaveActive("eth0")
			s.until("a lease that is not ours", func(v lease.View) bool { return len(v.Leases) == 1 && !v.Leases[0].Temporary })
			if leave {
				if handed, err := s.Leave(t.Context()); err != nil || len(handed) > 0 {
					t.Errorf("got %q handed over, error %v, want none and no error", handed, err)
				}
			}
			s.stop()
			if n := manager.Calls("Update2") + manager.Calls("DeactivateConnection") + manager.Calls("Delete"); n > 0 {
				t.Errorf("got %d changes, want 0", n)
			}
		})
	}
}

// TestSpareUUIDBesideSavedProfile: beside a saved profile with our UUID, the connection has another that
// is the same each time, and a new one only where that exists, too.
func TestSpareUUIDBesideSavedProfile(t *testing.T) {
	for name, taken := range map[string]bool{"free": false, "taken": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bus, manager := lab(t)
			manager.Save("eth0", connectionUUID("eth0"), "/etc/NetworkManager/system-connections/mine.nmconnection")
			if taken {
				manager.Save("eth0", spareUUID("eth0"), "/run/NetworkManager/system-connections/spare.nmconnection")
			}
			s := start(t, bus, Options{Owner: true})
			s.until("a lease", leased(1))
			if !manager.Has(spareUUID("eth0")) {
				t.Error("got another UUID, want the spare one")
			}
			s.stop()
			if manager.Has(spareUUID("eth0")) != taken || !manager.Has(connectionUUID("eth0")) {
				t.Errorf("got the spare profile left: %t and the saved one: %t, want %t and true", manager.Has(spareUUID("eth0")), manager.Has(connectionUUID("eth0")), taken)
			}
		})
	}
}
