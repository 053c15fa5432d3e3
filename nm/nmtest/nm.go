package nmtest

import (
	"errors"
	"maps"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	gnm "github.com/Wifx/gonetworkmanager/v2"
	"github.com/godbus/dbus/v5"
)

// The names that NetworkManager's objects have and gonetworkmanager lacks.
const (
	Name          = gnm.NetworkManagerInterface
	Root          = dbus.ObjectPath(gnm.NetworkManagerObjectPath)
	WiredIface    = gnm.DeviceInterface + ".Wired"
	objectManager = "org.freedesktop.DBus.ObjectManager"
	propsChanged  = "org.freedesktop.DBus.Properties.PropertiesChanged"
)

// NMSettingsConnectionFlags of nm-dbus-interface.h.
const (
	flagUnsaved  = uint32(0x1)
	flagVolatile = uint32(0x4)
)

// Interfaces are the interfaces of one object with their properties.
type Interfaces = map[string]map[string]dbus.Variant

// Fault is what is wrong with one method.
type Fault struct {
	Hang  bool            // never answers, does nothing
	Until <-chan struct{} // is closed before it does anything, which holds up all further calls
	Error string          // the name of a D-Bus error
	Reply []any           // answers with this, does nothing
}

// NM is a fake NetworkManager. As the real one it has one thread of work: what
// it says is in the order in which it happened.
type NM struct {
	t      testing.TB
	bus    *Daemon
	mu     sync.Mutex
	conn   *dbus.Conn
	ready  chan struct{} // closed when it has its name
	tree   map[dbus.ObjectPath]Interfaces
	count  int // of objects
	faults map[string]Fault
	calls  map[string]int
	lines  map[string]*line
	active map[dbus.ObjectPath]*activation
	stored map[dbus.ObjectPath]profile
}

type profile struct {
	uuid   string
	device dbus.ObjectPath // that it is for
}

// hangLimit is far beyond what the bus takes for an answer on any machine.
const hangLimit = 5 * time.Minute

// line is what is at the other end of a device's cable.
type line struct {
	device dbus.ObjectPath
	lease  *Lease // nil: no DHCP server
	deaf   int    // so many activations get no answer
	broken bool   // activations fail
}

// New starts a NetworkManager without devices on the bus.
func New(t testing.TB, bus *Daemon) *NM {
	m := &NM{t: t, bus: bus, faults: map[string]Fault{}, calls: map[string]int{}, lines: map[string]*line{},
		active: map[dbus.ObjectPath]*activation{}, stored: map[dbus.ObjectPath]profile{},
		tree: map[dbus.ObjectPath]Interfaces{Root: {Name: variants(map[string]any{"Startup": false})}}}
	m.Start()
	t.Cleanup(m.Stop)
	return m
}

// Start puts NetworkManager on the bus, under a new unique name.
func (m *NM) Start() {
	m.t.Helper()
	conn, err := m.bus.Dial()
	if err == nil {
		err = conn.AddMatchSignal(dbus.WithMatchMember("NameOwnerChanged"))
	}
	if err != nil {
		m.t.Fatalf("cannot start the fake NetworkManager: %v", err)
	}
	// All messages come by one channel, in order; even the answer to a call of
	// our own. So there is none from here on.
	messages := make(chan *dbus.Message, 4096)
	conn.Eavesdrop(messages)
	ready := make(chan struct{})
	m.mu.Lock()
	m.conn, m.ready = conn, ready
	m.mu.Unlock()
	go func() {
		for {
			select {
			case <-conn.Context().Done():
				return
			case message, ok := <-messages:
				if !ok {
					return
				}
				m.mu.Lock()
				if m.conn == conn {
					m.receive(message)
				}
				m.mu.Unlock()
			}
		}
	}()
	conn.BusObject().Go("org.freedesktop.DBus.RequestName", dbus.FlagNoReplyExpected, nil, Name, uint32(4))
	select {
	case <-ready:
	case <-time.After(hangLimit):
		m.t.Fatal("the fake NetworkManager did not get its name")
	}
}

// Stop takes NetworkManager off the bus. Its objects stay, as those of the real
// one do over a restart; that they were bound to a client is forgotten.
func (m *NM) Stop() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.conn == nil {
		return
	}
	for _, a := range m.active {
		a.client = ""
	}
	m.conn.Eavesdrop(nil) // Close would close the channel under a sender
	_ = m.conn.Close()
	m.conn = nil
}

