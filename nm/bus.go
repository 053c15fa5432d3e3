package nm

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	gnm "github.com/Wifx/gonetworkmanager/v2"
	"github.com/godbus/dbus/v5"
)

// callTimeout bounds one D-Bus call. NetworkManager answers within
// milliseconds; one that is stopped would otherwise hold us for good.
const callTimeout = 5 * time.Second

// bus is our own connection to the system bus. Everything that must vanish with
// us (a bound activation) hangs on it, so it is never shared: gonetworkmanager's
// calls all go over dbus.SystemBus() and take no context, which is why only its
// names and types are used.
type bus struct {
	conn    *dbus.Conn
	signals chan *dbus.Signal // closed when the connection is lost
	named   dbus.Sequence     // of the answer about NetworkManager's owner
	limit   time.Duration     // of one call
}

// dialer connects to a bus: dbus.ConnectSystemBus, which means
// DBUS_SYSTEM_BUS_ADDRESS or the standard socket.
type dialer func(...dbus.ConnOption) (*dbus.Conn, error)

// connect dials the bus and follows the owner of NetworkManager's name. The limit
// bounds the handshake and each call.
func connect(ctx context.Context, dial dialer, limit time.Duration) (*bus, error) {
	// Only the handshake hangs on the caller's context: at the end the
	// connection must still carry the goodbye to our activations.
	life, cancel := context.WithCancel(context.WithoutCancel(ctx))
	handshake, done := context.WithTimeout(ctx, limit)
	defer done()
	stop := context.AfterFunc(handshake, cancel)
	conn, err := dial(dbus.WithContext(life), dbus.WithSignalHandler(dbus.NewSequentialSignalHandler()))
	if !stop() && err == nil {
		err = handshake.Err()
	}
	if err != nil {
		cancel()
		return nil, fmt.Errorf("cannot connect to the system bus: %w", err)
	}
	b := &bus{conn: conn, signals: make(chan *dbus.Signal, 64), limit: limit}
	conn.Signal(b.signals)
	err = b.match(ctx,
		dbus.WithMatchSender("org.freedesktop.DBus"), dbus.WithMatchInterface("org.freedesktop.DBus"),
		dbus.WithMatchMember("NameOwnerChanged"), dbus.WithMatchArg(0, managerIface))
	if err == nil {
		// One rule for the whole tree; the mirror sorts by object path.
		err = b.match(ctx, dbus.WithMatchSender(managerIface), dbus.WithMatchPathNamespace("/org/freedesktop"))
	}
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("cannot subscribe to NetworkManager's signals: %w", err)
	}
	return b, nil
}

func (b *bus) match(ctx context.Context, options ...dbus.MatchOption) error {
	ctx, cancel := context.WithTimeout(ctx, b.limit)
	defer cancel()
	return b.conn.AddMatchSignalContext(ctx, options...)
}

// call calls a method and stores its results. Calls to NetworkManager go to the
// unique name of its owner, so that they never start it by bus activation and
// never reach its successor with the object paths of its predecessor.
func (b *bus) call(ctx context.Context, dest string, path dbus.ObjectPath, method string, args []any, results ...any) (dbus.Sequence, error) {
	ctx, cancel := context.WithTimeout(ctx, b.limit)
	defer cancel()
	call := b.conn.Object(dest, path).CallWithContext(ctx, method, dbus.FlagNoAutoStart, args...)
	if call.Err != nil {
		return call.ResponseSequence, call.Err
	}
	return call.ResponseSequence, call.Store(results...)
}

// owner returns the unique name of NetworkManager on the bus, or "".
func (b *bus) owner(ctx context.Context) (string, error) {
	var name string
	seq, err := b.call(ctx, "org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus.GetNameOwner", []any{managerIface}, &name)
	b.named = seq
	if isError(err, "org.freedesktop.DBus.Error.NameHasNoOwner") {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("cannot ask the bus for NetworkManager: %w", err)
	}
	return name, nil
}

