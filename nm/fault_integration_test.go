//go:build integration

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

func TestRefusedActivationIsTriedAgain(t *testing.T) {
	t.Parallel()
	bus, manager := lab(t)
	manager.Fail("AddAndActivateConnection2", nmtest.Fault{Error: gnm.NetworkManagerInterface + ".PermissionDenied"})
	begin := time.Now()
	s := start(t, bus, Options{Owner: true})
	s.until("the refusal", says("eth0", "told to refuse"))
	eventually(t, "asked a second time", func() bool { return manager.Calls("AddAndActivateConnection2") >= 2 })
	manager.Fail("AddAndActivateConnection2", nmtest.Fault{})
	s.until("a lease", leased(1))
	if got, want := time.Since(begin), 3*time.Second; got < want { // 1 s and 2 s, see TestRefusalsWaitLongerEachTime
		t.Errorf("got the third attempt after %s, want it after %s or more", got, want)
	}
}

// TestDeviceThatCannotBeReadIsTriedAgain: a device that cannot be looked at before it is activated is
// tried again, and its further signals are no trouble.
func TestDeviceThatCannotBeReadIsTriedAgain(t *testing.T) {
	t.Parallel()
	bus, manager := lab(t)
	manager.Fail("GetAll", nmtest.Fault{Error: "org.freedesktop.DBus.Error.NoReply"})
	s := start(t, bus, Options{Owner: true})
	s.until("a failure", says("eth0", "told to refuse"))
	manager.Set(nmtest.Root+"/Devices/1", gnm.DeviceInterface, map[string]any{"Mtu": uint32(1400)})
	manager.Fail("GetAll", nmtest.Fault{})
	s.until("a lease", leased(1))
	s.stop()
}

// TestHungNetworkManagerIsGivenUp: a NetworkManager that does not answer is given up after
// callTimeout, and works when it recovers.
func TestHungNetworkManagerIsGivenUp(t *testing.T) {
	for _, method := range []string{"GetManagedObjects", "AddAndActivateConnection2", "GetConnectionByUuid"} {
		t.Run(method, func(t *testing.T) {
			t.Parallel()
			bus, manager := lab(t)
			manager.Fail(method, nmtest.Fault{Hang: true})
			begin := time.Now()
			s := start(t, bus, Options{Owner: true}, func(n *Network) { n.limits.call = callTimeout })
			eventually(t, "called", func() bool { return manager.Calls(method) >= 1 })
			manager.Fail(method, nmtest.Fault{})
			s.until("a lease", leased(1))
			if got := time.Since(begin); got < callTimeout {
				t.Errorf("got the lease after %s, want it after %s or more", got, callTimeout)
			}
		})
	}
}

// TestStopEndsHungCall: the end comes in the middle of a call without an answer.
func TestStopEndsHungCall(t *testing.T) {
	for _, method := range []string{"GetManagedObjects", "AddAndActivateConnection2", "GetConnectionByUuid", "DeactivateConnection"} {
		t.Run(method, func(t *testing.T) {
			t.Parallel()
			bus, manager := lab(t)
			manager.Fail(method, nmtest.Fault{Hang: true})
			// Only a bound connection goes with ours to the bus; the service's
			// is a leftover to the next run.
			s := start(t, bus, Options{Owner: method != "DeactivateConnection"}, func(n *Network) {
				n.limits.answer, n.limits.release = answerTimeout, releaseTimeout
			})
			if method == "DeactivateConnection" { // is called at the end only
				s.until("a lease", leased(1))
			} else {
				eventually(t, "called", func() bool { return manager.Calls(method) == 1 })
			}
			s.stop()
			eventually(t, "nothing is left behind", func() bool { return !manager.Has(connectionUUID("eth0")) })
		})
	}
}

// TestStopTakesDownSlowActivation: the end comes while NetworkManager is activating, and nobody
// else would take down what comes of it.
func TestStopTakesDownSlowActivation(t *testing.T) {
	t.Parallel()
	bus, manager := lab(t)
	answer := make(chan struct{})
	manager.Fail("AddAndActivateConnection2", nmtest.Fault{Until: answer})
	s := start(t, bus, Options{Owner: true})
	eventually(t, "called", func() bool { return manager.Calls("AddAndActivateConnection2") == 1 })
	s.cancel()
	close(answer)
	s.stop()
	if manager.Calls("DeactivateConnection") != 1 || manager.Has(connectionUUID("eth0")) {
		t.Errorf("got %d connections taken down, profile left: %t, want 1 and false", manager.Calls("DeactivateConnection"), manager.Has(connectionUUID("eth0")))
	}
}

