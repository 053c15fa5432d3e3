//go:build integration

package nm

import (
	"context"
	"io"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	gnm "github.com/Wifx/gonetworkmanager/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/sirupsen/logrus"

	"github.com/nm-cloud-seed/nm-cloud-seed/internal/lease"
	"github.com/nm-cloud-seed/nm-cloud-seed/nm/nmtest"
)

// patience bounds each wait of a test. It is only there to say which one hangs: no
// test depends on it.
const patience = 5 * time.Minute

// never is a limit that no test lives to see: what ends then ended for another reason.
const never = time.Hour

// service is a Network that runs, as the daemon runs one.
type service struct {
	*Network
	t      *testing.T
	cancel context.CancelFunc
	done   chan struct{}
}

func start(t *testing.T, bus *nmtest.Daemon, options Options, changes ...func(*Network)) *service {
	t.Helper()
	log := logrus.New()
	log.SetOutput(io.Discard)
	options.Log = log
	ctx, cancel := context.WithCancel(t.Context())
	s := &service{Network: New(options), t: t, cancel: cancel, done: make(chan struct{})}
	s.dial = bus.Dial
	// On a slow machine, any other limit could end what the test is about.
	s.limits = limits{call: never, answer: never, release: never}
	for _, change := range changes {
		change(s.Network)
	}
	go func() {
		defer close(s.done)
		s.Run(ctx)
	}()
	t.Cleanup(s.stop)
	return s
}

// stop ends the run and waits for that.
func (s *service) stop() {
	s.t.Helper()
	s.cancel()
	select {
	case <-s.done:
	case <-time.After(patience):
		s.t.Errorf("Run has not returned %s after its end", patience)
	}
}

// until waits for a view.
func (s *service) until(what string, ok func(lease.View) bool) lease.View {
	s.t.Helper()
	timeout := time.After(patience)
	var last lease.View
	for {
		select {
		case v, open := <-s.Views():
			if !open {
				s.t.Fatalf("the views ended before one with %s; the last was %+v", what, last)
			}
			if last = v; ok(v) {
				return v
			}
		case <-timeout:
			s.t.Fatalf("no view with %s; the last was %+v", what, last)
		}
	}
}

func leased(count int) func(lease.View) bool {
	return func(v lease.View) bool { return len(v.Leases) == count }
}

func says(device, text string) func(lease.View) bool {
	return func(v lease.View) bool {
		for _, d := range v.Devices {
			if d.Name == device && strings.Contains(d.Detail, text) {
				return true
			}
		}
		return false
	}
}

// eventually waits for something that no view tells of.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

func aLease(address string) *nmtest.Lease {
	return &nmtest.Lease{Address: netip.MustParsePrefix(address), Options: map[string]string{
		"dhcp_server_identifier": "10.1.1.1", "routers": "10.1.1.1", "domain_name_servers": "10.1.1.1 8.8.8.8",
		"domain_name": "cs1cloud.internal",
	}}
}

// lab starts a bus and a NetworkManager with one idle device on it.
func lab(t *testing.T) (*nmtest.Daemon, *nmtest.NM) {
	t.Helper()
	bus := nmtest.Bus(t)
	manager := nmtest.New(t, bus)
	manager.AddDevice("eth0", nil)
	manager.Serve("eth0", aLease("10.1.1.23/24"), 0)
	return bus, manager
}

