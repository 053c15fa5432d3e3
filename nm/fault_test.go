package nm

import (
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	gnm "github.com/Wifx/gonetworkmanager/v2"
	"github.com/godbus/dbus/v5"

	"github.com/nm-cloud-seed/nm-cloud-seed/internal/lease"
	"github.com/nm-cloud-seed/nm-cloud-seed/nm/nmtest"
)

func absent(v lease.View) bool { return !v.Running && len(v.Devices) == 0 }

func TestRefused(t *testing.T) {
	t.Parallel()
	bus, manager := lab(t)
	manager.Fail("AddAndActivateConnection2", nmtest.Fault{Error: gnm.NetworkManagerInterface + ".PermissionDenied"})
	s := start(t, bus, Options{Owner: true})
	begin := time.Now()
	v := s.until("the refusal", says("eth0", "told to refuse"))
	if v.Devices[0].State != lease.Waiting {
		t.Errorf("state %v", v.Devices[0].State)
	}
	eventually(t, "asked a second time", func() bool { return manager.Calls("AddAndActivateConnection2") == 2 })
	manager.Fail("AddAndActivateConnection2", nmtest.Fault{})
	s.until("a lease", leased(1))
	if took := time.Since(begin); took < 2800*time.Millisecond || took > 5*time.Second {
		t.Errorf("the third attempt came after %s, not 1 s + 2 s", took)
	}
}

// TestLookFails: a device that cannot be looked at before it is activated is
// tried again, and its further signals are no trouble.
func TestLookFails(t *testing.T) {
	t.Parallel()
	bus, manager := lab(t)
	manager.Fail("GetAll", nmtest.Fault{Error: "org.freedesktop.DBus.Error.NoReply"})
	s := start(t, bus, Options{Owner: true})
	s.until("a failure", says("eth0", "told to refuse"))
	manager.Set(nmtest.Root+"/Devices/1", gnm.DeviceInterface, map[string]any{"Mtu": uint32(1400)})
	manager.Fail("GetAll", nmtest.Fault{})
	s.until("a lease", leased(1))
	s.stop(patience)
}

// TestHung: a NetworkManager that does not answer is given up after
// callTimeout, and works when it recovers.
func TestHung(t *testing.T) {
	for _, method := range []string{"GetManagedObjects", "AddAndActivateConnection2", "GetConnectionByUuid"} {
		t.Run(method, func(t *testing.T) {
			t.Parallel()
			bus, manager := lab(t)
			manager.Fail(method, nmtest.Fault{Hang: true})
			begin := time.Now()
			s := start(t, bus, Options{Owner: true})
			eventually(t, "called", func() bool { return manager.Calls(method) == 1 })
			manager.Fail(method, nmtest.Fault{})
			s.until("a lease", leased(1))
			if took := time.Since(begin); took < callTimeout || took > callTimeout+2*time.Second {
				t.Errorf("recovered after %s", took)
			}
		})
	}
}

// TestCancelHung: the end comes in the middle of a call without an answer.
func TestCancelHung(t *testing.T) {
	for _, method := range []string{"GetManagedObjects", "AddAndActivateConnection2", "GetConnectionByUuid", "DeactivateConnection"} {
		t.Run(method, func(t *testing.T) {
			t.Parallel()
			bus, manager := lab(t)
			manager.Fail(method, nmtest.Fault{Hang: true})
			// Only a bound connection goes with ours to the bus; the service's
			// is a leftover to the next run.
			s := start(t, bus, Options{Owner: method != "DeactivateConnection"})
			if method == "DeactivateConnection" { // is called at the end only
				s.until("a lease", leased(1))
			} else {
				eventually(t, "called", func() bool { return manager.Calls(method) == 1 })
			}
			if took := s.stop(patience); took > 2500*time.Millisecond {
				t.Errorf("the end took %s", took)
			}
			eventually(t, "nothing is left behind", func() bool { return !manager.Has(connectionUUID("eth0")) })
		})
	}
}

// TestCancelSlow: the end comes while NetworkManager is activating, and nobody
// else would take down what comes of it.
func TestCancelSlow(t *testing.T) {
	t.Parallel()
	bus, manager := lab(t)
	manager.Fail("AddAndActivateConnection2", nmtest.Fault{Delay: 300 * time.Millisecond})
	s := start(t, bus, Options{Owner: true})
	eventually(t, "called", func() bool { return manager.Calls("AddAndActivateConnection2") == 1 })
	s.stop(patience)
	if manager.Has(connectionUUID("eth0")) {
		t.Error("a temporary connection was left behind")
	}
}

// TestCancelHungSecond: an activation that is in place is taken down also when
// the end comes while another hangs.
func TestCancelHungSecond(t *testing.T) {
	t.Parallel()
	bus, manager := lab(t)
	s := start(t, bus, Options{})
	s.until("a lease", leased(1))
	manager.Fail("AddAndActivateConnection2", nmtest.Fault{Hang: true})
	manager.AddDevice("eth1", nil)
	eventually(t, "called", func() bool { return manager.Calls("AddAndActivateConnection2") == 2 })
	s.stop(2500 * time.Millisecond)
	if manager.Has(connectionUUID("eth0")) {
		t.Error("the first connection was still there when Run returned")
	}
}

