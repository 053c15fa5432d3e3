package daemon

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/nm-cloud-seed/nm-cloud-seed/datasource"
	"github.com/nm-cloud-seed/nm-cloud-seed/datasource/cloudstack"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/lease"
	"github.com/nm-cloud-seed/nm-cloud-seed/nm"
)

// Job is the part of a run that the service and the fetch command share: from
// NetworkManager to the instance.
type Job struct {
	Log         logrus.FieldLogger
	UUID        string // see cloudstack.Options, as the next
	AnyInstance bool
	Deadline    time.Duration // 0: none
	// Enough, if set, is asked once, if no virtual router has been found after
	// enoughAfter: whether that was enough, as there is something else to go on with.
	Enough func() bool
	// Check, if set, is asked at each change of the view. Its error ends the job if it
	// is still there after checkAgain, an otherService after checkOther.
	Check func(lease.View) error
	// Owner and Patient are nm's, see Options there.
	Owner, Patient bool
	// LookOnly activates no connection: what is there has to do.
	LookOnly bool
	Report   func(Progress) // told of each step and each change in words; must not block
}

// enoughAfter is how long a VM whose virtual router is away takes longer to boot.
const enoughAfter = 15 * time.Second

// Progress is one report of a job. Reports come one at a time.
type Progress struct {
	Phase Phase
	Step  string // what has just been achieved, or empty
	Text  string // what goes on now, for a person
	View  lease.View
}

// Fetch gets the instance. The default network and the one that the instance
// came over stay up, with their temporary connections, until the Networks that
// it returns are closed. They are never nil. Where the service (Owner) cannot
// get the instance, the default network stays up all the same.
func (j Job) Fetch(ctx context.Context) (*datasource.Instance, *Networks, error) {
	network := nm.New(nm.Options{Log: j.Log, Owner: j.Owner, Patient: j.Patient})
	n := &Networks{Network: network, job: j, ours: map[string]lease.Lease{}, changed: make(chan lease.View, 1), done: make(chan struct{})}
	outer := ctx
	life, stop := context.WithCancel(context.WithoutCancel(ctx))
	n.stop = stop
	if j.LookOnly {
		network.Settle()
	}
	ctx, refuse := context.WithCancelCause(ctx)
	defer refuse(nil)
	n.refuse = refuse
	go network.Run(life)
	go n.relay()

	var router atomic.Bool // found one
	ctx, cancel := j.limit(ctx, router.Load)
	defer cancel()
	n.report(Progress{Phase: Leasing, Text: "waiting for NetworkManager"})
	var found datasource.Origin
	inst, err := cloudstack.New(cloudstack.Options{
		Log:         j.Log,
		UUID:        j.UUID,
		AnyInstance: j.AnyInstance,
		Status:      func(text string) { n.report(Progress{Text: text}) },
		Found: func(o datasource.Origin) {
			router.Store(true)
			p := Progress{Phase: Fetching, Text: "fetching the metadata from " + o.Server.String()}
			if o != found { // not each time that it is tried again
				p.Step, found = "virtual router", o
			}
			n.report(p)
		},
	}).Fetch(ctx, n.changed)
	if err != nil {
		if refused := n.refusal(); refused != nil {
			err = refused
		}
		if j.Owner && outer.Err() == nil {
			n.held = n.needed("")
		}
		network.Settle(n.held...)
		return nil, n, err
	}
	n.report(Progress{Step: "metadata", Text: "fetched the metadata"})
	n.held = n.needed(inst.Origin.Device)
	network.Settle(n.held...)
	return inst, n, nil
}

// limit ends a context when a job has to give up.
func (j Job) limit(ctx context.Context, found func() bool) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	end := func() { cancel(context.DeadlineExceeded) }
	var timers []*time.Timer
	if j.Deadline > 0 {
		timers = append(timers, time.AfterFunc(j.Deadline, end))
	}
	if j.Enough != nil {
		timers = append(timers, time.AfterFunc(enoughAfter, func() {
			if !found() && j.Enough() {
				end()
			}
		}))
	}
	return ctx, func() {
		for _, t := range timers {
			t.Stop()
		}
		cancel(nil)
	}
}

