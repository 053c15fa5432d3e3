package nm

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	gnm "github.com/Wifx/gonetworkmanager/v2"
	"github.com/godbus/dbus/v5"

	"github.com/nm-cloud-seed/nm-cloud-seed/internal/lease"
)

// maxDevices bounds how many devices are looked at; a VM has a handful.
const maxDevices = 64

// settle is how long a disconnected device with profiles of its own is left to
// NetworkManager's autoconnect, which acts within milliseconds or not at all;
// settleStartup, while NetworkManager is still starting (Manager.Startup), which
// takes seconds on an overloaded machine. An activation of ours would evict what
// autoconnect is just about to activate.
const (
	settle        = time.Second
	settleStartup = 5 * time.Second
)

// reask is when an unanswered DISCOVER of our own activation is asked again, by
// activating again: a lost first one would cost 2.7 s, NetworkManager's own
// first retransmission. It is not asked a third time: NetworkManager's next
// comes sooner than ours would, and each asking, theirs too, has a new
// transaction id, so that an OFFER of the one before is not heard any more.
var reask = []time.Duration{time.Second, 2 * time.Second}

// activation is a temporary connection of ours on a device.
type activation struct {
	active, profile dbus.ObjectPath
	uuid            string // the profile's
	adopted         bool   // from an earlier run, or an earlier NetworkManager
	handed          bool   // over to NetworkManager by an earlier run: it stays as it is
	seen            bool   // its objects have been in the mirror
	again           bool   // we are taking it down to ask again
}

// refusal says that an activation on a device was refused or has failed.
type refusal struct {
	err   error
	count int
	next  time.Time // not again before this
}

// refuse puts the next attempt off, longer each time.
func (w *world) refuse(path dbus.ObjectPath, err error, now time.Time) {
	no := w.refused[path]
	no.err, no.count = err, no.count+1
	no.next = now.Add(min(time.Second<<min(no.count-1, 4), 10*time.Second))
	w.refused[path] = no
}

var errEnded = errors.New("it was activated and has ended")

// world is everything a decision depends on.
type world struct {
	objects *objects
	mine    map[dbus.ObjectPath]*activation // by device, as the next two
	asked   map[dbus.ObjectPath]int         // how often a DISCOVER was asked again
	refused map[dbus.ObjectPath]refusal
	// leftover are connections of an earlier run that are being removed.
	leftover map[dbus.ObjectPath]bool
	index    func(name string) int // kernel interface index by name
	owner    bool                  // see Options.Owner
	patient  bool                  // see Options.Patient
	reask    []time.Duration       // see reask
	settled  bool                  // change nothing any more, but
	keep     map[string]bool       // what these devices have, by name
}

// plan is what follows from a world at one moment.
type plan struct {
	view     lease.View
	activate []dbus.ObjectPath // devices that get a temporary connection now
	again    []dbus.ObjectPath // devices whose temporary connection asks again
	wake     time.Time         // look again then, if nothing happens; zero: never
}

// decide looks at every device. It is a pure function of the world and the time.
func (w *world) decide(now time.Time) plan {
	p := plan{view: lease.View{Running: true, Starting: w.objects.startup()}}
	var devices []device
	for path, ifaces := range w.objects.tree {
		if _, ok := ifaces[gnm.DeviceInterface]; ok {
			if d := w.device(path); d.wired || d.carriesAddresses() {
				devices = append(devices, d)
			}
		}
	}
	// Oldest first, Devices/2 before Devices/10: containers bring many younger ones.
	slices.SortFunc(devices, func(a, b device) int {
		return cmp.Or(len(a.path)-len(b.path), strings.Compare(string(a.path), string(b.path)))
	})
	for _, d := range devices[:min(len(devices), maxDevices)] {
		w.look(&p, d, now)
	}
	p.view.Unmanaged = unmanaged(devices, p.view.Starting)
	slices.SortStableFunc(p.view.Leases, func(a, b lease.Lease) int { return a.Index - b.Index })
	slices.SortStableFunc(p.view.Devices, func(a, b lease.Device) int { return strings.Compare(a.Name, b.Name) })
	return p
}