func TestFrozenBus(t *testing.T) {
	t.Parallel()
	bus := nmtest.Bus(t)
	bus.Freeze()
	s := start(t, bus, Options{Owner: true})
	time.Sleep(50 * time.Millisecond) // into the handshake; later or earlier does no harm
	if took := s.stop(patience); took > 2*time.Second {
		t.Errorf("the end took %s", took)
	}
}

func TestSlow(t *testing.T) {
	t.Parallel()
	bus, manager := lab(t)
	for _, method := range []string{"GetManagedObjects", "AddAndActivateConnection2", "GetConnectionByUuid"} {
		manager.Fail(method, nmtest.Fault{Delay: 700 * time.Millisecond})
	}
	s := start(t, bus, Options{Owner: true})
	s.until("a lease", leased(1))
	if n := manager.Calls("AddAndActivateConnection2"); n != 1 {
		t.Errorf("activated %d times", n)
	}
}

func TestAppears(t *testing.T) {
	t.Parallel()
	bus, manager := lab(t)
	manager.Stop()
	s := start(t, bus, Options{Owner: true})
	select {
	case v := <-s.Views():
		t.Errorf("a view without NetworkManager: %+v", v)
	case <-time.After(200 * time.Millisecond):
	}
	manager.Start()
	s.until("a lease", leased(1))
}

// TestAppearsMeanwhile: NetworkManager gets its name after we have subscribed
// and before we ask for it: the signal of that is old news.
func TestAppearsMeanwhile(t *testing.T) {
	t.Parallel()
	bus, manager := lab(t)
	manager.Stop()
	var once sync.Once
	asked := func(m *dbus.Message) {
		if m.Headers[dbus.FieldMember].Value() == "GetNameOwner" {
			once.Do(manager.Start)
		}
	}
	s := start(t, bus, Options{}, func(n *Network) {
		n.dial = func(options ...dbus.ConnOption) (*dbus.Conn, error) {
			return bus.Dial(append(options, dbus.WithOutgoingInterceptor(asked))...)
		}
	})
	s.until("a lease", leased(1))
	manager.AddDevice("eth1", nil) // a change, after which all of the above is over
	v := s.until("the second device", says("eth1", "asking"))
	if len(v.Leases) != 1 || !v.Leases[0].Temporary || manager.Calls("GetManagedObjects") != 1 {
		t.Errorf("our own connection was taken for somebody else's: %+v", v)
	}
}

// TestForgedOwner: only the bus says who NetworkManager is. Any user of the
// machine may send us a signal of that name.
func TestForgedOwner(t *testing.T) {
	t.Parallel()
	bus, _ := lab(t)
	var ours *dbus.Conn
	s := start(t, bus, Options{}, func(n *Network) {
		n.dial = func(options ...dbus.ConnOption) (conn *dbus.Conn, err error) {
			ours, err = bus.Dial(options...)
			return ours, err
		}
	})
	s.until("a lease", leased(1))
	forger, err := bus.Dial()
	if err != nil {
		t.Fatal(err)
	}
	defer forger.Close()
	forged := &dbus.Message{Type: dbus.TypeSignal, Body: []any{managerIface, "", forger.Names()[0]}, Headers: map[dbus.HeaderField]dbus.Variant{
		dbus.FieldDestination: dbus.MakeVariant(ours.Names()[0]),
		dbus.FieldPath:        dbus.MakeVariant(dbus.ObjectPath("/org/freedesktop/DBus")),
		dbus.FieldInterface:   dbus.MakeVariant("org.freedesktop.DBus"),
		dbus.FieldMember:      dbus.MakeVariant("NameOwnerChanged"),
		dbus.FieldSignature:   dbus.MakeVariant(dbus.SignatureOf("", "", "")),
	}}
	if err := forger.Send(forged, nil).Err; err != nil {
		t.Fatal(err)
	}
	select {
	case v := <-s.Views():
		t.Errorf("a forged owner was believed: %+v", v)
	case <-time.After(300 * time.Millisecond):
	}
}

// TestRestart: NetworkManager forgets over a restart that a connection was
// ours. One that is up is ours again; any other is made anew.
func TestRestart(t *testing.T) {
	for name, answered := range map[string]bool{"leased": true, "during activation": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bus, manager := lab(t)
			if !answered {
				manager.Serve("eth0", nil, 0)
			}
			s := start(t, bus, Options{Owner: true})
			if answered {
				s.until("a lease", leased(1))
			} else {
				s.until("an activation", says("eth0", "asking"))
			}
			manager.Stop()
			s.until("no NetworkManager", absent)
			manager.Start()
			want := "10.1.1.23/24" // it goes on
			if !answered {
				want = "10.1.1.99/24"
				s.until("it is removed", func(lease.View) bool { return manager.Calls("Delete") == 1 })
				manager.Serve("eth0", aLease(want), 0)
			}
			v := s.until("the lease", leased(1))
			if !v.Leases[0].Temporary || v.Leases[0].Address.String() != want {
				t.Errorf("%+v", v)
			}
			removed := 0
			if !answered {
				removed = 1
			}
			if manager.Calls("Delete") != removed || manager.Calls("AddAndActivateConnection2") != 1+removed {
				t.Errorf("%d removed, %d activated", manager.Calls("Delete"), manager.Calls("AddAndActivateConnection2"))
			}
			s.stop(patience)
			if manager.Has(connectionUUID("eth0")) {
				t.Error("left behind")
			}
		})
	}
}

