package nm

import (
	"testing"
	"time"

	gnm "github.com/Wifx/gonetworkmanager/v2"
	"github.com/godbus/dbus/v5"
	"github.com/google/go-cmp/cmp"
)

// placed is our activation with the objects that it has, or not yet.
func placed(objects bool, asked int) *world {
	w := world1(wired("eth0", eth0, 30))
	w.mine[eth0] = &activation{active: "/A", profile: "/P"}
	w.asked[eth0] = asked
	if objects {
		w.objects.add("/P", interfaces{gnm.ConnectionInterface: {}}, now)
		w.objects.add("/A", interfaces{gnm.ActiveConnectionInterface: {}}, now)
	}
	return w
}

func (w *world) after(signals ...*dbus.Signal) *world {
	for _, s := range signals {
		w.objects.apply(s, now)
		w.track(now)
	}
	return w
}

func TestTrack(t *testing.T) {
	noActive, noProfile := removed("/A", gnm.ActiveConnectionInterface), removed("/P", gnm.ConnectionInterface)
	again := func(w *world) *world { w.mine[eth0].again = true; return w }
	for name, test := range map[string]struct {
		world *world
		mine  bool
		asked int
	}{
		"nothing yet":       {placed(false, 1).after(signal("/", "x.y")), true, 1},
		"in place":          {placed(true, 1).after(signal("/", "x.y")), true, 1},
		"half gone":         {placed(true, 1).after(signal("/", "x.y"), noActive), true, 1},
		"the other half":    {placed(true, 1).after(signal("/", "x.y"), noProfile), true, 1},
		"gone":              {placed(true, 1).after(noProfile, noActive), false, 0},
		"gone, asked again": {again(placed(true, 1)).after(noProfile, noActive), false, 1},
		"added and removed": {placed(false, 2).after(added("/P", interfaces{gnm.ConnectionInterface: {}}), noProfile), false, 0},
	} {
		t.Run(name, func(t *testing.T) {
			if got := test.world.mine[eth0] != nil; got != test.mine || test.world.asked[eth0] != test.asked {
				t.Errorf("got mine %t, asked %d, want %t, %d", got, test.world.asked[eth0], test.mine, test.asked)
			}
		})
	}
}

// TestTrackLeavesOtherDevices: the end of one activation says nothing of another's.
func TestTrackLeavesOtherDevices(t *testing.T) {
	w := placed(true, 1)
	w.mine[eth1] = &activation{active: "/A1", profile: "/P1"}
	w.asked[eth1] = 2
	w.after(removed("/A", gnm.ActiveConnectionInterface), removed("/P", gnm.ConnectionInterface))
	if w.mine[eth0] != nil || w.mine[eth1] == nil || w.asked[eth1] != 2 {
		t.Errorf("got %v, asked %v, want eth1 alone, asked twice", w.mine, w.asked)
	}
}

// TestDiscoverIsAskedAgainTwice goes through a network without a server: asked again after one
// second, two seconds after that, then never more.
func TestDiscoverIsAskedAgainTwice(t *testing.T) {
	w := world1(wired("eth0", eth0, 30))
	moment := now
	var asked []time.Duration // since the activation before
	for range 10 {
		if p := w.decide(moment); len(p.activate) != 1 {
			t.Fatalf("got %+v, want one activation", p)
		}
		begin := moment
		wired("eth0", eth0, 70, ours, func(w *world, d dbus.ObjectPath) { w.objects.since[d] = begin })(w)
		w.track(now)
		p := w.decide(moment)
		if p.wake.IsZero() {
			break
		}
		moment = p.wake
		if p = w.decide(moment); len(p.again) != 1 {
			t.Fatalf("got %+v after the wake-up, want it asked again", p)
		}
		asked = append(asked, moment.Sub(begin))
		w.mine[eth0].again = true // as act does
		w.asked[eth0]++
		if p = w.decide(moment); len(p.again)+len(p.activate) != 0 || !p.wake.IsZero() {
			t.Fatalf("got %+v while it is being taken down, want no action", p)
		}
		w.after(changed(eth0, gnm.DeviceInterface, properties{"State": dbus.MakeVariant(uint32(30)), "ActiveConnection": dbus.MakeVariant(dbus.ObjectPath("/"))}),
			removed("/A"+eth0, gnm.ActiveConnectionInterface))
	}
	if diff := cmp.Diff([]time.Duration{time.Second, 2 * time.Second}, asked); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestTrackReactivatedEarlierConnection: NetworkManager activates a profile that was handed over
// by itself, which makes another active connection, and is ours all the same.
func TestTrackReactivatedEarlierConnection(t *testing.T) {
	w := world1(wired("eth0", eth0, 100, leftover, dhcp, address("10.1.1.2", nil)))
	w.owner = true
	w.objects.add("/P", interfaces{gnm.ConnectionInterface: strs("Filename", "/run/x.nmconnection")}, now)
	connection := func(path dbus.ObjectPath) {
		w.objects.add(path, interfaces{gnm.ActiveConnectionInterface: {"Uuid": dbus.MakeVariant(connectionUUID("eth0")), "Connection": dbus.MakeVariant(dbus.ObjectPath("/P"))}}, now)
	}
	connection("/A" + eth0)
	if !w.adopt(w.device(eth0)) {
		t.Fatal("got it not adopted, want it adopted")
	}
	w.after(changed(eth0, gnm.DeviceInterface, properties{"State": dbus.MakeVariant(uint32(20)), "ActiveConnection": dbus.MakeVariant(dbus.ObjectPath("/"))}),
		removed("/A"+eth0, gnm.ActiveConnectionInterface))
	connection("/B")
	w.after(changed(eth0, gnm.DeviceInterface, properties{"State": dbus.MakeVariant(uint32(70)), "ActiveConnection": dbus.MakeVariant(dbus.ObjectPath("/B"))}))
	if p := w.decide(now.Add(time.Minute)); len(p.view.Leases) != 1 || !p.view.Leases[0].Temporary || len(p.again)+len(p.activate) > 0 {
		t.Errorf("got %+v, want one temporary lease and no action", p)
	}
	w.objects.add("/P", interfaces{gnm.ConnectionInterface: strs("Filename", "/etc/x.nmconnection")}, now)
	if w.adopt(w.device(eth0)) {
		t.Error("got a saved profile adopted, want it left alone")
	}
}

// TestRefusalsWaitLongerEachTime checks when a refused activation is tried again.
func TestRefusalsWaitLongerEachTime(t *testing.T) {
	w := world1(wired("eth0", eth0, 30))
	var got []time.Duration
	for range 6 {
		w.refuse(eth0, errEnded, now)
		got = append(got, w.decide(now).wake.Sub(now))
	}
	want := []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, 10 * time.Second, 10 * time.Second}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
