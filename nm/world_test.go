package nm

import (
	"errors"
	"strings"
	"time"

	gnm "github.com/Wifx/gonetworkmanager/v2"
	"github.com/godbus/dbus/v5"
)

// now is the moment of all decisions; worlds begin at it.
var now = time.Unix(1_000_000, 0)

// part is one thing in a world.
type part func(*world)

// world1 builds a world.
func world1(parts ...part) *world {
	w := &world{
		objects: newObjects(map[dbus.ObjectPath]interfaces{gnm.NetworkManagerObjectPath: {managerIface: {"Startup": dbus.MakeVariant(false)}}}, now),
		mine:    map[dbus.ObjectPath]*activation{}, asked: map[dbus.ObjectPath]int{}, refused: map[dbus.ObjectPath]refusal{},
		index:    func(name string) int { return strings.Index("0123456789", strings.TrimPrefix(name, "eth")) + 1 },
		leftover: map[dbus.ObjectPath]bool{},
		reask:    reask,
	}
	for _, p := range parts {
		p(w)
	}
	return w
}

func startup(w *world) {
	w.objects.tree[gnm.NetworkManagerObjectPath][managerIface]["Startup"] = dbus.MakeVariant(true)
}
func settled(w *world) { w.settled = true }
func patient(w *world) { w.patient = true }

// wired is an Ethernet device without anything; what it has follows.
func wired(name string, path dbus.ObjectPath, state uint32, has ...func(*world, dbus.ObjectPath)) part {
	return func(w *world) {
		w.objects.add(path, interfaces{wiredIface: {}, gnm.DeviceInterface: {
			"Interface": dbus.MakeVariant(name), "State": dbus.MakeVariant(state), "DeviceType": dbus.MakeVariant(uint32(gnm.NmDeviceTypeEthernet)),
		}}, now)
		for _, h := range has {
			h(w, path)
		}
	}
}

type has = func(*world, dbus.ObjectPath)

func sets(name string, value any) has {
	return func(w *world, path dbus.ObjectPath) {
		w.objects.tree[path][gnm.DeviceInterface][name] = dbus.MakeVariant(value)
	}
}

// kind makes it a device of another type, that is not wired.
func kind(k gnm.NmDeviceType) has {
	return func(w *world, path dbus.ObjectPath) {
		delete(w.objects.tree[path], wiredIface)
		sets("DeviceType", uint32(k))(w, path)
	}
}

func since(ago time.Duration) has {
	return func(w *world, path dbus.ObjectPath) { w.objects.since[path] = now.Add(-ago) }
}

func profiles(w *world, path dbus.ObjectPath) {
	sets("AvailableConnections", []dbus.ObjectPath{"/org/freedesktop/NetworkManager/Settings/1"})(w, path)
}

// active puts a connection on a device.
func active(id, uuid string) has {
	return func(w *world, path dbus.ObjectPath) {
		w.objects.add("/A"+path, interfaces{gnm.ActiveConnectionInterface: strs("Id", id, "Uuid", uuid)}, now)
		sets("ActiveConnection", "/A"+path)(w, path)
	}
}

func theirs(w *world, path dbus.ObjectPath) { active("Wired 1", "some-other-uuid")(w, path) }

// leftover is a connection of ours that this run knows nothing of.
func leftover(w *world, path dbus.ObjectPath) {
	name := property[string](w.objects, path, gnm.DeviceInterface, "Interface")
	active("nm-cloud-seed "+name, connectionUUID(name))(w, path)
}

func removing(w *world, path dbus.ObjectPath) { w.leftover["/A"+path] = true }

func ours(w *world, path dbus.ObjectPath) {
	leftover(w, path)
	w.mine[path] = &activation{active: "/A" + path, profile: "/P" + path, seen: true}
}

// isPort makes the active connection one of a port, under either name of the property.
func isPort(property string) has {
	return func(w *world, path dbus.ObjectPath) {
		w.objects.tree["/A"+path][gnm.ActiveConnectionInterface][property] = dbus.MakeVariant(dbus.ObjectPath("/org/freedesktop/NetworkManager/ActiveConnection/9"))
	}
}

func asked(count int) has {
	return func(w *world, path dbus.ObjectPath) { w.asked[path] = count }
}

func options(pairs ...string) has {
	return func(w *world, path dbus.ObjectPath) {
		w.objects.add("/D"+path, interfaces{gnm.DHCP4ConfigInterface: {"Options": dbus.MakeVariant(strs(pairs...))}}, now)
		sets("Dhcp4Config", "/D"+path)(w, path)
	}
}

func dhcp(w *world, path dbus.ObjectPath) {
	options("ip_address", "10.1.1.2", "subnet_mask", "255.255.255.0", "dhcp_server_identifier", "10.1.1.1", "routers", "10.1.1.1")(w, path)
}

func address(text string, more properties) has {
	return func(w *world, path dbus.ObjectPath) {
		config := addressData(text, uint32(24))
		for name, value := range more {
			config[name] = value
		}
		w.objects.add("/I"+path, interfaces{gnm.IP4ConfigInterface: config}, now)
		sets("Ip4Config", "/I"+path)(w, path)
	}
}

func refusedUntil(after time.Duration) has {
	return func(w *world, path dbus.ObjectPath) {
		w.refused[path] = refusal{err: errors.New("not you"), count: 1, next: now.Add(after)}
	}
}

// retake puts another connection of ours' place.
func retake(w *world, path dbus.ObjectPath) {
	w.objects.add("/B"+path, interfaces{gnm.ActiveConnectionInterface: strs("Id", "Wired 1", "Uuid", "some-other-uuid")}, now)
	sets("ActiveConnection", "/B"+path)(w, path)
}
