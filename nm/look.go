package nm

import (
	"context"
	"fmt"
	"slices"
	"time"

	gnm "github.com/Wifx/gonetworkmanager/v2"
	"github.com/godbus/dbus/v5"

	"github.com/nm-cloud-seed/nm-cloud-seed/internal/lease"
)

// lookLimit bounds Look as a whole.
const lookLimit = 5 * time.Second

// Look reads what NetworkManager, of which version, has now, and changes nothing:
// the wired devices, and others that may lead to a virtual router. Any user may.
// Not to be on the bus is no error: then the view is not Running. If it is and there
// is an error, NetworkManager does not answer.
func Look(ctx context.Context) (view lease.View, version string, err error) {
	return look(ctx, dbus.ConnectSystemBus, limits{call: callTimeout, total: lookLimit})
}

func look(ctx context.Context, dial dialer, l limits) (view lease.View, version string, err error) {
	ctx, cancel := context.WithTimeout(ctx, l.total)
	defer cancel()
	b, err := connect(ctx, dial, l.call)
	if err != nil {
		return view, "", err
	}
	defer b.conn.Close()
	owner, err := b.owner(ctx)
	if err != nil || owner == "" {
		return view, "", err
	}
	now := time.Now()
	objects, _, err := b.load(ctx, owner, now)
	if err != nil {
		return lease.View{Running: true}, "", fmt.Errorf("NetworkManager is on the bus, but does not answer: %w", err)
	}
	// Settled, a decision is a view and nothing to do.
	w := &world{objects: objects, index: interfaceIndex, settled: true}
	return nics(w.decide(now).view, w.wired()), property[string](objects, gnm.NetworkManagerObjectPath, managerIface, "Version"), nil
}

// wired are the names of the wired devices.
func (w *world) wired() map[string]bool {
	names := make(map[string]bool)
	for path := range w.objects.tree {
		if d := w.device(path); d.wired {
			names[d.name] = true
		}
	}
	return names
}

// nics leaves out what is neither wired nor leads to a virtual router, such as the
// bridges of container runtimes and of libvirt, which have an address and no more.
func nics(view lease.View, wired map[string]bool) lease.View {
	leads := make(map[string]bool)
	for _, l := range view.Leases {
		leads[l.Device] = l.Server.IsValid() || len(l.Routers) > 0 || len(l.DNS) > 0
	}
	view.Leases = slices.DeleteFunc(view.Leases, func(l lease.Lease) bool { return !wired[l.Device] && !leads[l.Device] })
	view.Devices = slices.DeleteFunc(view.Devices, func(d lease.Device) bool {
		return !wired[d.Name] && !leads[d.Name] && d.State != lease.Waiting
	})
	return view
}