func TestRunActivatesAndTakesDown(t *testing.T) {
	t.Parallel()
	bus, manager := lab(t)
	s := start(t, bus, Options{Owner: true}, func(n *Network) { n.log.(*logrus.Logger).SetLevel(logrus.DebugLevel) })
	got := s.until("a lease", leased(1))
	want := lease.View{
		Running: true,
		Leases: []lease.Lease{{
			Device: "eth0", Index: got.Leases[0].Index, Address: netip.MustParsePrefix("10.1.1.23/24"),
			Server: netip.MustParseAddr("10.1.1.1"), Routers: []netip.Addr{netip.MustParseAddr("10.1.1.1")},
			DNS:    []netip.Addr{netip.MustParseAddr("10.1.1.1"), netip.MustParseAddr("8.8.8.8")},
			Domain: "cs1cloud.internal", Temporary: true,
		}},
		Devices: []lease.Device{{Name: "eth0", State: lease.Leased, Detail: `10.1.1.23/24 on "nm-cloud-seed eth0"`}},
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
		cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	s.stop()
	if n := manager.Calls("DeactivateConnection"); n != 1 || manager.Has(connectionUUID("eth0")) {
		t.Errorf("when Run returned, got %d connections taken down, profile left: %t, want 1 and false", n, manager.Has(connectionUUID("eth0")))
	}
	if _, open := <-s.Views(); open {
		if _, open = <-s.Views(); open {
			t.Error("got open views after the end of Run, want them closed")
		}
	}
}

// TestRunUsesAddressOfEnvironment goes by the environment, as the service does.
func TestRunUsesAddressOfEnvironment(t *testing.T) {
	bus, _ := lab(t)
	bus.Setenv(t)
	s := start(t, bus, Options{}, func(n *Network) { n.dial = New(Options{}).dial })
	s.until("a lease", leased(1))
}

func TestTwoDevicesGetTwoLeases(t *testing.T) {
	t.Parallel()
	bus, manager := lab(t)
	s := start(t, bus, Options{})
	s.until("a lease", leased(1))
	manager.AddDevice("eth1", map[string]any{"DeviceType": uint32(20)}) // hot-plugged; silent at first
	s.until("the second device", says("eth1", "asking"))
	manager.Serve("eth1", aLease("10.2.2.2/24"), 0)
	v := s.until("both leases", leased(2))
	if v.Leases[0].Device == v.Leases[1].Device {
		t.Errorf("got %+v, want leases of two devices", v.Leases)
	}
}

// TestLostDiscoverIsAskedAgain: a lost DISCOVER is asked again after one second, then after
// two, each time in a new activation with the same UUID.
func TestLostDiscoverIsAskedAgain(t *testing.T) {
	t.Parallel()
	bus, manager := lab(t)
	manager.Serve("eth0", aLease("10.1.1.23/24"), 2)
	begin := time.Now()
	s := start(t, bus, Options{Owner: true}, func(n *Network) { n.limits.reask = reask })
	v := s.until("a lease", leased(1))
	if got, want := time.Since(begin), reask[0]+reask[1]; got < want {
		t.Errorf("got the lease after %s, want it after %s or more", got, want)
	}
	if n := manager.Calls("AddAndActivateConnection2"); n != 3 || !v.Leases[0].Temporary {
		t.Errorf("got %d activations, want 3; the view is %+v", n, v)
	}
}

// TestLostLeaseIsReplaced: after the lease is lost, the device is activated anew.
func TestLostLeaseIsReplaced(t *testing.T) {
	t.Parallel()
	bus, manager := lab(t)
	s := start(t, bus, Options{Owner: true})
	s.until("a lease", leased(1))
	manager.Serve("eth0", nil, 0)
	manager.Drop("eth0")
	s.until("no lease", leased(0))
	manager.Serve("eth0", aLease("10.1.1.24/24"), 0)
	s.until("another lease", func(v lease.View) bool {
		return len(v.Leases) == 1 && v.Leases[0].Address.String() == "10.1.1.24/24"
	})
}

// TestConnectionOfOthersIsLeftAlone: somebody else's connection in place of ours is adopted.
func TestConnectionOfOthersIsLeftAlone(t *testing.T) {
	t.Parallel()
	bus, manager := lab(t)
	s := start(t, bus, Options{Owner: true})
	s.until("a lease", leased(1))
	manager.Activate("eth0", "Wired 1", "11111111-2222-3333-4444-555555555555", false)
	s.until("a lease that is not ours", func(v lease.View) bool { return len(v.Leases) == 1 && !v.Leases[0].Temporary })
	s.stop()
	if manager.Calls("DeactivateConnection") != 0 {
		t.Errorf("got %d connections taken down, want 0", manager.Calls("DeactivateConnection"))
	}
}

// TestSettle: settled, what is active stays and nothing further is activated.
func TestSettle(t *testing.T) {
	t.Parallel()
	bus, manager := lab(t)
	s := start(t, bus, Options{Owner: true})
	s.until("a lease", leased(1))
	s.Settle("eth0")
	s.Settle()
	manager.AddDevice("eth1", nil)
	manager.Serve("eth1", aLease("10.2.2.2/24"), 0)
	v := s.until("the second device", says("eth1", "not connected"))
	if len(v.Leases) != 1 || manager.Calls("AddAndActivateConnection2") != 1 {
		t.Errorf("after Settle, got %d activations and the view %+v, want 1 and one lease", manager.Calls("AddAndActivateConnection2"), v)
	}
	s.stop()
	if manager.Has(connectionUUID("eth0")) {
		t.Error("got the temporary connection left after the end, want it taken down")
	}
}

// TestSettleTakesDownUnkept: what is not to be kept is taken down at once.
func TestSettleTakesDownUnkept(t *testing.T) {
	t.Parallel()
	bus, manager := lab(t)
	manager.AddDevice("eth1", nil)
	manager.Serve("eth1", aLease("10.2.2.2/24"), 0)
	s := start(t, bus, Options{Owner: true})
	s.until("both leases", leased(2))
	s.Settle("eth1")
	s.until("one is gone, for good", func(v lease.View) bool {
		return len(v.Leases) == 1 && v.Leases[0].Device == "eth1" && says("eth0", "not connected")(v)
	})
	if manager.Has(connectionUUID("eth0")) || !manager.Has(connectionUUID("eth1")) {
		t.Errorf("got the profile of eth0 left: %t, of eth1: %t, want only that of eth1", manager.Has(connectionUUID("eth0")), manager.Has(connectionUUID("eth1")))
	}
	s.stop()
}

// TestKeptConnectionComesBack: settled, a connection that is lost comes back if it is one
// to keep.
func TestKeptConnectionComesBack(t *testing.T) {
	t.Parallel()
	bus, manager := lab(t)
	s := start(t, bus, Options{Owner: true})
	s.until("a lease", leased(1))
	s.Settle("eth0")
	manager.Serve("eth0", nil, 0) // else it may be back before the test looks
	manager.Drop("eth0")
	s.until("lost", leased(0))
	manager.Serve("eth0", aLease("10.1.1.23/24"), 0)
	s.until("back", func(v lease.View) bool { return len(v.Leases) == 1 && v.Leases[0].Temporary })
	s.stop()
}

// TestSavedProfileIsNotDeleted: a profile that somebody has saved is theirs, whatever its
// UUID is, and does not keep us from connecting.
func TestSavedProfileIsNotDeleted(t *testing.T) {
	t.Parallel()
	bus, manager := lab(t)
	profile := manager.Save("eth0", connectionUUID("eth0"), "/etc/NetworkManager/system-connections/mine.nmconnection")
	s := start(t, bus, Options{Owner: true})
	s.until("a lease", leased(1))
	s.stop()
	if !manager.Has(connectionUUID("eth0")) || manager.Calls("Delete") != 0 {
		t.Errorf("got %s deleted, want it left alone", profile)
	}
}

// TestFailedActivationIsTriedAfterPause: an activation that fails right away is not repeated without
// a pause.
func TestFailedActivationIsTriedAfterPause(t *testing.T) {
	t.Parallel()
	bus, manager := lab(t)
	manager.Break("eth0")
	begin := time.Now()
	s := start(t, bus, Options{Owner: true})
	s.until("a failure", says("eth0", "it was activated and has ended"))
	eventually(t, "activated a second time", func() bool { return manager.Calls("AddAndActivateConnection2") >= 2 })
	if got, want := time.Since(begin), time.Second; got < want {
		t.Errorf("got the second activation after %s, want it after %s or more", got, want)
	}
	s.stop()
}

// TestIrrelevantSignalsMakeNoView: irrelevant signals neither lose a lease nor make views.
func TestIrrelevantSignalsMakeNoView(t *testing.T) {
	t.Parallel()
	bus, manager := lab(t)
	s := start(t, bus, Options{})
	s.until("a lease", leased(1))
	go manager.Flood(10_000)
	manager.AddDevice("eth1", nil)
	manager.Serve("eth1", aLease("10.2.2.2/24"), 0)
	views := 0
	s.until("both leases", func(v lease.View) bool { views++; return len(v.Leases) == 2 })
	if views > 20 {
		t.Errorf("got %d views of a handful of changes, want at most 20", views)
	}
	manager.Flood(10_000)
	manager.Set(nmtest.Root+"/Devices/1", gnm.DeviceInterface, map[string]any{"Managed": true})
	manager.AddDevice("eth2", map[string]any{"State": uint32(gnm.NmDeviceStateUnmanaged)}) // the first change since
	views = 0
	s.until("the third device", func(v lease.View) bool { views++; return len(v.Devices) == 3 })
	if views != 1 {
		t.Errorf("got %d views of one change, want 1", views)
	}
	s.stop()
}

// TestLeave: after it, the end of Run takes nothing down, and the profile is no
// longer one that goes with its connection.
func TestLeave(t *testing.T) {
	bus, fake := lab(t)
	s := start(t, bus, Options{Owner: true})
	s.until("a lease", leased(1))
	s.Settle("eth0")
	if handed, err := s.Leave(t.Context()); err != nil || !slices.Equal(handed, []string{"eth0"}) {
		t.Fatalf("got %q handed over, error %v, want eth0 and no error", handed, err)
	}
	if n := fake.Calls("Update2"); n != 1 {
		t.Errorf("got %d calls of Update2, want 1", n)
	}
	s.stop()
	if n := fake.Calls("DeactivateConnection"); n != 0 {
		t.Errorf("got %d connections taken down, want 0", n)
	}
}

// TestLeaveWithoutNetworkManager: it must not wait for what does not come.
func TestLeaveWithoutNetworkManager(t *testing.T) {
	bus, fake := lab(t)
	s := start(t, bus, Options{Owner: true})
	s.until("a lease", leased(1))
	s.Settle("eth0")
	fake.Stop()
	s.until("nothing", leased(0))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Leave(ctx); err == nil || !strings.Contains(err.Error(), "cannot hand over the temporary connections") {
		t.Errorf("got the error %v, want %q", err, "cannot hand over the temporary connections")
	}
}

// TestLeaveFails: what NetworkManager did not take over is not said to be, and
// is not taken down either.
func TestLeaveFails(t *testing.T) {
	for name, test := range map[string]struct {
		fault nmtest.Fault
		calls int // one that does not answer is not asked again for the second device
	}{
		"refused": {nmtest.Fault{Error: gnm.NetworkManagerInterface + ".Settings.PermissionDenied"}, 2},
		"hanging": {nmtest.Fault{Hang: true}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bus, fake := lab(t)
			fake.AddDevice("eth1", nil)
			fake.Serve("eth1", aLease("10.2.2.2/24"), 0)
			s := start(t, bus, Options{Owner: true}, func(n *Network) { n.limits.call = callTimeout })
			s.until("both leases", leased(2))
			s.Settle("eth0", "eth1")
			fake.Fail("Update2", test.fault)
			if handed, err := s.Leave(t.Context()); err != nil || len(handed) > 0 {
				t.Errorf("got %q handed over, error %v, want none and no error", handed, err)
			}
			if got := fake.Calls("Update2"); got != test.calls {
				t.Errorf("got %d calls of Update2, want %d", got, test.calls)
			}
			s.stop()
			if !fake.Has(connectionUUID("eth0")) || !fake.Has(connectionUUID("eth1")) {
				t.Error("got a connection taken down, want both left")
			}
		})
	}
}

