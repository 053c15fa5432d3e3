// Package nm is everything that is said to NetworkManager: it looks at the
// devices, activates temporary connections where nothing else brings an
// address, and reads the leases. All of it goes over one own connection to the
// system bus that one goroutine owns.
package nm

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"time"

	"github.com/godbus/dbus/v5"
	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"

	"github.com/nm-cloud-seed/nm-cloud-seed/internal/lease"
)

// Network follows NetworkManager. Run does the work; Views tells of it.
type Network struct {
	log     logrus.FieldLogger
	owner   bool
	patient bool
	dial    dialer
	limits  limits
	views   chan lease.View
	last    lease.View
	settled chan struct{} // closed by Settle, after keep was set
	keep    map[string]bool
	once    sync.Once
	leaving chan struct{} // closed by Leave
	handed  chan []string // the devices, when that is done
	// inherited are the devices, by name, with a connection that an earlier run
	// handed over and that we have adopted. It is not ours to take down.
	inherited map[string]bool
}

// limits are the durations that a Network, Keep and Look go by. Tests change them,
// so that only what they are about ends a wait.
type limits struct {
	call    time.Duration   // of the handshake with the bus, and of one call
	total   time.Duration   // of Keep or Look as a whole
	answer  time.Duration   // see answerTimeout
	release time.Duration   // see releaseTimeout
	reask   []time.Duration // see reask
}

// Options are the choices of a Network.
type Options struct {
	Log logrus.FieldLogger
	// Owner marks the one process (the service) that goes on with the temporary
	// connections which an earlier run left behind, and removes those that are
	// not active. Any other takes a connection with our UUID for somebody else's.
	Owner bool
	// Patient leaves devices that have profiles of their own to NetworkManager,
	// which tries these again when it sees fit: no boot waits for them.
	Patient bool
}

// New makes a Network that does nothing yet.
func New(options Options) *Network {
	return &Network{log: options.Log, owner: options.Owner, patient: options.Patient, dial: dbus.ConnectSystemBus,
		limits: limits{call: callTimeout, answer: answerTimeout, release: releaseTimeout, reask: reask},
		views:  make(chan lease.View, 1), settled: make(chan struct{}),
		leaving: make(chan struct{}), handed: make(chan []string, 1), inherited: map[string]bool{}}
}

// Views delivers the newest view whenever one differs from the last; views
// that nobody took in between are dropped. It is closed when Run returns.
func (n *Network) Views() <-chan lease.View { return n.views }

// Settle ends all changes: no further connection is activated, and temporary
// ones are taken down but for those on the devices to keep. Those stay, and come
// back after a lost carrier or a restart of NetworkManager. One that an earlier
// run has handed over stays as it is. Views go on.
func (n *Network) Settle(keep ...string) {
	n.once.Do(func() {
		n.keep = map[string]bool{}
		for _, name := range keep {
			n.keep[name] = true
		}
		close(n.settled)
	})
}

// Leave hands the temporary connections on the devices to keep over to
// NetworkManager, which keeps them until the system ends or another profile takes
// their device: no address is lost. It waits until that is done, or the context
// ends, and returns the devices whose connection NetworkManager has taken over.
// To be called once, after Settle, and before the end of Run.
func (n *Network) Leave(ctx context.Context) (handed []string, err error) {
	close(n.leaving)
	select {
	case handed = <-n.handed:
		return handed, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("cannot hand over the temporary connections: %w", ctx.Err())
	}
}

// Run follows NetworkManager until the context ends, through restarts of
// NetworkManager and of the bus. At the end it takes down the temporary
// connections, within two seconds, but for those that an earlier run has handed
// over, unless another profile has taken their device. Should the process die
// instead, the bus tells NetworkManager, which does the same; those of the
// service (Owner) stay.
func (n *Network) Run(ctx context.Context) {
	defer close(n.views)
	said := ""
	for delay := 50 * time.Millisecond; ; delay = min(2*delay, time.Second) {
		start := time.Now()
		err := n.connection(ctx)
		if ctx.Err() != nil {
			return
		}
		n.publish(lease.View{})
		if said != err.Error() { // once, not at each attempt
			said = err.Error()
			n.log.WithError(err).Warn("cannot reach NetworkManager, trying again")
		}
		if time.Since(start) > 10*time.Second {
			delay, said = 50*time.Millisecond, ""
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(delay):
		}
	}
}

// connection lives as long as one connection to the bus.
func (n *Network) connection(ctx context.Context) error {
	b, err := connect(ctx, n.dial, n.limits.call)
	if err != nil {
		return err
	}
	defer b.conn.Close()
	name, err := b.owner(ctx)
	for err == nil {
		if name != "" {
			name, err = n.session(ctx, b, name)
			continue
		}
		n.publish(lease.View{})
		select {
		case <-ctx.Done():
			return ctx.Err()
		case s, ok := <-b.signals:
			if !ok {
				return errBusLost
			}
			name, _ = b.newOwner(s)
		}
	}
	return err
}

var errBusLost = errors.New("the connection to the system bus was lost")

// interfaceIndex asks with netdevice(7), not with rtnetlink(7) as
// net.InterfaceByName does, which the service's sandbox does not allow.
func interfaceIndex(name string) int {
	ifr, err := unix.NewIfreq(name)
	if err != nil {
		return 0
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0
	}
	defer func() { _ = unix.Close(fd) }()
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFINDEX, ifr); err != nil {
		return 0
	}
	return int(ifr.Uint32())
}

func (n *Network) publish(v lease.View) {
	if reflect.DeepEqual(v, n.last) {
		return
	}
	n.last = v
	select {
	case <-n.views: // nobody took the last one
	default:
	}
	n.views <- v
}
