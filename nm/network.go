// Package nm is everything that is said to NetworkManager: it looks at the
// devices, activates temporary connections where nothing else brings an
// address, and reads the leases. All of it goes over one own connection to the
// system bus that one goroutine owns.
package nm

import (
	"context"
	"errors"
	"fmt"
	"net"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/godbus/dbus/v5"
	"github.com/sirupsen/logrus"

	"github.com/nm-cloud-seed/nm-cloud-seed/internal/lease"
)

// Network follows NetworkManager. Run does the work; Views tells of it.
type Network struct {
	log     logrus.FieldLogger
	owner   bool
	dial    dialer
	views   chan lease.View
	last    lease.View
	passive chan struct{}
	once    sync.Once
}

// Options are the choices of a Network.
type Options struct {
	Log logrus.FieldLogger
	// Owner marks the one process (the service) that removes temporary
	// connections which an earlier run left behind. Any other takes a
	// connection with our UUID for somebody else's.
	Owner bool
}

// New makes a Network that does nothing yet.
func New(options Options) *Network {
	return &Network{log: options.Log, owner: options.Owner, dial: dbus.ConnectSystemBus,
		views: make(chan lease.View, 1), passive: make(chan struct{})}
}

// Views delivers the newest view whenever one differs from the last; views
// that nobody took in between are dropped. It is closed when Run returns.
func (n *Network) Views() <-chan lease.View { return n.views }

// Settle ends all changes: no further connection is activated or asked again.
// What is active stays, and views go on.
func (n *Network) Settle() { n.once.Do(func() { close(n.passive) }) }