// TestLeaveSkipsLostConnection: a connection that has just been lost is nothing to hand over.
func TestLeaveSkipsLostConnection(t *testing.T) {
	t.Parallel()
	bus, fake := lab(t)
	s := start(t, bus, Options{Owner: true})
	s.until("a lease", leased(1))
	s.Settle("eth0")
	fake.Fail("AddAndActivateConnection2", nmtest.Fault{Error: gnm.NetworkManagerInterface + ".PermissionDenied"}) // it stays lost
	fake.Drop("eth0")
	s.until("lost, and not back", says("eth0", "told to refuse"))
	if handed, err := s.Leave(t.Context()); err != nil || len(handed) > 0 || fake.Calls("Update2") > 0 {
		t.Errorf("got %q handed over by %d calls, error %v, want none", handed, fake.Calls("Update2"), err)
	}
}

// handedOver puts a connection on eth0 that an earlier run has left to stay.
func handedOver(manager *nmtest.NM) {
	manager.Activate("eth0", "nm-cloud-seed eth0", connectionUUID("eth0"), false)
}

// TestEarlierConnectionIsHandedOverAgain: a connection of an earlier run that is up is gone on with, and
// handed over once more.
func TestEarlierConnectionIsHandedOverAgain(t *testing.T) {
	t.Parallel()
	bus, manager := lab(t)
	handedOver(manager)
	s := start(t, bus, Options{Owner: true})
	if v := s.until("a lease", leased(1)); !v.Leases[0].Temporary {
		t.Error("got a lease of others, want a temporary one")
	}
	s.Settle("eth0")
	if handed, err := s.Leave(t.Context()); err != nil || !slices.Equal(handed, []string{"eth0"}) {
		t.Errorf("got %q handed over, error %v, want eth0 and no error", handed, err)
	}
	s.stop()
	if n := manager.Calls("Delete") + manager.Calls("DeactivateConnection") + manager.Calls("AddAndActivateConnection2"); n > 0 || !manager.Has(connectionUUID("eth0")) {
		t.Errorf("got %d changes, profile left: %t, want 0 and true", n, manager.Has(connectionUUID("eth0")))
	}
}