// Networks are the VM's networks while a job uses them.
type Networks struct {
	*nm.Network
	job     Job
	stop    context.CancelFunc
	held    []string        // devices whose temporary connection is still needed
	changed chan lease.View // conflated: the newest
	done    chan struct{}
	refuse  context.CancelCauseFunc // ends the job, see Job.Check
	again   []*time.Timer           // they ask Job.Check once more

	mu     sync.Mutex
	latest lease.View
	no     error                  // of Job.Check, the first
	ours   map[string]lease.Lease // by device: the last lease on a temporary connection, until there is another's
	phase  Phase
	seen   struct{ running, leased bool }
}

// relay follows the views: it reports the first of its kind and hands each on.
func (n *Networks) relay() {
	defer close(n.done)
	defer close(n.changed)
	for v := range n.Views() {
		n.mu.Lock()
		n.latest = v
		for _, l := range v.Leases {
			if delete(n.ours, l.Device); l.Temporary {
				n.ours[l.Device] = l
			}
		}
		first, leased := v.Running && !n.seen.running, len(v.Leases) > 0 && !n.seen.leased
		n.seen.running, n.seen.leased = n.seen.running || first, n.seen.leased || leased
		n.mu.Unlock()
		if first {
			n.report(Progress{Step: "NetworkManager", Text: "waiting for a lease"})
		}
		if leased {
			l := v.Leases[0]
			n.report(Progress{Phase: Searching, Step: "lease", Text: "looking for the virtual router from " + l.Address.String() + " on " + l.Device})
		}
		n.report(Progress{})
		n.check(v)
		select {
		case <-n.changed:
		default:
		}
		n.changed <- v
	}
}

// How long a device may be unmanaged that NetworkManager has only just seen: it decides
// within milliseconds whether it manages the device. A run ends sooner if another service
// has the device, as it holds up a boot in which there is nothing to do.
const (
	checkAgain = 3 * time.Second
	checkOther = 500 * time.Millisecond
)

// check asks Job.Check, until its error ends the job. Only relay calls it.
func (n *Networks) check(v lease.View) {
	if n.job.Check == nil || n.refusal() != nil {
		return
	}
	err := n.job.Check(v)
	switch {
	case err == nil:
		for _, timer := range n.again {
			timer.Stop()
		}
		n.again = nil
	case len(n.again) == 0:
		n.again = []*time.Timer{time.AfterFunc(checkAgain, func() { n.end(n.job.Check(n.current())) })}
	}
	if isOtherService(err) && len(n.again) == 1 {
		n.again = append(n.again, time.AfterFunc(checkOther, func() {
			if err := n.job.Check(n.current()); isOtherService(err) {
				n.end(err)
			}
		}))
	}
}

// end ends the job with an error, if there is one and it is the first.
func (n *Networks) end(err error) {
	if err == nil || n.refusal() != nil {
		return
	}
	n.mu.Lock()
	n.no = err
	n.mu.Unlock()
	n.refuse(err)
}

// refusal returns the error of Job.Check, if there was one.
func (n *Networks) refusal() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.no
}

// report completes a report with what is known. The phase never goes back.
func (n *Networks) report(p Progress) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if p.Phase != "" && (p.Phase != Searching || n.phase != Fetching) {
		n.phase = p.Phase
	}
	p.Phase, p.View = n.phase, n.latest
	n.job.Report(p)
}

// needed lists the devices whose temporary connection must stay: the one that
// the instance came over, and the default network's. NetworkManager may be
// away at this very moment, so it is what was there that counts.
func (n *Networks) needed(origin string) (devices []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for device, l := range n.ours {
		if device == origin || l.Default() {
			devices = append(devices, device)
		}
	}
	return devices
}

// current is the newest view.
func (n *Networks) current() lease.View {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.latest
}

// Hold waits while a temporary connection is needed: until another connection
// has an address on each device that we hold, the context ends, or enough says
// so. It returns the devices whose connection is still needed. A connection that
// is lost meanwhile comes back; a NetworkManager that restarts changes nothing.
func (n *Networks) Hold(ctx context.Context, enough func() bool) (held []string) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		view := n.current()
		n.held = slices.DeleteFunc(n.held, func(device string) bool {
			gone := slices.ContainsFunc(view.Leases, func(l lease.Lease) bool { return l.Device == device && !l.Temporary })
			if gone {
				n.job.Log.WithField("device", device).Info("another connection has taken the place of the temporary one")
			}
			return gone
		})
		if len(n.held) == 0 || ctx.Err() != nil || enough() {
			return n.held
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		case _, ok := <-n.changed:
			if !ok {
				return n.held
			}
		}
	}
}

// Close takes down the temporary connections and leaves NetworkManager.
func (n *Networks) Close() {
	n.stop()
	<-n.done
}