// Run follows NetworkManager until the context ends, through restarts of
// NetworkManager and of the bus. At the end it takes down the temporary
// connections, within two seconds. Should the process die instead, the bus
// tells NetworkManager, which does the same.
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
			n.log.WithError(err).Warn("lost NetworkManager, trying again")
		}
		if time.Since(start) > 10*time.Second {
			delay = 50 * time.Millisecond
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
	b, err := connect(ctx, n.dial)
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

// session lives as long as one NetworkManager on the bus. It returns the
// unique name of the next one ("" if there is none yet).
func (n *Network) session(ctx context.Context, b *bus, owner string) (next string, err error) {
	objects, loaded, err := b.load(ctx, owner, time.Now())
	if err != nil {
		return "", err
	}
	s := &session{Network: n, bus: b, name: owner, world: &world{
		objects:  objects,
		mine:     map[dbus.ObjectPath]*activation{},
		asked:    map[dbus.ObjectPath]int{},
		refused:  map[dbus.ObjectPath]refusal{},
		leftover: map[dbus.ObjectPath]bool{},
		index:    interfaceIndex,
		owner:    n.owner,
	}, cleared: map[dbus.ObjectPath]bool{}}
	passive := n.passive
	select {
	case <-passive:
		s.world.passive, passive = true, nil
	default:
	}
	for {
		if err := s.removeLeftovers(ctx); err != nil {
			return "", err
		}
		p := s.world.decide(time.Now())
		n.publish(p.view)
		if acted, err := s.act(ctx, p); err != nil {
			if ctx.Err() != nil { // the end came during a call
				s.release(ctx)
			}
			return "", err
		} else if acted {
			continue
		}
		var wake <-chan time.Time
		if !p.wake.IsZero() {
			wake = time.After(time.Until(p.wake))
		}
		select {
		case <-ctx.Done():
			s.release(ctx)
			return "", ctx.Err()
		case <-passive:
			s.world.passive, passive = true, nil
		case <-wake:
		case signal, ok := <-b.signals:
			for more := true; more && ctx.Err() == nil; {
				if !ok {
					return "", errBusLost
				}
				if next, changed := b.newOwner(signal); changed {
					return next, nil
				}
				if signal.Sender == owner && signal.Sequence > loaded {
					s.world.objects.apply(signal, time.Now())
					s.world.track()
				}
				select {
				case signal, ok = <-b.signals:
				default:
					more = false
				}
			}
		}
	}
}

func interfaceIndex(name string) int {
	i, err := net.InterfaceByName(name)
	if err != nil {
		return 0
	}
	return i.Index
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

// session is what acting on one NetworkManager takes.
type session struct {
	*Network
	bus     *bus
	name    string // NetworkManager's unique name
	world   *world
	cleared map[dbus.ObjectPath]bool // devices without leftovers
}

// act carries out a plan. An error is one of the bus or of a NetworkManager
// that does not answer: the session is over.
func (s *session) act(ctx context.Context, p plan) (acted bool, err error) {
	for _, path := range p.activate {
		d := s.world.device(path)
		log := s.log.WithField("device", d.name)
		profile, active, err := s.bus.activate(ctx, s.name, path, temporary(d.name))
		if fatal(err) {
			return true, fmt.Errorf("cannot activate a temporary connection on %s: %w", d.name, err)
		}
		if err != nil {
			no := s.world.refused[path]
			no.err, no.count = err, no.count+1
			no.next = time.Now().Add(min(time.Second<<min(no.count-1, 4), 10*time.Second))
			s.world.refused[path] = no
			log.WithError(err).Warn("NetworkManager refused a temporary connection")
			if s.owner { // a leftover with the same UUID may be in the way
				_, _ = s.bus.remove(ctx, s.name, connectionUUID(d.name))
			}
			continue
		}
		delete(s.world.refused, path)
		s.world.mine[path] = &activation{profile: profile, active: active}
		log.Debug("activated a temporary connection")
	}
	for _, path := range p.again {
		mine := s.world.mine[path]
		mine.again = true
		s.world.asked[path]++
		s.log.WithField("device", s.world.device(path).name).Info("no answer to DISCOVER, asking again")
		if err := s.bus.deactivate(ctx, s.name, mine.active); fatal(err) {
			return true, fmt.Errorf("cannot ask again for a lease: %w", err)
		}
	}
	return len(p.activate)+len(p.again) > 0, nil
}

// fatal says whether an error came from the way to NetworkManager, not from it.
func fatal(err error) bool {
	var no dbus.Error
	return err != nil && !errors.As(err, &no)
}

// removeLeftovers deletes the temporary connections of an earlier run, or of
// ours before NetworkManager restarted: it then forgets that they were bound.
// One that cannot be deleted is used like anybody's. It looks at each device
// once, when it appears, which is some time after NetworkManager did.
func (s *session) removeLeftovers(ctx context.Context) error {
	if !s.owner || s.world.passive {
		return nil
	}
	for path := range s.world.objects.tree {
		d := s.world.device(path)
		if !d.wired || s.cleared[path] {
			continue
		}
		s.cleared[path] = true
		removed, err := s.bus.remove(ctx, s.name, connectionUUID(d.name))
		log := s.log.WithField("device", d.name)
		switch {
		case fatal(err):
			return fmt.Errorf("cannot look for leftover connections: %w", err)
		case err != nil:
			log.WithError(err).Warn("cannot remove a temporary connection that was left behind")
		case removed:
			if d.temporary {
				s.world.leftover[d.active] = true
			}
			log.Info("removed a temporary connection that was left behind")
		}
	}
	return nil
}

// release takes our connections down and waits until NetworkManager has
// deleted their profiles.
func (s *session) release(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	var ours []dbus.ObjectPath
	for _, mine := range s.world.mine {
		// An error means that it is gone already, or goes with the bus connection.
		_ = s.bus.deactivate(ctx, s.name, mine.active)
		ours = append(ours, mine.active, mine.profile)
	}
	for slices.ContainsFunc(ours, s.world.objects.has) {
		select {
		case <-ctx.Done():
			return
		case signal, ok := <-s.bus.signals:
			if !ok {
				return
			}
			if _, changed := s.bus.newOwner(signal); changed {
				return
			}
			if signal.Sender == s.name {
				s.world.objects.apply(signal, time.Now())
			}
		}
	}
}
