package nm

import (
	"context"
	"fmt"
	"time"

	gnm "github.com/Wifx/gonetworkmanager/v2"
	"github.com/godbus/dbus/v5"

	"github.com/nm-cloud-seed/nm-cloud-seed/internal/lease"
)

// lookLimit bounds Look as a whole.
const lookLimit = 5 * time.Second

// Look reads what NetworkManager, of which version, has now, and changes nothing.
// Any user may. Not to be on the bus is no error: then the view is not Running. If
// it is and there is an error, NetworkManager does not answer.
func Look(ctx context.Context) (view lease.View, version string, err error) {
	return look(ctx, dbus.ConnectSystemBus)
}

func look(ctx context.Context, dial dialer) (view lease.View, version string, err error) {
	ctx, cancel := context.WithTimeout(ctx, lookLimit)
	defer cancel()
	b, err := connect(ctx, dial)
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
	return w.decide(now).view, property[string](objects, gnm.NetworkManagerObjectPath, managerIface, "Version"), nil
}
