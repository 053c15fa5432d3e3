package nmtest

import (
	"net/netip"

	gnm "github.com/Wifx/gonetworkmanager/v2"
	"github.com/godbus/dbus/v5"
)

// Lease is what a DHCP server gives.
type Lease struct {
	Address netip.Prefix
	Options map[string]string // further ones, under NetworkManager's names
}

// activation is one active connection.
type activation struct {
	device, profile, dhcp, ip dbus.ObjectPath
	id, uuid                  string
	volatile                  bool
	client                    string // whose end ends it
}

// Serve puts a DHCP server on a device's network (nil: takes it away) that
// leaves the next activations without an answer. An activation that waits for
// one has it at once.
func (m *NM) Serve(device string, lease *Lease, deaf int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	l := m.lines[device]
	l.lease, l.deaf = lease, deaf
	path, _ := m.tree[l.device][gnm.DeviceInterface]["ActiveConnection"].Value().(dbus.ObjectPath)
	if a := m.active[path]; a != nil && a.dhcp == "" {
		m.answerDiscover(path, a)
	}
}

// Activate activates a profile as somebody else would, or an earlier run of
// ours did.
func (m *NM) Activate(device, id, uuid string, volatile bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.proceed(m.begin(&activation{device: m.lines[device].device, id: id, uuid: uuid, volatile: volatile}))
}

// Save adds a profile that is not active, saved in a file.
func (m *NM) Save(device, uuid, file string) dbus.ObjectPath {
	m.mu.Lock()
	defer m.mu.Unlock()
	path := m.add("Settings", Interfaces{gnm.ConnectionInterface: variants(map[string]any{"Unsaved": false, "Filename": file})})
	m.stored[path] = profile{uuid: uuid, device: m.lines[device].device}
	return path
}

// SaveActive saves the profile that is active on a device, as an editor does.
func (m *NM) SaveActive(device string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	path, _ := m.tree[m.lines[device].device][gnm.DeviceInterface]["ActiveConnection"].Value().(dbus.ObjectPath)
	m.keep(m.active[path].profile, 0, "/etc/NetworkManager/system-connections/")
}

// keep makes a profile one that outlives its connection, with a file in dir.
func (m *NM) keep(path dbus.ObjectPath, flags uint32, dir string) {
	for _, a := range m.active {
		if a.profile == path {
			a.volatile = false
		}
	}
	m.set(path, gnm.ConnectionInterface, map[string]any{
		"Flags": flags, "Unsaved": flags&flagUnsaved != 0, "Filename": dir + m.stored[path].uuid + ".nmconnection",
	})
}

// Break lets every activation on a device fail at once.
func (m *NM) Break(device string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lines[device].broken = true
}

// Drop ends the activation on a device as an expired lease does.
func (m *NM) Drop(device string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	path, _ := m.tree[m.lines[device].device][gnm.DeviceInterface]["ActiveConnection"].Value().(dbus.ObjectPath)
	m.deactivate(path, gnm.NmDeviceStateFailed)
}

// begin is what happens before NetworkManager answers AddAndActivateConnection2.
func (m *NM) begin(a *activation) dbus.ObjectPath {
	flags := flagUnsaved
	if a.volatile {
		flags |= flagVolatile
	}
	a.profile = m.add("Settings", Interfaces{gnm.ConnectionInterface: variants(map[string]any{
		"Unsaved": true, "Flags": flags, "Filename": "/run/NetworkManager/system-connections/" + a.uuid + ".nmconnection",
	})})
	m.stored[a.profile] = profile{uuid: a.uuid, device: a.device}
	m.available(a.device)
	active := m.add("ActiveConnection", Interfaces{gnm.ActiveConnectionInterface: variants(map[string]any{
		"Id": a.id, "Uuid": a.uuid, "Connection": a.profile, "Devices": []dbus.ObjectPath{a.device}, "Controller": dbus.ObjectPath("/"),
	})})
	m.active[active] = a
	return active
}

// proceed is what happens after that. What was active on the device goes first.
func (m *NM) proceed(active dbus.ObjectPath) {
	a := m.active[active]
	old, _ := m.tree[a.device][gnm.DeviceInterface]["ActiveConnection"].Value().(dbus.ObjectPath)
	m.deactivate(old, gnm.NmDeviceStateDeactivating)
	m.set(a.device, gnm.DeviceInterface, map[string]any{"ActiveConnection": active, "State": uint32(gnm.NmDeviceStatePrepare)})
	m.state(a, gnm.NmDeviceStateConfig)
	for _, l := range m.lines {
		if l.device == a.device && l.broken {
			m.deactivate(active, gnm.NmDeviceStateFailed)
			return
		}
	}
	m.state(a, gnm.NmDeviceStateIpConfig)
	m.answerDiscover(active, a)
}

// answerDiscover brings the lease, if there is one to be had.
func (m *NM) answerDiscover(active dbus.ObjectPath, a *activation) {
	name, _ := m.tree[a.device][gnm.DeviceInterface]["Interface"].Value().(string)
	l := m.lines[name]
	if l == nil || l.lease == nil {
		return
	}
	if l.deaf > 0 {
		l.deaf--
		return
	}
	options := map[string]dbus.Variant{
		"ip_address":  dbus.MakeVariant(l.lease.Address.Addr().String()),
		"subnet_mask": dbus.MakeVariant("255.255.255.0"),
	}
	for key, value := range l.lease.Options {
		options[key] = dbus.MakeVariant(value)
	}
	a.dhcp = m.add("DHCP4Config", Interfaces{gnm.DHCP4ConfigInterface: variants(map[string]any{"Options": map[string]dbus.Variant{}})})
	m.set(a.device, gnm.DeviceInterface, map[string]any{"Dhcp4Config": a.dhcp})
	m.set(a.dhcp, gnm.DHCP4ConfigInterface, map[string]any{"Options": options})
	a.ip = m.add("IP4Config", Interfaces{gnm.IP4ConfigInterface: {}})
	m.set(a.device, gnm.DeviceInterface, map[string]any{"Ip4Config": a.ip})
	m.set(a.ip, gnm.IP4ConfigInterface, map[string]any{"AddressData": []map[string]dbus.Variant{{
		"address": dbus.MakeVariant(l.lease.Address.Addr().String()),
		"prefix":  dbus.MakeVariant(uint32(l.lease.Address.Bits())),
	}}})
	m.state(a, gnm.NmDeviceStateIpCheck)
	m.state(a, gnm.NmDeviceStateSecondaries)
	m.state(a, gnm.NmDeviceStateActivated)
	m.set(active, gnm.ActiveConnectionInterface, map[string]any{"State": uint32(2)})
}

func (m *NM) state(a *activation, state gnm.NmDeviceState) {
	m.set(a.device, gnm.DeviceInterface, map[string]any{"State": uint32(state)})
}

// deactivate takes an active connection down, by way of the given state.
func (m *NM) deactivate(active dbus.ObjectPath, by gnm.NmDeviceState) {
	a := m.active[active]
	if a == nil {
		return
	}
	delete(m.active, active)
	m.state(a, by)
	m.set(a.device, gnm.DeviceInterface, map[string]any{
		"State":            uint32(gnm.NmDeviceStateDisconnected),
		"ActiveConnection": dbus.ObjectPath("/"), "Dhcp4Config": dbus.ObjectPath("/"), "Ip4Config": dbus.ObjectPath("/"),
	})
	m.remove(active)
	m.remove(a.dhcp)
	m.remove(a.ip)
	if a.volatile {
		m.remove(a.profile)
	}
}