// TestEarlierConnectionWithoutCarrierIsHandedOver: at the handover, an adopted connection is away that
// NetworkManager will bring back.
func TestEarlierConnectionWithoutCarrierIsHandedOver(t *testing.T) {
	t.Parallel()
	bus, manager := lab(t)
	handedOver(manager)
	s := start(t, bus, Options{Owner: true})
	s.until("a lease", leased(1))
	s.Settle("eth0")
	manager.Drop("eth0")
	s.until("lost", leased(0))
	if handed, err := s.Leave(t.Context()); err != nil || !slices.Equal(handed, []string{"eth0"}) {
		t.Errorf("got %q handed over, error %v, want eth0 and no error", handed, err)
	}
	s.stop()
	if !manager.Has(connectionUUID("eth0")) {
		t.Error("got the profile deleted, want it left")
	}
}

// TestReplacedEarlierConnectionIsRemoved: when another profile has taken the device, that of an
// adopted connection goes at the end, although it is not one that goes by itself.
func TestReplacedEarlierConnectionIsRemoved(t *testing.T) {
	t.Parallel()
	const other = "11111111-2222-3333-4444-555555555555"
	bus, manager := lab(t)
	handedOver(manager)
	s := start(t, bus, Options{Owner: true})
	s.until("a lease", leased(1))
	s.Settle("eth0")
	manager.Activate("eth0", "Wired 1", other, false)
	s.until("a lease that is not ours", func(v lease.View) bool { return len(v.Leases) == 1 && !v.Leases[0].Temporary })
	s.stop()
	if manager.Has(connectionUUID("eth0")) || !manager.Has(other) || manager.Calls("DeactivateConnection") > 0 {
		t.Errorf("got our profile left: %t, the other one: %t, want only the other one, and %d connections taken down, want 0", manager.Has(connectionUUID("eth0")), manager.Has(other), manager.Calls("DeactivateConnection"))
	}
}

