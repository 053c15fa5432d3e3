// Package cloudstack finds CloudStack's virtual router (VR) from the leases of
// a VM's devices and fetches the VM's metadata and user-data from it.
package cloudstack

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/nm-cloud-seed/nm-cloud-seed/datasource"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/lease"
)

// Backoff between two rounds, which is doubled each time and jittered by a
// quarter, so that a hundred VMs that start together do not ask together.
const (
	firstPause = 100 * time.Millisecond
	maxPause   = 2 * time.Second
	// Who still asks after two minutes has all the time in the world.
	impatience = 2 * time.Minute
	longPause  = 15 * time.Second
)

// Options are the choices of a Fetcher.
type Options struct {
	Log logrus.FieldLogger
	// UUID is this machine's UUID where it is known to be the instance-id (see
	// Platform.InstanceUUID), otherwise empty. A VR with another one's data is
	// none of ours, but with AnyInstance.
	UUID string
	// AnyInstance takes another machine's data all the same, with a warning.
	AnyInstance bool
	// Port is the metadata port, 0 for 80.
	Port uint16
	// Status, if set, is told in words what is going on. It must not block.
	Status func(text string)
	// Found, if set, is told when a VR has been chosen. It must not block.
	Found func(datasource.Origin)
}

// Fetcher fetches one instance.
type Fetcher struct {
	Options
	newClient func(lease.Lease) *client // tests replace it by one without sockets
	clients   map[string]*leaseClient   // by device
	asked     map[string]time.Time      // when a device's candidates were first asked
	tried     map[candidate]*probe      // the last result of each
	crawled   string                    // what went wrong after a VR was found
}

type leaseClient struct {
	lease lease.Lease
	*client
}

// New makes a Fetcher.
func New(o Options) *Fetcher {
	if o.Port == 0 {
		o.Port = 80
	}
	if o.Status == nil {
		o.Status = func(string) {}
	}
	if o.Found == nil {
		o.Found = func(datasource.Origin) {}
	}
	return &Fetcher{
		Options:   o,
		newClient: func(l lease.Lease) *client { return newClient(l, o.Port) },
		clients:   map[string]*leaseClient{},
		asked:     map[string]time.Time{},
		tried:     map[candidate]*probe{},
	}
}

// Fetch tries until it has the instance or the context ends. It begins with
// the first lease in the views and takes further ones into account as they
// come. The error says for each device what was tried and why it failed.
func (f *Fetcher) Fetch(ctx context.Context, views <-chan lease.View) (*datasource.Instance, error) {
	v := &viewer{views: views}
	defer func() {
		for _, c := range f.clients {
			c.close()
		}
	}()
	began := time.Now()
	for pause, longest := firstPause, maxPause; ; pause = min(2*pause, longest) {
		if time.Since(began) > impatience {
			longest = longPause
		}
		for len(v.view.Leases) == 0 {
			if !v.wait(ctx, nil) {
				return nil, f.failure(ctx, v)
			}
			if len(v.view.Leases) == 0 {
				f.Status("waiting for a lease: " + devices(v.view))
			}
		}
		inst, err := f.attempt(ctx, v)
		switch {
		case err == nil:
			return inst, nil
		case ctx.Err() != nil:
			return nil, f.failure(ctx, v)
		}
		f.Status(f.results(v.view) + "; trying again")
		if !v.wait(ctx, time.After(jitter(pause))) {
			return nil, f.failure(ctx, v)
		}
	}
}

// attempt is one round: choose a VR, then fetch all from it.
func (f *Fetcher) attempt(ctx context.Context, v *viewer) (*datasource.Instance, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	p, err := f.search(ctx, v)
	if err != nil {
		return nil, err
	}
	origin := datasource.Origin{Server: p.answered, Role: p.role, Device: p.device, Index: p.lease.Index, DHCP: p.lease.Server, Domain: p.lease.Domain}
	if p.lease.Default() {
		origin.Router = p.lease.Routers[0]
	}
	if network, ok := DefaultNetwork(v.view); ok && origin.Domain == "" {
		origin.Domain = network.Domain
	}
	f.Found(origin)
	log := f.Log.WithFields(logrus.Fields{"server": p.answered, "device": p.device})
	inst, err := crawl(ctx, p.client, p.answered, p.id, p.head)
	if err != nil {
		text := fmt.Sprintf("cannot fetch the metadata from %s: %v", p.answered, err)
		if ctx.Err() == nil && text != f.crawled {
			log.WithError(err).Warn("cannot fetch the metadata, trying again")
		}
		if ctx.Err() == nil || f.crawled == "" { // the end says less than what went wrong before it
			f.crawled = text
		}
		return nil, err
	}
	inst.Origin = origin
	if !f.owns(inst.ID) {
		inst.Warnings = append(inst.Warnings, fmt.Sprintf("this is the data of instance %s, and this machine is %s: taken all the same, as the configuration says (check-instance-id=no)", inst.ID, f.UUID))
	}
	return inst, nil
}

