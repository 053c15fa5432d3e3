package nm

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	gnm "github.com/Wifx/gonetworkmanager/v2"
	"github.com/godbus/dbus/v5"
)

// keepLimit bounds Keep as a whole.
const keepLimit = 10 * time.Second

// PermanentError is Keep's for a device whose connection has been made permanent
// before.
type PermanentError struct {
	Device, File string
}

func (e *PermanentError) Error() string { return "it is permanent already (" + e.File + ")" }

// keepFlags are NM_SETTINGS_UPDATE2_FLAG_TO_DISK and _NO_REAPPLY of
// nm-dbus-interface.h: the device goes on with what it has.
const keepFlags = uint32(0x1 | 0x40)

// Keep makes ordinary profiles, on disk, of the temporary connections that a run
// has handed over to NetworkManager: on the devices that are named, or on all. A
// connection stays as it is until it is next activated: no address and no route is
// lost. It returns the devices that were seen to, also beside an error.
func Keep(ctx context.Context, devices ...string) (kept []string, err error) {
	return keep(ctx, dbus.ConnectSystemBus, limits{call: callTimeout, total: keepLimit}, devices)
}

func keep(ctx context.Context, dial dialer, l limits, names []string) (kept []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, l.total)
	defer cancel()
	b, err := connect(ctx, dial, l.call)
	if err != nil {
		return nil, err
	}
	defer b.conn.Close()
	owner, err := b.owner(ctx)
	if err != nil {
		return nil, err
	}
	if owner == "" {
		return nil, errors.New("cannot keep a connection: NetworkManager is not on the bus (start it, and try again)")
	}
	objects, _, err := b.load(ctx, owner, time.Now())
	if err != nil {
		return nil, err
	}
	w := &world{objects: objects}
	devices := w.candidates(names)
	if len(devices) == 0 && len(names) == 0 {
		return nil, errors.New("there is nothing to keep: no temporary connection of ours is active")
	}
	var errs []error
	for _, name := range names {
		if !slices.ContainsFunc(devices, func(d device) bool { return d.name == name }) {
			errs = append(errs, fmt.Errorf("cannot keep the connection of %s: there is no such wired device", name))
		}
	}
	for _, d := range devices {
		if err := b.keep(ctx, owner, w, d); err != nil {
			errs = append(errs, fmt.Errorf("cannot keep the connection of %s: %w", d.name, err))
		} else {
			kept = append(kept, d.name)
		}
	}
	return kept, errors.Join(errs...)
}

// candidates are the wired devices of these names; without any, those that have a
// temporary connection of ours.
func (w *world) candidates(names []string) (devices []device) {
	for path, ifaces := range w.objects.tree {
		if _, wired := ifaces[wiredIface]; !wired {
			continue
		}
		if d := w.device(path); slices.Contains(names, d.name) || len(names) == 0 && d.temporary {
			devices = append(devices, d)
		}
	}
	slices.SortFunc(devices, func(a, b device) int { return cmp.Compare(a.name, b.name) })
	return devices
}

// keep saves one profile. One that is still volatile may be bound to a process, at
// whose end NetworkManager takes the connection down, saved or not.
func (b *bus) keep(ctx context.Context, owner string, w *world, d device) error {
	profile := w.profile(d)
	switch file := property[string](w.objects, profile, gnm.ConnectionInterface, "Filename"); {
	case !w.objects.has(d.active):
		return errors.New("there is none")
	case !d.temporary:
		return fmt.Errorf("it is %q, not a temporary one of ours", d.connection)
	case saved(file):
		return &PermanentError{Device: d.name, File: file}
	case !w.handedOver(d):
		return errors.New("a run that has not ended still holds it, or one that was killed " +
			"(wait for its end; after a kill: systemctl restart nm-cloud-seed)")
	}
	var result properties
	_, err := b.call(ctx, owner, profile, gnm.ConnectionInterface+".Update2",
		[]any{permanent(d.name, connectionUUID(d.name)), keepFlags, map[string]any{}}, &result)
	if e := (dbus.Error{}); errors.As(err, &e) && (strings.HasSuffix(e.Name, ".PermissionDenied") || strings.HasSuffix(e.Name, ".AccessDenied")) {
		return fmt.Errorf("NetworkManager does not let you (try again as root): %w", err)
	}
	return err
}