// Fail breaks a method, named without its interface; Fault{} mends it. Calls
// that hang already stay so.
func (m *NM) Fail(method string, f Fault) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.faults[method] = f
}

// Calls says how often a method was called.
func (m *NM) Calls(method string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.calls[method]
}

// Has says whether a profile with this UUID exists.
func (m *NM) Has(uuid string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.profile(uuid) != ""
}

func (m *NM) profile(uuid string) dbus.ObjectPath {
	for path, p := range m.stored {
		if p.uuid == uuid {
			return path
		}
	}
	return ""
}

// available tells which profiles could be activated on a device.
func (m *NM) available(device dbus.ObjectPath) {
	paths := []dbus.ObjectPath{}
	for path, p := range m.stored {
		if p.device == device {
			paths = append(paths, path)
		}
	}
	m.set(device, gnm.DeviceInterface, map[string]any{"AvailableConnections": paths})
}

// AddDevice adds an idle Ethernet device and changes the given properties of it. As a
// bridge it is not wired.
func (m *NM) AddDevice(name string, properties map[string]any) dbus.ObjectPath {
	m.mu.Lock()
	defer m.mu.Unlock()
	props := map[string]any{
		"Interface": name, "DeviceType": uint32(gnm.NmDeviceTypeEthernet), "Managed": true,
		"State":            uint32(gnm.NmDeviceStateDisconnected),
		"ActiveConnection": dbus.ObjectPath("/"), "Dhcp4Config": dbus.ObjectPath("/"), "Ip4Config": dbus.ObjectPath("/"),
		"AvailableConnections": []dbus.ObjectPath{},
	}
	maps.Copy(props, properties)
	ifaces := Interfaces{gnm.DeviceInterface: variants(props)}
	if props["DeviceType"] != uint32(gnm.NmDeviceTypeBridge) {
		ifaces[WiredIface] = variants(map[string]any{"Carrier": true})
	}
	path := m.add("Devices", ifaces)
	m.lines[name] = &line{device: path}
	return path
}

// Set changes properties and tells of it.
func (m *NM) Set(path dbus.ObjectPath, iface string, properties map[string]any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.set(path, iface, properties)
}

func (m *NM) set(path dbus.ObjectPath, iface string, properties map[string]any) {
	changed := variants(properties)
	if props := m.tree[path][iface]; props != nil {
		maps.Copy(props, changed)
	}
	m.emit(path, propsChanged, iface, changed, []string{})
}

// Emit sends any signal.
func (m *NM) Emit(path dbus.ObjectPath, name string, body ...any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.emit(path, name, body...)
}

// Flood sends that many signals that concern nobody.
func (m *NM) Flood(count int) {
	for i := range count {
		m.Emit(Root+"/Devices/1", propsChanged, gnm.DeviceInterface+".Statistics",
			variants(map[string]any{"RxBytes": uint64(i)}), []string{})
	}
}

func (m *NM) emit(path dbus.ObjectPath, name string, body ...any) {
	if m.conn == nil || !m.conn.Connected() {
		return
	}
	// A bus that is stopped meanwhile shows in the write before it does in Connected.
	err := m.conn.Emit(path, name, body...)
	if err != nil && m.conn.Connected() && !errors.Is(err, syscall.EPIPE) {
		m.t.Errorf("the fake NetworkManager cannot send %s: %v", name, err)
	}
}

func (m *NM) add(kind string, ifaces Interfaces) dbus.ObjectPath {
	m.count++
	path := Root + dbus.ObjectPath("/"+kind+"/"+strconv.Itoa(m.count))
	m.tree[path] = ifaces
	m.emit("/org/freedesktop", objectManager+".InterfacesAdded", path, ifaces)
	return path
}

func (m *NM) remove(path dbus.ObjectPath) {
	if ifaces, ok := m.tree[path]; ok {
		names := make([]string, 0, len(ifaces))
		for name := range ifaces {
			names = append(names, name)
		}
		delete(m.tree, path)
		m.emit("/org/freedesktop", objectManager+".InterfacesRemoved", path, names)
		if p, ok := m.stored[path]; ok {
			delete(m.stored, path)
			m.available(p.device)
		}
	}
}

func variants(properties map[string]any) map[string]dbus.Variant {
	result := make(map[string]dbus.Variant, len(properties))
	for name, value := range properties {
		result[name] = dbus.MakeVariant(value)
	}
	return result
}