// TestStopDuringHungCallTakesDownOthers: an activation that is in place is taken down also when
// the end comes while another hangs.
func TestStopDuringHungCallTakesDownOthers(t *testing.T) {
	t.Parallel()
	bus, manager := lab(t)
	s := start(t, bus, Options{}, func(n *Network) { n.limits.answer = answerTimeout })
	s.until("a lease", leased(1))
	manager.Fail("AddAndActivateConnection2", nmtest.Fault{Hang: true})
	manager.AddDevice("eth1", nil)
	eventually(t, "called", func() bool { return manager.Calls("AddAndActivateConnection2") == 2 })
	s.stop()
	if manager.Has(connectionUUID("eth0")) {
		t.Error("got the first connection still there when Run returned, want it taken down")
	}
}

func TestStopEndsHandshakeWithFrozenBus(t *testing.T) {
	t.Parallel()
	bus := nmtest.Bus(t)
	bus.Freeze()
	dialed := make(chan struct{})
	s := start(t, bus, Options{Owner: true}, func(n *Network) {
		n.dial = func(options ...dbus.ConnOption) (*dbus.Conn, error) {
			close(dialed)
			return bus.Dial(options...)
		}
	})
	<-dialed
	s.stop()
}

func TestSlowNetworkManagerIsCalledOnce(t *testing.T) {
	t.Parallel()
	bus, manager := lab(t)
	// In the order in which they are called.
	methods := []string{"GetManagedObjects", "GetConnectionByUuid", "GetAll", "AddAndActivateConnection2"}
	answers := map[string]chan struct{}{}
	for _, method := range methods {
		answers[method] = make(chan struct{})
		manager.Fail(method, nmtest.Fault{Until: answers[method]})
	}
	s := start(t, bus, Options{Owner: true})
	for _, method := range methods {
		eventually(t, method+" is called", func() bool { return manager.Calls(method) == 1 })
		manager.Set(nmtest.Root+"/Devices/1", gnm.DeviceInterface, map[string]any{"Mtu": uint32(1400)}) // a signal meanwhile
		close(answers[method])
	}
	s.until("a lease", leased(1))
	for _, method := range methods {
		if got := manager.Calls(method); got != 1 {
			t.Errorf("got %d calls of %s, want 1", got, method)
		}
	}
}

func TestNoViewBeforeNetworkManager(t *testing.T) {
	t.Parallel()
	bus, manager := lab(t)
	manager.Stop()
	answered := make(chan struct{})
	var once sync.Once
	s := start(t, bus, Options{Owner: true}, func(n *Network) {
		n.dial = func(options ...dbus.ConnOption) (*dbus.Conn, error) {
			return bus.Dial(append(options, dbus.WithIncomingInterceptor(func(m *dbus.Message) {
				if m.Headers[dbus.FieldErrorName].Value() == "org.freedesktop.DBus.Error.NameHasNoOwner" {
					once.Do(func() { close(answered) })
				}
			}))...)
		}
	})
	<-answered
	manager.Start()
	first := true
	s.until("a lease", func(v lease.View) bool {
		if first && !v.Running {
			t.Errorf("got a view without NetworkManager, want none: %+v", v)
		}
		first = false
		return len(v.Leases) == 1
	})
}

// TestNetworkManagerStartsDuringLookup: NetworkManager gets its name after we have subscribed
// and before we ask for it: the signal of that is old news.
func TestNetworkManagerStartsDuringLookup(t *testing.T) {
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
		t.Errorf("got %+v, want our own connection as temporary, and GetManagedObjects called once", v)
	}
}

