package nmtest

import (
	gnm "github.com/Wifx/gonetworkmanager/v2"
	"github.com/godbus/dbus/v5"
)

// receive handles one message from the bus.
func (m *NM) receive(message *dbus.Message) {
	member := header(message, dbus.FieldMember)
	switch {
	case message.Type == dbus.TypeSignal && member == "NameAcquired" && len(message.Body) == 1 && message.Body[0] == Name:
		close(m.ready)
	case message.Type == dbus.TypeSignal && member == "NameOwnerChanged" && len(message.Body) == 3 && message.Body[2] == "":
		for path, a := range m.active { // a client went: what was bound to it goes
			if a.client == message.Body[0] {
				m.deactivate(path, gnm.NmDeviceStateDeactivating)
			}
		}
	case message.Type == dbus.TypeMethodCall:
		m.calls[member]++
		fault := m.faults[member]
		if fault.Hang {
			return
		}
		if fault.Until != nil && !m.hold(fault.Until) {
			return
		}
		switch {
		case fault.Error != "":
			m.answer(message, nil, dbus.NewError(fault.Error, []any{"the fake NetworkManager was told to refuse"}))
		case fault.Reply != nil:
			m.answer(message, fault.Reply, nil)
		default:
			m.call(message, member)
		}
	}
}

// hold waits without the lock, so that a test may look and act meanwhile. It
// reports whether NetworkManager is still the same one.
func (m *NM) hold(until <-chan struct{}) bool {
	conn := m.conn
	m.mu.Unlock()
	select {
	case <-until:
	case <-conn.Context().Done():
	}
	m.mu.Lock()
	return m.conn == conn
}

// call carries out a method. Its names and errors are NetworkManager's.
func (m *NM) call(message *dbus.Message, member string) {
	path := dbus.ObjectPath(header(message, dbus.FieldPath))
	switch member {
	case "GetManagedObjects":
		m.answer(message, []any{m.tree}, nil)
	case "AddAndActivateConnection2":
		m.addAndActivate(message)
	case "DeactivateConnection":
		var active dbus.ObjectPath
		if dbus.Store(message.Body, &active) != nil || m.active[active] == nil {
			m.refuse(message, ".ConnectionNotActive", "the connection is not active")
			return
		}
		m.answer(message, nil, nil)
		m.deactivate(active, gnm.NmDeviceStateDeactivating)
	case "Get", "GetAll":
		m.properties(message, path, member)
	case "GetConnectionByUuid":
		var uuid string
		_ = dbus.Store(message.Body, &uuid)
		if profile := m.profile(uuid); profile != "" {
			m.answer(message, []any{profile}, nil)
		} else {
			m.refuse(message, ".Settings.InvalidConnection", "No connection with the UUID was found.")
		}
	case "Update2":
		m.update(message, path)
	case "Delete":
		if _, ok := m.stored[path]; !ok {
			m.answer(message, nil, dbus.NewError("org.freedesktop.DBus.Error.UnknownMethod", []any{"no such object"}))
			return
		}
		m.answer(message, nil, nil)
		for active, a := range m.active {
			if a.profile == path {
				a.volatile = true
				m.deactivate(active, gnm.NmDeviceStateDeactivating)
			}
		}
		m.remove(path)
	default:
		m.answer(message, nil, dbus.NewError("org.freedesktop.DBus.Error.UnknownMethod", []any{"no method " + member}))
	}
}