// owns says whether an instance-id can be this machine's.
func (f *Fetcher) owns(id string) bool { return f.UUID == "" || strings.EqualFold(id, f.UUID) }

// client keeps one client a device, and with it its connections, as long as
// the device has the same address.
func (f *Fetcher) client(l lease.Lease) *client {
	if c := f.clients[l.Device]; c != nil {
		if same(c.lease, l) {
			return c.client
		}
		c.close()
	}
	c := f.newClient(l)
	f.clients[l.Device] = &leaseClient{l, c}
	return c
}

// failure puts into words what was tried until the end.
func (f *Fetcher) failure(ctx context.Context, v *viewer) error {
	parts := []string{}
	if f.crawled != "" {
		parts = append(parts, f.crawled)
	}
	if len(v.view.Leases) > 0 {
		parts = append(parts, f.results(v.view))
	}
	if !v.view.Running {
		parts = append(parts, "NetworkManager is not on the bus")
	} else if others := devices(v.view); others != "" {
		parts = append(parts, others)
	}
	what := "stopped before there was any instance metadata"
	if errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
		what = "no instance metadata before the deadline"
	}
	return fmt.Errorf("%s: %s", what, strings.Join(parts, "; "))
}

// results lists the candidates tried, in the order of their preference.
func (f *Fetcher) results(view lease.View) string {
	var parts []string
	for _, l := range rank(view.Leases) {
		list := candidates(l)
		switch tried := func(c candidate) bool { return f.tried[c] != nil }; {
		case len(list) == 0:
			parts = append(parts, l.Device+": the lease names no DHCP server, router or DNS server")
		case !slices.ContainsFunc(list, tried):
			parts = append(parts, l.Device+": not asked yet")
		}
		for _, c := range list {
			if p := f.tried[c]; p != nil && p.err != nil && !errors.Is(p.err, errKnown) {
				where := p.role
				if p.server.IsValid() {
					where = fmt.Sprintf("%s %s", p.role, p.server)
				}
				parts = append(parts, fmt.Sprintf("%s: %s: %v", p.device, where, p.err))
			}
		}
	}
	if len(parts) == 0 {
		return "no answer yet"
	}
	return strings.Join(parts, "; ")
}

// devices lists the devices without a lease.
func devices(view lease.View) string {
	if !view.Running {
		return "NetworkManager is not on the bus yet"
	}
	var parts []string
	for _, d := range view.Devices {
		if d.State != lease.Leased {
			parts = append(parts, d.Name+": "+d.Detail)
		}
	}
	if len(view.Devices) == 0 {
		return "there is no wired device"
	}
	return strings.Join(parts, "; ")
}

func jitter(d time.Duration) time.Duration { return d*3/4 + rand.N(d/2) }

// viewer keeps the newest view.
type viewer struct {
	views <-chan lease.View
	view  lease.View
	first time.Time // when a lease was first there
}

func (v *viewer) take(view lease.View, ok bool) {
	if !ok { // no more will come; what is there remains
		v.views = nil
		return
	}
	if v.view = view; v.first.IsZero() && len(view.Leases) > 0 {
		v.first = time.Now()
	}
}

// wait waits for the pause to pass, or less if leases change; without any lease
// each change counts. It returns false when the context ends.
func (v *viewer) wait(ctx context.Context, pause <-chan time.Time) bool {
	for {
		select {
		case <-ctx.Done():
			return false
		case <-pause:
			return true
		case view, ok := <-v.views:
			before := v.view.Leases
			v.take(view, ok)
			if len(before) == 0 || !slices.EqualFunc(before, v.view.Leases, same) {
				return true
			}
		}
	}
}
