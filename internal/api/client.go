package api

import (
	"context"
	"errors"
	"fmt"

	"github.com/godbus/dbus/v5"
)

// Refresh has the virtual router asked again, as root, and returns the names of
// what has changed. The service is started if it does not run. The error is an
// *Error if it is the service's word.
func Refresh(ctx context.Context) (changed []string, err error) {
	err = withBus(ctx, func(conn *dbus.Conn) error {
		return conn.Object(Name, Path).CallWithContext(ctx, Interface+".Refresh", 0).Store(&changed)
	})
	return changed, err
}

// Ask does the same without waiting for what comes of it: only until the service
// has started, since the bus drops a call to one that starts when its caller goes.
func Ask(ctx context.Context) error {
	return withBus(ctx, func(conn *dbus.Conn) error { return ask(ctx, conn) })
}

// ask calls a process and not the name, which the process may just be giving back. The
// call has got through if it still had the name afterwards: the bus keeps the order.
func ask(ctx context.Context, conn *dbus.Conn) error {
	bus := func(method string, args ...any) *dbus.Call {
		return conn.BusObject().CallWithContext(ctx, "org.freedesktop.DBus."+method, 0, args...)
	}
	for ctx.Err() == nil {
		var before, after string
		if bus("GetNameOwner", Name).Store(&before) != nil {
			if err := bus("StartServiceByName", Name, uint32(0)).Err; err != nil {
				return err
			}
			continue
		}
		if err := conn.Object(before, Path).CallWithContext(ctx, Interface+".Refresh", dbus.FlagNoReplyExpected).Err; err != nil {
			return err
		}
		if bus("GetNameOwner", Name).Store(&after) == nil && after == before {
			return nil
		}
	}
	return ctx.Err()
}

func withBus(ctx context.Context, do func(*dbus.Conn) error) error {
	conn, err := dbus.ConnectSystemBus(dbus.WithContext(ctx))
	if err != nil {
		return fmt.Errorf("cannot connect to the system bus: %w", err)
	}
	defer conn.Close()
	return own(do(conn))
}

// own finds the service's word in an error of the bus.
func own(err error) error {
	var e dbus.Error
	if !errors.As(err, &e) {
		return err
	}
	text := e.Name
	if len(e.Body) > 0 {
		text = fmt.Sprint(e.Body[0])
	}
	for _, name := range []string{"Busy", "NotRun", "Failed"} {
		if e.Name == errorPrefix+name {
			return &Error{name, errors.New(text)}
		}
	}
	switch e.Name {
	case "org.freedesktop.DBus.Error.AccessDenied": // and how the bus says so
		text = "only root may do that"
	case "org.freedesktop.DBus.Error.ServiceUnknown":
		text += " (is the package nm-cloud-seed installed as a whole?)"
	}
	return errors.New("cannot have the virtual router asked again: " + text)
}
