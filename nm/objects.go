package nm

import (
	"time"

	gnm "github.com/Wifx/gonetworkmanager/v2"
	"github.com/godbus/dbus/v5"
)

// objects mirrors the part of NetworkManager's object tree that decisions need:
//
//	/org/freedesktop/NetworkManager        Startup
//	 ├─ Devices/N                          State, Managed, Interface, …
//	 │   ├─ ActiveConnection ─▶ ActiveConnection/N   Id, Controller
//	 │   ├─ Dhcp4Config      ─▶ DHCP4Config/N        Options (the lease)
//	 │   ├─ Ip4Config        ─▶ IP4Config/N          AddressData, Gateway, …
//	 │   └─ AvailableConnections ─▶ Settings/N
//	 └─ Settings/N                         a profile
//
// It is filled by org.freedesktop.DBus.ObjectManager.GetManagedObjects and
// follows its signals, as libnm does; so a decision never waits for a getter,
// and a signal of another device cannot be mistaken for one of ours.
// See NetworkManager's D-Bus API reference, "D-Bus interfaces".
type objects struct {
	tree  map[dbus.ObjectPath]interfaces
	since map[dbus.ObjectPath]time.Time // of a device's current state
}

type (
	properties = map[string]dbus.Variant
	interfaces = map[string]properties
)

// Interfaces that the mirror keeps and gonetworkmanager has no names for.
const (
	managerIface    = gnm.NetworkManagerInterface
	settingsPath    = dbus.ObjectPath(gnm.NetworkManagerObjectPath + "/Settings")
	wiredIface      = gnm.DeviceInterface + ".Wired"
	objectManager   = "org.freedesktop.DBus.ObjectManager"
	propertiesIface = "org.freedesktop.DBus.Properties"
	propsChanged    = propertiesIface + ".PropertiesChanged"
)

func kept(iface string) bool {
	switch iface {
	case managerIface, gnm.DeviceInterface, wiredIface, gnm.ActiveConnectionInterface,
		gnm.DHCP4ConfigInterface, gnm.IP4ConfigInterface, gnm.ConnectionInterface:
		return true
	}
	return false
}

// newObjects takes the answer of GetManagedObjects.
func newObjects(tree map[dbus.ObjectPath]interfaces, now time.Time) *objects {
	o := &objects{tree: map[dbus.ObjectPath]interfaces{}, since: map[dbus.ObjectPath]time.Time{}}
	for path, ifaces := range tree {
		o.add(path, ifaces, now)
	}
	return o
}

func (o *objects) add(path dbus.ObjectPath, ifaces interfaces, now time.Time) {
	for name, props := range ifaces {
		if !kept(name) {
			continue
		}
		if o.tree[path] == nil {
			o.tree[path] = interfaces{}
		}
		if props == nil {
			props = properties{}
		}
		o.tree[path][name] = props
		if name == gnm.DeviceInterface {
			o.since[path] = now
		}
	}
}

// apply takes in one signal and says whether it changed anything that counts.
// A signal of another shape than NetworkManager's is passed over.
func (o *objects) apply(s *dbus.Signal, now time.Time) bool {
	switch s.Name {
	case objectManager + ".InterfacesAdded":
		var path dbus.ObjectPath
		var ifaces interfaces
		if dbus.Store(s.Body, &path, &ifaces) != nil {
			return false
		}
		o.add(path, ifaces, now)
		return true
	case objectManager + ".InterfacesRemoved":
		var path dbus.ObjectPath
		var names []string
		if dbus.Store(s.Body, &path, &names) != nil {
			return false
		}
		for _, name := range names {
			delete(o.tree[path], name)
		}
		if len(o.tree[path]) == 0 {
			delete(o.tree, path)
			delete(o.since, path)
		}
		return true
	case propsChanged:
		var name string
		var changed properties
		var invalidated []string
		if dbus.Store(s.Body, &name, &changed, &invalidated) != nil {
			return false
		}
		props, ok := o.tree[s.Path][name]
		if !ok {
			return false
		}
		for key, value := range changed {
			if key == "State" && name == gnm.DeviceInterface {
				o.since[s.Path] = now
			}
			props[key] = value
		}
		return true
	}
	return false
}

// property reads one property; the zero value if it is missing or of another type.
func property[T any](o *objects, path dbus.ObjectPath, iface, name string) T {
	var value T
	if v, ok := o.tree[path][iface][name]; ok {
		value, _ = v.Value().(T)
	}
	return value
}

// startup says whether NetworkManager is still settling its devices. It may
// stay true for a long time (a NIC without carrier, a profile without a
// server): a hint, never a gate.
func (o *objects) startup() bool {
	return property[bool](o, gnm.NetworkManagerObjectPath, managerIface, "Startup")
}

func (o *objects) has(path dbus.ObjectPath) bool { _, ok := o.tree[path]; return ok }