// TestUnkeptEarlierConnectionStays: what an earlier run has handed over stays as it is, also
// where it is not to be kept, at the end, and over a restart of NetworkManager.
func TestUnkeptEarlierConnectionStays(t *testing.T) {
	for name, test := range map[string]struct{ settle, restart bool }{
		"not kept":            {settle: true},
		"SIGTERM":             {},
		"not kept, restarted": {true, true},
		"SIGTERM, restarted":  {false, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bus, manager := lab(t)
			handedOver(manager)
			s := start(t, bus, Options{Owner: true})
			s.until("a lease", leased(1))
			if test.settle {
				s.Settle()
			}
			if test.restart {
				device := nmtest.Root + "/Devices/1"
				state := func(n gnm.NmDeviceState) {
					manager.Set(device, gnm.DeviceInterface, map[string]any{"State": uint32(n)})
				}
				manager.Stop()
				s.until("no NetworkManager", absent)
				state(gnm.NmDeviceStateIpConfig) // it comes back step by step
				manager.Start()
				s.until("NetworkManager", func(v lease.View) bool { return v.Running })
				state(gnm.NmDeviceStateActivated)
				s.until("it is ours again", func(v lease.View) bool { return len(v.Leases) == 1 && v.Leases[0].Temporary })
			}
			manager.AddDevice("eth1", map[string]any{"State": uint32(gnm.NmDeviceStateUnmanaged)})
			s.until("what comes after it", says("eth1", "not managed"))
			s.stop()
			if n := manager.Calls("Delete") + manager.Calls("DeactivateConnection") + manager.Calls("AddAndActivateConnection2") + manager.Calls("Update2"); n > 0 || !manager.Has(connectionUUID("eth0")) {
				t.Errorf("got %d changes, profile left: %t, want 0 and true", n, manager.Has(connectionUUID("eth0")))
			}
		})
	}
}

