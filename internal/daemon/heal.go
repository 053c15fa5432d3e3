package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nm-cloud-seed/nm-cloud-seed/internal/cloudinit"
)

const (
	runUnit    = "nm-cloud-seed.service"        // Run
	stagesUnit = "nm-cloud-seed-stages.service" // cloud-init's stages
)

// Heal comes after a boot without data from the virtual router: it waits until
// there is some, for as long as that takes. A VM that has never been any instance
// is then set up as if it booted. On any other, which has at most lost touch, the
// data is for the next boot: cloud-init does not expect that it changes under it.
//
// It may be killed at any moment: systemd starts it again, and it goes on.
//
// It returns nil when that is done, when nothing had to be, and when the context
// ends, which leaves no connection of its own but for one that was kept.
func (d *Daemon) Heal(ctx context.Context) error {
	unlock, err := waitLock(ctx, d.Root)
	if ctx.Err() != nil {
		return nil
	}
	if err != nil {
		return err
	}
	defer unlock()
	if !Wants(d.Root) {
		d.Log.Info("nothing to do: this boot has its data")
		return nil
	}
	if d.state, err = readState(d.Root); err != nil {
		d.Log.Warn(err) // it was killed very early
		d.state = State{Started: time.Now(), StartedMonotonic: Monotonic().Microseconds(), Phase: Failed}
	}
	kept := d.state.Kept // is ours again, for the time being
	d.tell(func(s *State) {
		const waiting = "waiting for the virtual router"
		if before := slices.IndexFunc(s.Steps, func(step Step) bool { return step.Name == waiting }); before >= 0 {
			s.Steps = s.Steps[:before] // of a wait that somebody has ended
		}
		s.step(waiting)
		s.Kept, s.Healing = nil, &Healing{Text: "waiting for the virtual router", Process: thisProcess(), Kept: slices.Clone(kept)}
	})
	defer d.tell(func(s *State) { s.Healing, s.Temporary, s.Devices = nil, nil, nil })

	job := d.job()
	job.Patient = true
	inst, networks, err := job.Fetch(ctx)
	defer networks.Close()
	if err != nil { // stopped: there is no deadline. Nobody follows the devices any more.
		d.tell(func(s *State) { s.Kept, s.Devices = kept, nil })
		return nil
	}
	from, before := fromVR(inst), d.startedStages(inst.ID)
	name := d.nameFor(inst)
	if before == nil { // else cloud-init may be reading the seed
		if err := d.seed(inst, name); err != nil {
			return err
		}
	}
	d.forgetAllBut(inst.ID)
	d.keep(from)
	if s := d.state; before == nil && s.Phase == Ready && s.Instance.Source == VirtualRouter && s.Instance.ID == inst.ID {
		d.tell(func(s *State) { s.Instance = from.inState() }) // only the cached data was missing
	} else if why := d.setUp(); why != nil && before == nil {
		d.forNextBoot(from, why)
	} else {
		d.tell(func(s *State) { s.Healing.Stages = true }) // what it made of no data is no outcome
		if err = d.runStages(ctx, networks, from, name.FQDN, before); err != nil && ctx.Err() == nil {
			d.tell(func(s *State) { s.Phase, s.Text, s.Error = Failed, err.Error(), err.Error() })
		}
	}
	if ctx.Err() != nil {
		return nil
	}
	if s := d.concluded(); s.Phase == Ready {
		if err := d.removeIssue(); err != nil {
			d.Log.Warn(err)
		}
		d.writeConsole(s.Text)
	} else {
		d.proclaim(s.Text)
	}

	if d.concluded().Phase == Ready && d.ResetFailed != nil { // a run that was killed has failed
		if err := d.ResetFailed(ctx, runUnit); err != nil {
			d.Log.Warn(err)
		}
	}
	if held := networks.Hold(ctx, func() bool { return true }); len(held) > 0 && ctx.Err() == nil {
		d.leave(ctx, networks, held)
	}
	d.satisfied() // last: until then, systemd starts a heal again that was killed
	return err
}

// setUp is why the VM is not set up in this boot, nil if it is.
func (d *Daemon) setUp() error {
	had, err := cloudinit.Files{Root: d.Root}.HadInstance()
	switch {
	case d.state.Instance != nil && d.state.Instance.Source == LastBoot:
		return errors.New("this boot went on with the data of the last one")
	case !d.Config.Heal:
		return errors.New("heal=no in the configuration (reboot to apply it)")
	case err != nil:
		return err
	case had:
		return errors.New("this disk has been an instance before (reboot to apply it)")
	}
	return nil
}

// forNextBoot says that cloud-init gets the data at the next boot only. This one
// stays what it is, seeded with the data of the last boot, or failed.
func (d *Daemon) forNextBoot(from *source, why error) {
	text := fmt.Sprintf("the data of instance %s from %s is there now, and counts from the next boot on: %v", from.Instance.ID, from.Instance.Origin.Server, why)
	d.Log.Info(text)
	d.tell(func(s *State) {
		s.step("seed")
		s.Text, s.Error, s.Instance = text, "", from.inState()
		if d.Config.Password {
			s.Password = "asked for at the next boot"
		}
	})
}
