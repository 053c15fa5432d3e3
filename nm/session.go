package nm

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	gnm "github.com/Wifx/gonetworkmanager/v2"
	"github.com/godbus/dbus/v5"
	"github.com/google/uuid"
)

// session is what acting on one NetworkManager takes.
type session struct {
	*Network
	bus     *bus
	name    string // NetworkManager's unique name
	world   *world
	cleared map[dbus.ObjectPath]bool // devices without leftovers
	saved   map[dbus.ObjectPath]bool // devices for which somebody saved a profile with our UUID
}

// session lives as long as one NetworkManager on the bus. It returns the
// unique name of the next one ("" if there is none yet).
func (n *Network) session(ctx context.Context, b *bus, owner string) (next string, err error) {
	objects, loaded, err := b.load(ctx, owner, time.Now())
	if err != nil {
		return "", err
	}
	s := &session{Network: n, bus: b, name: owner, cleared: map[dbus.ObjectPath]bool{}, saved: map[dbus.ObjectPath]bool{}, world: &world{
		objects:  objects,
		mine:     map[dbus.ObjectPath]*activation{},
		asked:    map[dbus.ObjectPath]int{},
		refused:  map[dbus.ObjectPath]refusal{},
		leftover: map[dbus.ObjectPath]bool{},
		index:    interfaceIndex,
		owner:    n.owner,
		patient:  n.patient,
		reask:    n.limits.reask,
	}}
	defer func() {
		if ctx.Err() != nil {
			s.release(ctx)
		}
	}()
	settled, leaving := n.settled, n.leaving
	for {
		select {
		case <-settled:
			settled = nil // once
			if err := s.settle(ctx); err != nil {
				return "", err
			}
		default:
		}
		select {
		case <-leaving:
			leaving = nil // once
			s.leave(ctx)
		default:
		}
		if err := s.removeLeftovers(ctx); err != nil {
			return "", err
		}
		p := s.world.decide(time.Now())
		n.publish(p.view)
		if acted, err := s.act(ctx, p); err != nil {
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
			return "", ctx.Err()
		case <-settled: // seen to above
		case <-leaving:
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
					s.world.track(time.Now())
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

// act carries out a plan. An error is one of the bus or of a NetworkManager
// that does not answer: the session is over.
func (s *session) act(ctx context.Context, p plan) (acted bool, err error) {
	for _, path := range p.activate {
		d := s.world.device(path)
		log := s.log.WithField("device", d.name)
		// Somebody may have taken the device since its last signal, and an
		// activation would evict him.
		props, err := s.bus.device(ctx, s.name, path)
		if fatal(err) {
			return true, fmt.Errorf("cannot look at %s: %w", d.name, err)
		}
		if err != nil {
			s.world.refuse(path, err, time.Now())
			continue
		}
		if state, _ := props["State"].Value().(uint32); state != uint32(gnm.NmDeviceStateDisconnected) {
			s.world.objects.add(path, interfaces{gnm.DeviceInterface: props}, time.Now())
			continue
		}
		id := connectionUUID(d.name)
		if s.saved[path] {
			id = spareUUID(d.name)
			if _, refused := s.world.refused[path]; refused { // perhaps it exists, too
				id = uuid.NewString()
			}
		}
		// The service's own stay if it is killed, and the next one adopts
		// them: a VM had better keep its network.
		// Nor does the end of the run cut this short: only the answer tells what
		// there is to take down.
		longer, cancel := outlast(ctx, s.limits.answer)
		profile, active, err := s.bus.activate(longer, s.name, path, temporary(d.name, id), !s.owner)
		cancel()
		if fatal(err) {
			return true, fmt.Errorf("cannot activate a temporary connection on %s: %w", d.name, err)
		}
		if err != nil {
			s.world.refuse(path, err, time.Now())
			log.WithError(err).Warn("NetworkManager refused a temporary connection")
			delete(s.inherited, d.name) // it has not come back, and may be what is in the way
			// A profile with the same UUID may be in the way: the owner removes it,
			// others keep out of its way.
			s.cleared[path], s.saved[path] = false, s.saved[path] || !s.owner
			continue
		}
		s.world.mine[path] = &activation{profile: profile, active: active, uuid: id}
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

// answerTimeout is plenty for NetworkManager's answer to an activation, and little
// for the end of a run.
const answerTimeout = time.Second

// releaseTimeout bounds how long the end of a run waits until NetworkManager has
// taken the temporary connections down.
const releaseTimeout = 2 * time.Second

// outlast is a context that ends some time after another.
func outlast(ctx context.Context, by time.Duration) (context.Context, context.CancelFunc) {
	longer, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		select {
		case <-longer.Done():
		case <-time.After(by):
			cancel()
		}
	})
	return longer, func() { stop(); cancel() }
}

// fatal says whether an error came from the way to NetworkManager, not from it.
func fatal(err error) bool {
	var no dbus.Error
	return err != nil && !errors.As(err, &no) && !errors.Is(err, errSaved)
}

// settle takes down what is not to be kept, and is this run's.
func (s *session) settle(ctx context.Context) error {
	s.world.settled, s.world.keep = true, s.keep
	s.world.track(time.Now())
	for path, mine := range s.world.mine {
		if mine.handed || s.keep[s.world.device(path).name] {
			continue
		}
		if err := s.takeDown(ctx, mine); fatal(err) {
			return fmt.Errorf("cannot take down a temporary connection: %w", err)
		}
	}
	return nil
}

// takeDown ends a connection of ours. The profile of one that was handed over
// would stay, and connect again.
func (s *session) takeDown(ctx context.Context, mine *activation) error {
	if mine.adopted {
		_, err := s.bus.remove(ctx, s.name, mine.uuid)
		return err
	}
	return s.bus.deactivate(ctx, s.name, mine.active)
}

// leave hands our connections that are to be kept over to NetworkManager. One
// that it does not take over stays as it is, for as long as it lasts; one whose
// device another has taken goes with us.
func (s *session) leave(ctx context.Context) {
	var names []string
	var err error
	for path, mine := range s.world.mine {
		d := s.world.device(path)
		if lost := !s.world.objects.has(d.active); !s.keep[d.name] || s.world.replaced(d, mine) || lost && !mine.adopted {
			continue // an adopted one will be back, with the carrier
		}
		if !fatal(err) { // else it would not answer this time either
			err = s.bus.hand(ctx, s.name, mine.profile, handed(d.name, mine.uuid))
		}
		if err == nil {
			names = append(names, d.name)
		} else {
			s.log.WithField("device", d.name).WithError(err).Warn("NetworkManager did not take the temporary connection over")
		}
		delete(s.world.mine, path)
	}
	s.world.keep = nil // nothing is taken up again
	slices.Sort(names)
	select {
	case s.handed <- names:
	default: // not the first time: a restarted NetworkManager is told again
	}
}

// removeLeftovers sees to the temporary connections of an earlier run, or of
// ours before NetworkManager restarted. One that is up is ours from now on: it
// may be all the network that the VM has. Any other is deleted; one that cannot
// be is used like anybody's. Once settled, only one that was handed over becomes
// ours, so that it is removed if another profile takes its place. It looks at
// each device once, when it appears, which is some time after NetworkManager did.
func (s *session) removeLeftovers(ctx context.Context) error {
	if !s.owner {
		return nil
	}
	for path, ifaces := range s.world.objects.tree {
		if _, wired := ifaces[wiredIface]; !wired || s.cleared[path] {
			continue
		}
		s.cleared[path] = true
		d := s.world.device(path)
		if s.world.settled && s.keep[d.name] { // taken up again, see track
			continue
		}
		up, handed := d.state == gnm.NmDeviceStateActivated, s.world.handedOver(d)
		if s.inherited[d.name] && !up { // NetworkManager brings it back
			s.cleared[path] = false
			continue
		}
		if up && (handed || !s.world.settled) && s.world.adopt(d) {
			s.inherited[d.name] = handed
			s.log.WithField("device", d.name).Info("going on with the temporary connection of an earlier run")
			continue
		}
		removed, err := s.bus.remove(ctx, s.name, connectionUUID(d.name))
		log := s.log.WithField("device", d.name)
		s.saved[path] = errors.Is(err, errSaved)
		switch {
		case fatal(err):
			return fmt.Errorf("cannot look for leftover connections: %w", err)
		case err != nil && !s.saved[path]:
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
// deleted their profiles. What an earlier run has handed over is the VM's
// network and stays, unless another profile has taken its place.
func (s *session) release(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.limits.release)
	defer cancel()
	var ours []dbus.ObjectPath
	for path, mine := range s.world.mine {
		if mine.handed && !s.world.replaced(s.world.device(path), mine) {
			continue
		}
		// An error means that it is gone already, or goes with the bus connection.
		if err := s.takeDown(ctx, mine); !errors.Is(err, errSaved) {
			ours = append(ours, mine.active, mine.profile)
		}
	}
	// After a restart of NetworkManager, one that was replaced is none of ours any
	// more, but idle.
	for path, ifaces := range s.world.objects.tree {
		if _, wired := ifaces[wiredIface]; !wired || s.world.mine[path] != nil {
			continue
		}
		if d := s.world.device(path); s.inherited[d.name] && s.world.objects.has(d.active) && !d.temporary {
			_, _ = s.bus.remove(ctx, s.name, connectionUUID(d.name)) // or it is gone
		}
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