// TestReplacedUnkeptEarlierConnectionIsRemoved: one that is not kept is removed at the end if
// another profile has taken its device.
func TestReplacedUnkeptEarlierConnectionIsRemoved(t *testing.T) {
	t.Parallel()
	bus, manager := lab(t)
	handedOver(manager)
	s := start(t, bus, Options{Owner: true})
	s.until("a lease", leased(1))
	s.Settle()
	manager.Activate("eth0", "Wired 1", "11111111-2222-3333-4444-555555555555", false)
	s.until("a lease that is not ours", func(v lease.View) bool { return len(v.Leases) == 1 && !v.Leases[0].Temporary })
	s.stop()
	if manager.Has(connectionUUID("eth0")) {
		t.Error("got its profile left, want it removed")
	}
}

// TestUnkeptIsTakenDownAfterRestart: our own connection is taken down also after
// NetworkManager has restarted, whether that was before Settle or after it.
func TestUnkeptIsTakenDownAfterRestart(t *testing.T) {
	for name, settleFirst := range map[string]bool{"settled before": true, "settled after": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bus, manager := lab(t)
			s := start(t, bus, Options{Owner: true})
			s.until("a lease", leased(1))
			manager.Stop()
			s.until("no NetworkManager", absent)
			if settleFirst {
				s.Settle()
			}
			manager.Start()
			if !settleFirst {
				s.until("a lease", leased(1))
				s.Settle()
			}
			s.until("gone", says("eth0", "not connected"))
			if manager.Has(connectionUUID("eth0")) {
				t.Error("got its profile left, want it removed")
			}
		})
	}
}

// TestLeaveOnlyKept: what appears after Settle on a device that is not to be
// kept is not handed over.
func TestLeaveOnlyKept(t *testing.T) {
	for name, volatile := range map[string]bool{"handed over before": false, "volatile": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bus, manager := lab(t)
			s := start(t, bus, Options{Owner: true})
			s.until("a lease", leased(1))
			s.Settle("eth0")
			manager.AddDevice("eth1", map[string]any{"State": uint32(gnm.NmDeviceStateUnmanaged)})
			manager.Serve("eth1", aLease("10.2.2.2/24"), 0)
			manager.Stop()
			s.until("no NetworkManager", absent)
			manager.Activate("eth1", "nm-cloud-seed eth1", connectionUUID("eth1"), volatile)
			manager.Start()
			if volatile {
				s.until("it is removed", says("eth1", "not connected"))
			} else {
				s.until("both leases", leased(2))
			}
			if handed, err := s.Leave(t.Context()); err != nil || !slices.Equal(handed, []string{"eth0"}) {
				t.Errorf("got %q handed over, error %v, want eth0 and no error", handed, err)
			}
			s.stop()
			if n := manager.Calls("Update2"); n != 1 || !manager.Has(connectionUUID("eth0")) || manager.Has(connectionUUID("eth1")) == volatile {
				t.Errorf("got %d handed over, eth0 left: %t, eth1 left: %t, want 1, true, %t", n, manager.Has(connectionUUID("eth0")), manager.Has(connectionUUID("eth1")), !volatile)
			}
		})
	}
}