func TestBusRestart(t *testing.T) {
	t.Parallel()
	bus, manager := lab(t)
	s := start(t, bus, Options{Owner: true})
	s.until("a lease", leased(1))
	bus.Stop()
	s.until("no NetworkManager", absent)
	manager.Stop()
	bus.Start()
	manager.Start()
	s.until("a lease", leased(1))
	s.stop(patience)
	if manager.Has(connectionUUID("eth0")) {
		t.Error("left behind")
	}
}

func TestLeftover(t *testing.T) {
	for _, owner := range []bool{true, false} {
		t.Run(map[bool]string{true: "owner", false: "guest"}[owner], func(t *testing.T) {
			t.Parallel()
			bus, manager := lab(t)
			manager.Activate("eth0", "nm-cloud-seed eth0", connectionUUID("eth0"), true)
			s := start(t, bus, Options{Owner: owner})
			v := s.until("a lease", leased(1))
			if v.Leases[0].Temporary != owner {
				t.Errorf("temporary: %v", v.Leases[0].Temporary)
			}
			s.stop(patience)
			if manager.Has(connectionUUID("eth0")) == owner {
				t.Errorf("left over: %v", !owner)
			}
			if n := manager.Calls("AddAndActivateConnection2"); n != 0 {
				t.Errorf("activated %d times beside one that is up", n)
			}
			if n := manager.Calls("Delete") + manager.Calls("DeactivateConnection") + manager.Calls("AddAndActivateConnection2"); !owner && n != 0 {
				t.Errorf("%d changes by one that does not own the connection", n)
			}
		})
	}
}

// TestLeftoverNotUp: a connection of an earlier run that is not up is removed.
func TestLeftoverNotUp(t *testing.T) {
	for name, leave := range map[string]func(*nmtest.NM){
		"without an activation": func(m *nmtest.NM) {
			m.Save("eth0", connectionUUID("eth0"), "/run/NetworkManager/system-connections/x.nmconnection")
		},
		"without a lease": func(m *nmtest.NM) {
			m.Serve("eth0", nil, 0)
			handedOver(m)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bus, manager := lab(t)
			leave(manager)
			s := start(t, bus, Options{Owner: true})
			eventually(t, "it is removed", func() bool { return manager.Calls("Delete") == 1 })
			manager.Serve("eth0", aLease("10.1.1.23/24"), 0)
			if v := s.until("a lease", leased(1)); !v.Leases[0].Temporary || manager.Calls("AddAndActivateConnection2") != 1 {
				t.Errorf("no connection of our own: %+v", v)
			}
		})
	}
}

// TestGarbage: a NetworkManager that sends other types than its own.
func TestGarbage(t *testing.T) {
	t.Parallel()
	bus, manager := lab(t)
	eth1 := manager.AddDevice("eth1", map[string]any{"State": "idle", "ActiveConnection": uint32(7), "AvailableConnections": "none"})
	manager.Fail("GetManagedObjects", nmtest.Fault{Reply: []any{"no objects today"}})
	s := start(t, bus, Options{Owner: true})
	eventually(t, "asked twice", func() bool { return manager.Calls("GetManagedObjects") >= 2 })
	manager.Fail("GetManagedObjects", nmtest.Fault{})
	s.until("a lease", leased(1))
	for _, body := range [][]any{{}, {"x"}, {uint32(1), "x", true}, {gnm.DeviceInterface, map[string]string{"State": "x"}, []string{}}} {
		for _, name := range []string{propsChanged, objectManager + ".InterfacesAdded", objectManager + ".InterfacesRemoved"} {
			manager.Emit(eth1, name, body...)
		}
	}
	manager.Serve("eth1", nil, 0)
	manager.Set(eth1, gnm.DeviceInterface, map[string]any{"State": uint32(gnm.NmDeviceStateDisconnected)})
	s.until("the second device", says("eth1", "asking"))
}

// TestNoLeak: nothing that Run started is left when it has returned.
func TestNoLeak(t *testing.T) {
	bus, manager := lab(t)
	before := runtime.NumGoroutine()
	for range 5 {
		s := start(t, bus, Options{Owner: true})
		s.until("a lease", leased(1))
		manager.Stop()
		s.until("no NetworkManager", absent)
		manager.Start()
		s.until("a lease", leased(1))
		s.stop(patience)
	}
	for deadline := time.Now().Add(5 * time.Second); runtime.NumGoroutine() > before; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			stacks := make([]byte, 1<<20)
			stacks = stacks[:runtime.Stack(stacks, true)]
			t.Fatalf("%d goroutines more than before:\n%s", runtime.NumGoroutine()-before, strings.TrimSpace(string(stacks)))
		}
	}
}