// unmanaged returns the names of the wired devices if NetworkManager has settled and
// manages none of them, otherwise none.
func unmanaged(devices []device, starting bool) (names []string) {
	for _, d := range devices {
		switch {
		case !d.wired:
		case starting || d.state > gnm.NmDeviceStateUnmanaged:
			return nil
		default:
			names = append(names, d.name)
		}
	}
	slices.Sort(names)
	return names
}

// device is one device, read from the mirror.
type device struct {
	path       dbus.ObjectPath
	name       string
	kind       gnm.NmDeviceType
	state      gnm.NmDeviceState
	wired      bool // Ethernet, or veth, which is a type of its own (20) in NetworkManager
	active     dbus.ObjectPath
	connection string // the name of the active profile
	temporary  bool   // it is one of ours, this run's or another's
	port       bool   // of a bridge, bond or team, which has the address
	options    properties
	config     properties
	profiles   []dbus.ObjectPath // that could be activated here
}

func (w *world) device(path dbus.ObjectPath) device {
	o := w.objects
	get := func(name string) dbus.ObjectPath {
		return property[dbus.ObjectPath](o, path, gnm.DeviceInterface, name)
	}
	active := get("ActiveConnection")
	// The property is Controller since 1.44 and was Master before.
	controller := property[dbus.ObjectPath](o, active, gnm.ActiveConnectionInterface, "Controller") +
		property[dbus.ObjectPath](o, active, gnm.ActiveConnectionInterface, "Master")
	_, wired := o.tree[path][wiredIface]
	name := property[string](o, path, gnm.DeviceInterface, "Interface")
	return device{
		path:       path,
		name:       name,
		kind:       gnm.NmDeviceType(property[uint32](o, path, gnm.DeviceInterface, "DeviceType")),
		state:      gnm.NmDeviceState(property[uint32](o, path, gnm.DeviceInterface, "State")),
		wired:      wired,
		active:     active,
		connection: property[string](o, active, gnm.ActiveConnectionInterface, "Id"),
		temporary:  property[string](o, active, gnm.ActiveConnectionInterface, "Uuid") == connectionUUID(name),
		port:       strings.Trim(string(controller), "/") != "",
		options:    property[properties](o, get("Dhcp4Config"), gnm.DHCP4ConfigInterface, "Options"),
		config:     o.tree[get("Ip4Config")][gnm.IP4ConfigInterface],
		profiles:   property[[]dbus.ObjectPath](o, path, gnm.DeviceInterface, "AvailableConnections"),
	}
}

// carriesAddresses says whether a device that is not wired itself may have
// the lease of a wired one below it: it is read, never activated by us.
func (d device) carriesAddresses() bool {
	switch d.kind {
	case gnm.NmDeviceTypeBridge, gnm.NmDeviceTypeBond, gnm.NmDeviceTypeTeam, gnm.NmDeviceTypeVlan:
		return true
	}
	return false
}