func (m *NM) addAndActivate(message *dbus.Message) {
	var settings map[string]map[string]dbus.Variant
	var device, specific dbus.ObjectPath
	var options map[string]dbus.Variant
	if dbus.Store(message.Body, &settings, &device, &specific, &options) != nil {
		m.answer(message, nil, dbus.NewError("org.freedesktop.DBus.Error.InvalidArgs", []any{"wrong arguments"}))
		return
	}
	a := &activation{device: device, volatile: options["persist"].Value() == "volatile"}
	for name := range options {
		switch name {
		case "persist", "bind-activation":
		default:
			m.refuse(message, ".InvalidArguments", "unknown option "+name)
			return
		}
	}
	if options["bind-activation"].Value() == "dbus-client" {
		a.client = header(message, dbus.FieldSender)
	}
	a.id, _ = settings["connection"]["id"].Value().(string)
	a.uuid, _ = settings["connection"]["uuid"].Value().(string)
	props := m.tree[device][gnm.DeviceInterface]
	state, _ := props["State"].Value().(uint32)
	switch {
	case props == nil:
		m.refuse(message, ".UnknownDevice", "Device not found")
	case state < uint32(gnm.NmDeviceStateDisconnected):
		m.refuse(message, ".UnknownConnection", "No suitable connection: device has no carrier")
	case m.profile(a.uuid) != "":
		m.refuse(message, ".Settings.UuidExists", "A connection with this UUID already exists.")
	default:
		active := m.begin(a)
		m.answer(message, []any{a.profile, active, map[string]dbus.Variant{}}, nil)
		m.proceed(active)
	}
}

// update knows two sets of flags: 0x2, in memory, without "volatile" (0x10), and
// 0x41, to disk without changing the device.
func (m *NM) update(message *dbus.Message, path dbus.ObjectPath) {
	var settings map[string]map[string]dbus.Variant
	var flags uint32
	var args map[string]dbus.Variant
	err := dbus.Store(message.Body, &settings, &flags, &args)
	switch {
	case err == nil && flags == 0x2:
		m.keep(path, flagUnsaved, "/run/NetworkManager/system-connections/")
	case err == nil && flags == 0x41:
		m.keep(path, 0, "/etc/NetworkManager/system-connections/")
	default:
		m.answer(message, nil, dbus.NewError("org.freedesktop.DBus.Error.InvalidArgs", []any{"wrong arguments"}))
		return
	}
	m.answer(message, []any{map[string]dbus.Variant{}}, nil)
}

func (m *NM) refuse(message *dbus.Message, name, text string) {
	m.answer(message, nil, dbus.NewError(Name+name, []any{text}))
}

// answer sends a reply, or an error, at once: all signals before it are in it.
func (m *NM) answer(message *dbus.Message, body []any, failure *dbus.Error) {
	reply := &dbus.Message{Type: dbus.TypeMethodReply, Body: body, Headers: map[dbus.HeaderField]dbus.Variant{
		dbus.FieldDestination: message.Headers[dbus.FieldSender],
		dbus.FieldReplySerial: dbus.MakeVariant(message.Serial()),
	}}
	if failure != nil {
		reply.Type, reply.Body = dbus.TypeError, failure.Body
		reply.Headers[dbus.FieldErrorName] = dbus.MakeVariant(failure.Name)
	}
	if len(reply.Body) > 0 {
		reply.Headers[dbus.FieldSignature] = dbus.MakeVariant(dbus.SignatureOf(reply.Body...))
	}
	m.conn.Send(reply, nil)
}

func header(message *dbus.Message, field dbus.HeaderField) string {
	switch value := message.Headers[field].Value().(type) {
	case string:
		return value
	case dbus.ObjectPath:
		return string(value)
	}
	return ""
}

// properties answers org.freedesktop.DBus.Properties.
func (m *NM) properties(message *dbus.Message, path dbus.ObjectPath, member string) {
	iface, _ := message.Body[0].(string)
	props, ok := m.tree[path][iface]
	if !ok {
		m.answer(message, nil, dbus.NewError("org.freedesktop.DBus.Error.UnknownMethod", []any{"no such object"}))
		return
	}
	if member == "GetAll" {
		m.answer(message, []any{props}, nil)
		return
	}
	name, _ := message.Body[1].(string)
	if value, ok := props[name]; ok {
		m.answer(message, []any{value}, nil)
	} else {
		m.answer(message, nil, dbus.NewError("org.freedesktop.DBus.Error.InvalidArgs", []any{"no property " + name}))
	}
}
