package daemon

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nm-cloud-seed/nm-cloud-seed/internal/cloudinit"
)

// stagesUnit runs cloud-init's stages.
const stagesUnit = "nm-cloud-seed-stages.service"

// Heal comes after a boot without data from the virtual router: it waits until
// there is some, for as long as that takes. A VM that has never been any instance
// is then set up as if it booted. On any other, which has at most lost touch, the
// data is for the next boot: cloud-init does not expect that it changes under it.
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
	if !d.wants() {
		d.Log.Info("nothing to do: this boot has its data")
		return nil
	}
	if d.state, err = ReadState(d.Root); err != nil {
		d.Log.Warn(err) // it was killed very early
		d.state = State{Started: time.Now(), Phase: Failed}
	}
	files := cloudinit.Files{Root: d.Root}
	setUp := d.setUp(files)
	kept := d.state.Kept // is ours again, for the time being
	d.tell(func(s *State) {
		s.Kept, s.Healing = nil, &Healing{Text: "waiting for the virtual router", Process: thisProcess()}
	})
	defer d.tell(func(s *State) { s.Healing, s.Temporary = nil, nil })

	inst, networks, err := d.job(d.progress).Fetch(ctx)
	defer networks.Close()
	if err != nil {
		d.tell(func(s *State) { s.Kept = kept })
		return nil // stopped: there is no deadline
	}
	from := fromVR(inst)
	if err := d.seed(inst); err != nil {
		return err
	}
	d.seeded(from)
	if setUp == nil {
		if err = d.runStages(ctx, networks, from); err != nil {
			d.tell(func(s *State) { s.Error = err.Error() })
		}
	} else {
		d.Log.Info(setUp)
		d.tell(func(s *State) { s.Text += ", for the next boot: " + setUp.Error() })
	}
	if ctx.Err() != nil {
		return nil
	}
	d.keep(from)
	d.satisfied()
	if err := d.removeIssue(); err != nil {
		d.Log.Warn(err)
	}
	d.writeConsole(d.state.Text)

	if held := networks.Hold(ctx, func() bool { return true }); len(held) > 0 && ctx.Err() == nil {
		d.leave(ctx, networks, held)
	}
	return err
}

// setUp is why the VM is not set up in this boot, nil if it is.
func (d *Daemon) setUp(files cloudinit.Files) error {
	had, err := files.HadInstance()
	switch {
	case d.state.Instance != nil && d.state.Instance.Source == LastBoot:
		return errors.New("this boot went on with the data of the last one")
	case !d.Config.Heal:
		return errors.New("heal=no in the configuration")
	case err != nil:
		return err
	case had:
		return errors.New("this VM has been an instance before")
	}
	return nil
}

// runStages has cloud-init run its stages again, as in an instance's first boot.
func (d *Daemon) runStages(ctx context.Context, networks *Networks, from *source) error {
	hand := &handover{Daemon: d, view: networks.current(), again: true}
	hand.over(ctx, from.Instance)
	d.tell(func(s *State) { s.Healing.Text = "cloud-init runs its stages again" })
	if err := d.StartUnit(ctx, stagesUnit); err != nil {
		return fmt.Errorf("cannot run cloud-init's stages again, the next boot does it: %w", err)
	}
	hand.finish(ctx, networks.current)
	return nil
}