// look adds what one device has, may get, or needs done.
func (w *world) look(p *plan, d device, now time.Time) {
	say := func(state lease.State, format string, args ...any) {
		p.view.Devices = append(p.view.Devices, lease.Device{Name: d.name, State: state, Detail: fmt.Sprintf(format, args...)})
	}
	mine := w.mine[d.path]
	if mine != nil && mine.active != d.active {
		mine = nil // taken over, or not yet in place
	}
	switch {
	case d.state <= gnm.NmDeviceStateUnmanaged && w.objects.startup():
		say(lease.Waiting, "NetworkManager is starting")
	case d.state <= gnm.NmDeviceStateUnmanaged:
		say(lease.Unusable, lease.Unmanaged)
	case d.state == gnm.NmDeviceStateUnavailable && w.objects.startup():
		say(lease.Waiting, "waiting for a carrier")
	case d.state == gnm.NmDeviceStateUnavailable:
		say(lease.Unusable, lease.NoCarrier)
	case d.state == gnm.NmDeviceStateDisconnected:
		w.lookDisconnected(p, d, now, say)
	case d.state == gnm.NmDeviceStateFailed:
		say(lease.Waiting, "the activation of %q failed", d.connection)
	case d.state == gnm.NmDeviceStateDeactivating:
		say(lease.Waiting, "%q is being deactivated", d.connection)
	case !w.objects.has(d.active): // between two states: what it has is as good as gone
		say(lease.Waiting, "its connection is changing")
	case w.leftover[d.active]:
		say(lease.Waiting, "removing a temporary connection that was left behind")
	default: // an activation in progress, or done
		l, ok := w.lease(d, mine != nil)
		switch {
		case ok:
			p.view.Leases = append(p.view.Leases, l)
			say(lease.Leased, "%s on %q", l.Address, d.connection)
		case d.port:
			say(lease.Unusable, "a port of another device")
		case d.state == gnm.NmDeviceStateActivated:
			// May-fail profiles get here without IPv4, and still get a lease if a server answers late.
			say(lease.Waiting, "%q is active without an IPv4 address", d.connection)
		case mine != nil:
			say(lease.Waiting, "asking for a lease (temporary connection)")
			w.lookUnanswered(p, mine, d, now)
		default:
			say(lease.Waiting, "%q is being activated", d.connection)
		}
	}
}

// lease reads what the device has. An address counts once NetworkManager has
// put it on the device, which is a few milliseconds after the options arrive.
func (w *world) lease(d device, temporary bool) (lease.Lease, bool) {
	l, ok := fromOptions(d.options)
	if ok {
		ok = false
		for _, prefix := range own(d.config) {
			if prefix.Addr() == l.Address.Addr() {
				l.Address, ok = prefix, true
			}
		}
	} else if d.state == gnm.NmDeviceStateActivated {
		l, ok = fromStatic(d.config)
	}
	l.Device, l.Temporary = d.name, temporary
	if ok {
		l.Index = w.index(d.name)
	}
	return l, ok
}

// autoconnects is until when NetworkManager may connect a device by itself.
func (w *world) autoconnects(d device) time.Time {
	limit := settle
	if w.objects.startup() {
		limit = settleStartup
	}
	return w.objects.since[d.path].Add(limit)
}

// lookDisconnected gives an idle wired device a temporary connection, once
// nothing else is coming for it.
func (w *world) lookDisconnected(p *plan, d device, now time.Time, say func(lease.State, string, ...any)) {
	if !d.wired {
		say(lease.Unusable, lease.NotConnected)
		return
	}
	if mine := w.mine[d.path]; mine != nil { // ours is still on its way up or down
		say(lease.Waiting, "waiting for NetworkManager")
		return
	}
	no, refused := w.refused[d.path]
	switch {
	case w.settled && !w.keep[d.name]:
		say(lease.Unusable, lease.NotConnected)
		return
	case refused && now.Before(no.next):
		state := lease.Waiting
		if no.count > 3 { // others need not wait for this one any more
			state = lease.Unusable
		}
		say(state, "no temporary connection yet: %v", no.err)
		p.wakeAt(no.next)
		return
	case w.patient && len(d.profiles) > 0:
		say(lease.Waiting, "not connected, and left to its own profiles")
		return
	case len(d.profiles) > 0 && now.Before(w.autoconnects(d)):
		say(lease.Waiting, "waiting for NetworkManager to connect it")
		p.wakeAt(w.autoconnects(d))
		return
	}
	say(lease.Waiting, "activating a temporary connection")
	p.activate = append(p.activate, d.path)
}