// TestForgedOwnerIsIgnored: only the bus says who NetworkManager is. Any user of the
// machine may send us a signal of that name.
func TestForgedOwnerIsIgnored(t *testing.T) {
	t.Parallel()
	bus, manager := lab(t)
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
	if err := forger.BusObject().Call("org.freedesktop.DBus.GetId", 0).Err; err != nil { // the bus has passed it on
		t.Fatal(err)
	}
	manager.AddDevice("eth1", nil)
	s.until("what came after it", func(v lease.View) bool {
		if !v.Running || len(v.Leases) != 1 {
			t.Errorf("got the view %+v after a forged owner, want the lease in it", v)
		}
		return says("eth1", "asking")(v)
	})
	// Whoever believes the forger reads its objects, or NetworkManager's once more.
	if got := manager.Calls("GetManagedObjects"); got != 1 {
		t.Errorf("got %d calls of GetManagedObjects, want 1", got)
	}
}

// TestLeaseAfterNetworkManagerRestart: NetworkManager forgets over a restart that a connection was
// ours. One that is up is ours again; any other is made anew.
func TestLeaseAfterNetworkManagerRestart(t *testing.T) {
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
				t.Errorf("got %+v, want a temporary lease of %s", v, want)
			}
			removed := 0
			if !answered {
				removed = 1
			}
			if manager.Calls("Delete") != removed || manager.Calls("AddAndActivateConnection2") != 1+removed {
				t.Errorf("got %d removed and %d activated, want %d and %d", manager.Calls("Delete"), manager.Calls("AddAndActivateConnection2"), removed, 1+removed)
			}
			s.stop()
			if manager.Has(connectionUUID("eth0")) {
				t.Error("got our profile left after the end, want none")
			}
		})
	}
}

func TestLeaseAfterBusRestart(t *testing.T) {
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
	s.stop()
	if manager.Has(connectionUUID("eth0")) {
		t.Error("got our profile left after the end, want none")
	}
}

func TestLeftoverBelongsToOwner(t *testing.T) {
	for _, owner := range []bool{true, false} {
		t.Run(map[bool]string{true: "owner", false: "guest"}[owner], func(t *testing.T) {
			t.Parallel()
			bus, manager := lab(t)
			manager.Activate("eth0", "nm-cloud-seed eth0", connectionUUID("eth0"), true)
			s := start(t, bus, Options{Owner: owner})
			v := s.until("a lease", leased(1))
			if v.Leases[0].Temporary != owner {
				t.Errorf("got temporary %t, want %t", v.Leases[0].Temporary, owner)
			}
			s.stop()
			if manager.Has(connectionUUID("eth0")) == owner {
				t.Errorf("got the profile left: %t, want %t", owner, !owner)
			}
			if n := manager.Calls("AddAndActivateConnection2"); n != 0 {
				t.Errorf("got %d activations beside one that is up, want 0", n)
			}
			if n := manager.Calls("Delete") + manager.Calls("DeactivateConnection") + manager.Calls("AddAndActivateConnection2"); !owner && n != 0 {
				t.Errorf("got %d changes by one that does not own the connection, want 0", n)
			}
		})
	}
}

// TestInactiveLeftoverIsRemoved: a connection of an earlier run that is not up is removed.
func TestInactiveLeftoverIsRemoved(t *testing.T) {
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
				t.Errorf("got %+v, want a connection of our own after one activation", v)
			}
		})
	}
}

// TestMalformedMessagesAreIgnored: a NetworkManager that sends other types than its own.
func TestMalformedMessagesAreIgnored(t *testing.T) {
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

// TestRunLeavesNoGoroutine: nothing that Run started is left when it has returned.
func TestRunLeavesNoGoroutine(t *testing.T) {
	bus, manager := lab(t)
	before := runtime.NumGoroutine()
	for range 5 {
		s := start(t, bus, Options{Owner: true})
		s.until("a lease", leased(1))
		manager.Stop()
		s.until("no NetworkManager", absent)
		manager.Start()
		s.until("a lease", leased(1))
		s.stop()
	}
	for deadline := time.Now().Add(patience); runtime.NumGoroutine() > before; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			stacks := make([]byte, 1<<20)
			stacks = stacks[:runtime.Stack(stacks, true)]
			t.Fatalf("got %d goroutines, want %d as before:\n%s", runtime.NumGoroutine(), before, strings.TrimSpace(string(stacks)))
		}
	}
}
