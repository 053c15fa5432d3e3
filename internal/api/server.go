package api

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/godbus/dbus/v5"
	"github.com/sirupsen/logrus"

	policy "github.com/nm-cloud-seed/nm-cloud-seed/dbus-policy"
)

// Server answers on the system bus.
type Server struct {
	Log logrus.FieldLogger
	// Look is how things stand: asked at each call and ten times a second, and
	// nobody else is asked for it.
	Look func() Properties
	// Refresh asks the virtual router again and names what has changed. An *Error,
	// which goes to the caller by its name, is that it was not asked.
	Refresh func(context.Context) (changed []string, err error)
	// Ready is called when the name is ours.
	Ready func()
	// Leaving is called before the name is given back: whoever calls then needs
	// another process.
	Leaving func()
	// Idle is after how long without a call the server ends, if nothing goes on.
	Idle time.Duration

	calm time.Duration // of tests, instead of the constant
}

// Error is an error with a name on the bus: org.nmcloudseed1.Error.NAME.
type Error struct {
	Name string // Busy, NotRun or Failed
	Err  error
}

func (e *Error) Error() string { return e.Err.Error() }

func (e *Error) Unwrap() error { return e.Err }

const (
	lookEvery = 100 * time.Millisecond
	callLimit = 5 * time.Second // of a call to the bus itself
	// leaveLimit is more than a Refresh takes, which may have come at the last moment.
	leaveLimit = 25 * time.Second
	leaveLook  = 5 * time.Millisecond
)

// Run serves until nobody has called for a while, or the context ends. Calls that
// came before are answered: then the bus has us started again for the next.
func (s *Server) Run(ctx context.Context) error {
	calls := newCalls()
	// Not the context's: the last answers have to go out after its end.
	life, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	conn, err := dbus.ConnectSystemBus(dbus.WithContext(life), dbus.WithIncomingInterceptor(calls.in), dbus.WithOutgoingInterceptor(calls.out))
	if err != nil {
		return fmt.Errorf("cannot connect to the system bus: %w", err)
	}
	defer conn.Close()
	shared := &sharing{life: ctx, fetch: s.Refresh, calm: cmp.Or(s.calm, calm)}
	object := &object{Server: s, conn: conn, calls: calls, sharing: shared}
	if err := object.export(); err != nil {
		return fmt.Errorf("cannot serve %s: %w", Name, err)
	}
	switch reply, err := conn.RequestName(Name, dbus.NameFlagDoNotQueue); {
	case err != nil:
		return fmt.Errorf("cannot have the name %s on the system bus: %w", Name, err)
	case reply != dbus.RequestNameReplyPrimaryOwner:
		return fmt.Errorf("cannot have the name %s on the system bus: another process has it", Name)
	}
	s.Ready()

	before := s.Look()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for done := false; !done; {
		select {
		case <-ctx.Done():
			done = true
		case <-conn.Context().Done():
			return errors.New("cannot serve any longer: the connection to the system bus was lost")
		case <-tick.C:
			now := s.Look()
			object.emit(before, now)
			before = now
			quiet, answered := calls.quiet()
			done = answered && quiet >= s.Idle && !now.Busy && !shared.busy()
		}
	}
	return object.leave()
}

// leave gives the name back, and answers what had come before that: the bus
// delivers in order, so it has all come when the bus has answered.
func (o *object) leave() error {
	o.Leaving()
	if err := o.callBus("ReleaseName", Name); err != nil {
		return fmt.Errorf("cannot give back the name %s: %w", Name, err)
	}
	limit := time.After(leaveLimit)
	look := time.NewTicker(leaveLook)
	defer look.Stop()
	for {
		if _, answered := o.calls.quiet(); answered && !o.sharing.busy() {
			break
		}
		select {
		case <-limit:
			return errors.New("cannot answer all calls in time")
		case <-o.conn.Context().Done():
			return errors.New("cannot answer all calls: the connection to the system bus was lost")
		case <-look.C:
		}
	}
	// The last answer was about to be sent: the bus takes it before this.
	return o.callBus("GetId")
}

func (o *object) callBus(method string, args ...any) error {
	ctx, cancel := context.WithTimeout(context.Background(), callLimit)
	defer cancel()
	return o.conn.BusObject().CallWithContext(ctx, "org.freedesktop.DBus."+method, 0, args...).Err
}

// object is what callers see.
type object struct {
	*Server
	conn    *dbus.Conn
	calls   *calls
	sharing *sharing
}

// export uses tables: with Conn.Export the linker would have to keep each method of
// each type in the program, which is 2 MB.
func (o *object) export() error {
	return errors.Join(
		o.conn.ExportMethodTable(map[string]any{"Refresh": o.refresh}, Path, Interface),
		o.conn.ExportMethodTable(map[string]any{"Get": o.get, "GetAll": o.getAll, "Set": o.set}, Path, propertiesIface),
		o.conn.ExportMethodTable(map[string]any{"Introspect": document}, Path, "org.freedesktop.DBus.Introspectable"),
	)
}

func document() (string, *dbus.Error) { return policy.Interface, nil }

// refresh is for root: the bus sees to that, by its policy.
func (o *object) refresh(m dbus.Message) ([]string, *dbus.Error) {
	if m.Flags&dbus.FlagNoReplyExpected != 0 {
		o.sharing.tell()
		o.calls.end(idOf(&m))
		return nil, nil
	}
	changed, err := o.sharing.answer()
	if err != nil {
		named := &Error{Name: "Failed"}
		errors.As(err, &named)
		return nil, dbus.NewError(errorPrefix+named.Name, []any{err.Error()})
	}
	return append([]string{}, changed...), nil
}

func (o *object) get(iface, name string) (dbus.Variant, *dbus.Error) {
	all, err := o.getAll(iface)
	if err != nil {
		return dbus.Variant{}, err
	}
	value, ok := all[name]
	if !ok {
		return value, unknown("UnknownProperty", "property", name)
	}
	return value, nil
}

// getAll answers for "", too: any interface.
func (o *object) getAll(iface string) (map[string]dbus.Variant, *dbus.Error) {
	if iface != Interface && iface != "" {
		return nil, unknown("UnknownInterface", "interface", iface)
	}
	return o.Look().variants(), nil
}

func (o *object) set(iface, name string, _ dbus.Variant) *dbus.Error {
	if _, err := o.get(iface, name); err != nil {
		return err
	}
	return dbus.NewError("org.freedesktop.DBus.Error.PropertyReadOnly", []any{fmt.Sprintf("%s can only be read", name)})
}

func unknown(kind, what, name string) *dbus.Error {
	return dbus.NewError("org.freedesktop.DBus.Error."+kind, []any{fmt.Sprintf("there is no %s %q", what, name)})
}

// emit tells what has changed.
func (o *object) emit(before, now Properties) {
	if reflect.DeepEqual(before, now) {
		return
	}
	changed := now.variants()
	for name, value := range before.variants() {
		if reflect.DeepEqual(value, changed[name]) {
			delete(changed, name)
		}
	}
	if len(changed) == 0 {
		return
	}
	if err := o.conn.Emit(Path, propertiesIface+".PropertiesChanged", Interface, changed, []string{}); err != nil {
		o.Log.WithError(err).Warn("cannot tell the bus what has changed")
	}
}