// newOwner reads NameOwnerChanged(name, old, new) of NetworkManager's name.
// Only the bus says so: any user of the machine may send us a signal of that
// name. One from before the answer to owner is old news.
func (b *bus) newOwner(s *dbus.Signal) (owner string, ok bool) {
	if s.Sender != "org.freedesktop.DBus" || s.Name != "org.freedesktop.DBus.NameOwnerChanged" ||
		s.Sequence <= b.named || len(s.Body) != 3 || s.Body[0] != managerIface {
		return "", false
	}
	owner, ok = s.Body[2].(string)
	return owner, ok
}

// load reads NetworkManager's objects and the sequence number of the answer:
// signals before it are already in it.
func (b *bus) load(ctx context.Context, owner string, now time.Time) (*objects, dbus.Sequence, error) {
	var tree map[dbus.ObjectPath]interfaces
	seq, err := b.call(ctx, owner, "/org/freedesktop", objectManager+".GetManagedObjects", nil, &tree)
	if err != nil {
		return nil, 0, fmt.Errorf("cannot read NetworkManager's objects: %w", err)
	}
	return newObjects(tree, now), seq, nil
}

// device reads a device's properties as they are now.
func (b *bus) device(ctx context.Context, owner string, path dbus.ObjectPath) (properties, error) {
	var props properties
	_, err := b.call(ctx, owner, path, propertiesIface+".GetAll", []any{gnm.DeviceInterface}, &props)
	return props, err
}

// activate asks for a temporary connection on a device: gone when it is
// deactivated. A bound one is deactivated when this bus connection ends, however
// we end; that cannot be changed later.
func (b *bus) activate(ctx context.Context, owner string, device dbus.ObjectPath, settings gnm.ConnectionSettings, bound bool) (profile, active dbus.ObjectPath, err error) {
	options := map[string]any{"persist": "volatile"}
	if bound {
		options["bind-activation"] = "dbus-client"
	}
	var result properties
	_, err = b.call(ctx, owner, gnm.NetworkManagerObjectPath, gnm.NetworkManagerAddAndActivateConnection2,
		[]any{settings, device, dbus.ObjectPath("/"), options}, &profile, &active, &result)
	return profile, active, err
}

// inMemory is NM_SETTINGS_UPDATE2_FLAG_IN_MEMORY of nm-dbus-interface.h.
const inMemory = uint32(0x2)

// hand makes a volatile profile one that lives until the system ends, with
// other settings. Its connection stays as it is.
func (b *bus) hand(ctx context.Context, owner string, profile dbus.ObjectPath, settings gnm.ConnectionSettings) error {
	var result properties
	_, err := b.call(ctx, owner, profile, gnm.ConnectionInterface+".Update2", []any{settings, inMemory, map[string]any{}}, &result)
	return err
}

func (b *bus) deactivate(ctx context.Context, owner string, active dbus.ObjectPath) error {
	_, err := b.call(ctx, owner, gnm.NetworkManagerObjectPath, gnm.NetworkManagerDeactivateConnection, []any{active})
	return err
}

// errSaved is that somebody has made a profile of our UUID their own.
var errSaved = errors.New("a saved profile has the UUID of our temporary connection")

// remove deletes the profile with this UUID, if it is a temporary one; none
// such is fine. A volatile profile lies in /run; one that is saved elsewhere
// (say, our own that somebody edited) is errSaved.
func (b *bus) remove(ctx context.Context, owner, uuid string) (removed bool, err error) {
	var profile dbus.ObjectPath
	_, err = b.call(ctx, owner, settingsPath, gnm.SettingsGetConnectionByUUID, []any{uuid}, &profile)
	if isError(err, gnm.SettingsInterface+".InvalidConnection") {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	var file dbus.Variant
	_, err = b.call(ctx, owner, profile, propertiesIface+".Get", []any{gnm.ConnectionInterface, "Filename"}, &file)
	if err != nil {
		return false, err
	}
	if name, _ := file.Value().(string); saved(name) {
		return false, fmt.Errorf("%w: %s", errSaved, name)
	}
	_, err = b.call(ctx, owner, profile, gnm.ConnectionDelete, nil)
	return err == nil, err
}

// saved says of a profile's file that it outlives the system's end: a volatile
// profile, or one in memory, has none or one in /run.
func saved(file string) bool { return file != "" && !strings.HasPrefix(file, "/run/") }

func isError(err error, name string) bool {
	var e dbus.Error
	return errors.As(err, &e) && e.Name == name
}