// lookUnanswered asks again on a temporary connection without a lease. The
// first DISCOVER goes out when the device gets to IP configuration.
//
// It leaves that to NetworkManager where there is another profile for the
// device: asking again leaves the device idle for a moment, and if somebody
// activates theirs just then, our next activation evicts it.
func (w *world) lookUnanswered(p *plan, mine *activation, d device, now time.Time) {
	asked := w.asked[d.path]
	others := func(profile dbus.ObjectPath) bool { return profile != mine.profile }
	if w.settled || mine.adopted || mine.again || asked >= len(w.reask) || d.state != gnm.NmDeviceStateIpConfig || slices.ContainsFunc(d.profiles, others) {
		return
	}
	if due := w.objects.since[d.path].Add(w.reask[asked]); now.Before(due) {
		p.wakeAt(due)
	} else if len(d.options) == 0 {
		p.again = append(p.again, d.path)
	}
}

func (p *plan) wakeAt(t time.Time) {
	if p.wake.IsZero() || t.Before(p.wake) {
		p.wake = t
	}
}

// track follows our own activations, after each signal: one whose objects have
// gone is over, whether it failed, we took it down or somebody put another in
// its place, who is not to be fought.
//
// One whose profile somebody has saved meanwhile is theirs.
//
// Once settled, the owner takes what it keeps up again from a NetworkManager
// that restarted, for the VM may have nothing else. An adopted one that was
// handed over comes back by itself, as another activation of its profile.
func (w *world) track(now time.Time) {
	if w.owner && w.settled {
		for path, ifaces := range w.objects.tree {
			if _, wired := ifaces[wiredIface]; wired && w.mine[path] == nil {
				if d := w.device(path); w.keep[d.name] {
					w.adopt(d)
				}
			}
		}
	}
	for path, mine := range w.mine {
		if d := w.device(path); mine.adopted && d.temporary && w.profile(d) == mine.profile {
			mine.active = d.active
		}
	}
	for path, mine := range w.mine {
		if saved(property[string](w.objects, mine.profile, gnm.ConnectionInterface, "Filename")) {
			delete(w.mine, path)
			continue
		}
		switch present := w.objects.has(mine.active) || w.objects.has(mine.profile); {
		case present:
			mine.seen = true
			if property[uint32](w.objects, path, gnm.DeviceInterface, "State") == uint32(gnm.NmDeviceStateActivated) {
				delete(w.refused, path)
			}
		case mine.seen:
			delete(w.mine, path)
			if !mine.again {
				delete(w.asked, path)
				w.refuse(path, errEnded, now)
			}
		}
	}
}

// profile is that of a device's active connection.
func (w *world) profile(d device) dbus.ObjectPath {
	return property[dbus.ObjectPath](w.objects, d.active, gnm.ActiveConnectionInterface, "Connection")
}

// volatileFlag is NM_SETTINGS_CONNECTION_FLAG_VOLATILE of nm-dbus-interface.h:
// the profile goes with its connection.
const volatileFlag = uint32(0x4)

// handedOver says whether the temporary connection on a device is one that was
// handed over. One that was not is volatile, also to a NetworkManager that
// restarted.
func (w *world) handedOver(d device) bool {
	return d.temporary && property[uint32](w.objects, w.profile(d), gnm.ConnectionInterface, "Flags")&volatileFlag == 0
}

// replaced says whether another connection has taken the device of one of ours.
func (w *world) replaced(d device, mine *activation) bool {
	return w.objects.has(d.active) && mine.active != d.active
}

// adopt takes a temporary connection that is on a device for ours, as it is,
// unless somebody has saved its profile.
func (w *world) adopt(d device) bool {
	profile := w.profile(d)
	if !d.temporary || saved(property[string](w.objects, profile, gnm.ConnectionInterface, "Filename")) {
		return false
	}
	w.mine[d.path] = &activation{active: d.active, profile: profile, uuid: connectionUUID(d.name), adopted: true, handed: w.handedOver(d), seen: true}
	return true
}
