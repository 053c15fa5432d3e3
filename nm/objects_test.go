package nm

import (
	"testing"
	"time"

	gnm "github.com/Wifx/gonetworkmanager/v2"
	"github.com/godbus/dbus/v5"
)

const (
	eth0 = dbus.ObjectPath("/org/freedesktop/NetworkManager/Devices/2")
	eth1 = dbus.ObjectPath("/org/freedesktop/NetworkManager/Devices/3")
)

func signal(path dbus.ObjectPath, name string, body ...any) *dbus.Signal {
	return &dbus.Signal{Path: path, Name: name, Body: body}
}

func changed(path dbus.ObjectPath, iface string, values properties) *dbus.Signal {
	return signal(path, propsChanged, iface, values, []string{})
}

func added(path dbus.ObjectPath, ifaces interfaces) *dbus.Signal {
	return signal("/org/freedesktop", objectManager+".InterfacesAdded", path, ifaces)
}

func removed(path dbus.ObjectPath, ifaces ...string) *dbus.Signal {
	return signal("/org/freedesktop", objectManager+".InterfacesRemoved", path, ifaces)
}

func TestApply(t *testing.T) {
	start := time.Unix(1000, 0)
	o := newObjects(map[dbus.ObjectPath]interfaces{
		eth0: {gnm.DeviceInterface: {"State": dbus.MakeVariant(uint32(30))}, gnm.DeviceInterface + ".Statistics": {}},
	}, start)
	state := func() uint32 { return property[uint32](o, eth0, gnm.DeviceInterface, "State") }
	if _, ok := o.tree[eth0][gnm.DeviceInterface+".Statistics"]; ok || state() != 30 || !o.since[eth0].Equal(start) {
		t.Fatalf("%v, %v", o.tree, o.since)
	}
	apply := func(s *dbus.Signal, seconds int, want bool) {
		t.Helper()
		if got := o.apply(s, start.Add(time.Duration(seconds)*time.Second)); got != want {
			t.Errorf("apply(%v): got %v, want %v", s, got, want)
		}
	}
	apply(changed(eth0, gnm.DeviceInterface, properties{"Interface": dbus.MakeVariant("eth0")}), 1, true)
	if !o.since[eth0].Equal(start) {
		t.Error("another property than State changed the time of the state")
	}
	apply(changed(eth0, gnm.DeviceInterface, properties{"State": dbus.MakeVariant(uint32(40))}), 2, true)
	if state() != 40 || !o.since[eth0].Equal(start.Add(2*time.Second)) {
		t.Errorf("state %d since %s", state(), o.since[eth0])
	}
	apply(changed(eth0, gnm.DeviceInterface+".Statistics", properties{"State": dbus.MakeVariant(uint32(1))}), 3, false)
	apply(changed(eth1, gnm.DeviceInterface, properties{"State": dbus.MakeVariant(uint32(100))}), 3, false)
	if state() != 40 || o.has(eth1) {
		t.Error("a signal of another object or interface counted")
	}

	// As NetworkManager adds a DHCP4Config: empty first, then the lease.
	config := dbus.ObjectPath("/org/freedesktop/NetworkManager/DHCP4Config/1")
	for _, empty := range []properties{nil, {}} {
		apply(added(config, interfaces{gnm.DHCP4ConfigInterface: empty}), 4, true)
		apply(changed(config, gnm.DHCP4ConfigInterface, properties{"Options": dbus.MakeVariant(strs("routers", "10.1.1.1"))}), 4, true)
		if got := property[properties](o, config, gnm.DHCP4ConfigInterface, "Options")["routers"].Value(); got != "10.1.1.1" {
			t.Errorf("routers: %v", got)
		}
		apply(removed(config, gnm.DHCP4ConfigInterface), 5, true)
		if o.has(config) {
			t.Error("a removed object is still there")
		}
	}

	apply(added(eth0, interfaces{wiredIface: {}}), 6, true)
	apply(removed(eth0, wiredIface), 6, true)
	if !o.has(eth0) || state() != 40 {
		t.Error("a device went with one of its interfaces")
	}
	apply(removed(eth0, gnm.DeviceInterface, "never.seen"), 6, true)
	apply(removed(eth0, gnm.DeviceInterface), 6, true)
	if len(o.tree) != 0 || len(o.since) != 0 {
		t.Errorf("left: %v, %v", o.tree, o.since)
	}
}

// TestApplyMalformed: no body may harm, whatever it is made of. (A variant
// without a value cannot come over the wire.)
func TestApplyMalformed(t *testing.T) {
	values := []any{
		"", "x", uint32(7), int64(-1), true, 1.5, []byte{1}, []string{"a"}, []any{}, []any{"a", uint32(1)}, [][]any{{"a"}},
		dbus.ObjectPath("/"), eth0, dbus.MakeVariant(dbus.MakeVariant("x")), dbus.SignatureOf(""),
		map[string]string{gnm.DeviceInterface: "x"}, map[uint32]string{1: "x"}, map[string]dbus.Variant{},
		map[string]dbus.Variant{"State": dbus.MakeVariant(dbus.MakeVariant(dbus.MakeVariant(uint32(30))))},
		map[string]dbus.Variant{"State": dbus.MakeVariant([]string{"x"})},
		interfaces{gnm.DeviceInterface: {"State": dbus.MakeVariant("x"), "Interface": dbus.MakeVariant(uint32(1))}},
		map[string]dbus.Variant{gnm.DeviceInterface: dbus.MakeVariant("x")},
		map[string]map[string]string{gnm.DeviceInterface: {"State": "30"}},
		map[dbus.ObjectPath]interfaces{eth0: {}},
	}
	var bodies [][]any
	bodies = append(bodies, nil, []any{}, []any{"a", "b", "c", "d"})
	for _, first := range append(values, gnm.DeviceInterface) {
		bodies = append(bodies, []any{first})
		for _, second := range values {
			bodies = append(bodies, []any{first, second}, []any{first, second, []string{}}, []any{first, second, second})
		}
	}
	for _, name := range []string{"", "x.y", propsChanged, objectManager + ".InterfacesAdded", objectManager + ".InterfacesRemoved"} {
		for _, body := range bodies {
			w := world1(wired("eth0", eth0, 30))
			func() {
				defer func() {
					if p := recover(); p != nil {
						t.Errorf("%s%v: panic: %v", name, body, p)
					}
				}()
				w.objects.apply(signal(eth0, name, body...), now)
				w.track(now)
				w.decide(now)
			}()
		}
	}
}

func TestProperty(t *testing.T) {
	o := newObjects(map[dbus.ObjectPath]interfaces{eth0: {gnm.DeviceInterface: {
		"State": dbus.MakeVariant("30"), "Interface": dbus.MakeVariant("eth0"), "Empty": {},
	}}}, now)
	if got := property[uint32](o, eth0, gnm.DeviceInterface, "State"); got != 0 {
		t.Errorf("State of a text: %d", got)
	}
	if got := property[string](o, eth0, gnm.DeviceInterface, "Empty"); got != "" {
		t.Errorf("an empty variant: %q", got)
	}
	if got := property[string](o, eth0, gnm.DeviceInterface, "Interface"); got != "eth0" {
		t.Errorf("Interface: %q", got)
	}
	if got := property[string](o, eth1, "x", "y"); got != "" || o.startup() {
		t.Errorf("of nothing: %q", got)
	}
}
