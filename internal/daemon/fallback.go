package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/nm-cloud-seed/nm-cloud-seed/internal/atomicfile"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/cloudinit"
)

// Fallback makes up for a run that was killed, timed out, or never started: without a
// seed, cloud-init would take the VM for another one, with new host keys and a locked
// password. It is a part of the unit of cloud-init's network stage, right before the
// stage, since there nothing that may be wrong with our own unit is in its way.
//
// A seed that the run has written stays. Otherwise the cached data of the last boot
// becomes the seed. Without any, cloud-init does not search, and the error says what
// happened to the run. nm-cloud-seed-heal.service then waits for the virtual router.
//
// Where other services than NetworkManager run all wired devices, and there is no seed,
// cloud-init does search, whether there is cached data or not, and heal does not wait.
//
// It changes nothing after a run that came to its end, while a run goes on, and once
// the stage has begun.
func (d *Daemon) Fallback(ctx context.Context) error {
	defer d.bound(restLimit)()
	files := cloudinit.Files{Root: d.Root}
	if files.Begun(networkStage) || files.Done() {
		return nil // somebody has restarted the stage
	}
	s, err := readState(d.Root)
	switch {
	case err != nil:
	case s.Phase == Ready && d.store().Exists():
		if s.killed { // its temporary connection has gone with it: heal restores that
			err = d.want()
		}
		return errors.Join(err, d.placeLease()) // it may have been killed just before that
	case s.Phase == Idle:
		d.satisfied() // likewise
		return nil
	case s.Phase == Failed && s.Error != "" && d.lastBoot() == nil:
		return nil // the run itself has said so, and done what is left to do
	}
	if err := atomicfile.MkdirAll(filepath.Join(d.Root, RunDir), 0o755); err != nil {
		return err
	}
	unlock, lockErr := lock(d.Root)
	if errors.Is(lockErr, ErrRunning) {
		d.Log.Warn(lockErr)
		return nil
	}
	if lockErr != nil {
		return lockErr
	}
	defer unlock()

	why := whatHappened(s, err)
	if d.state = s; err != nil {
		d.state = State{Started: time.Now(), StartedMonotonic: Monotonic().Microseconds(), Process: thisProcess()}
	}
	if d.state.Ended == nil {
		defer d.ended()
	}
	seeded := d.state.Instance != nil && d.store().Exists()
	reason := d.nothingToDo()
	if reason == "" && !seeded { // before the cached data, which no run renews there
		reason = OtherServiceRuns(d.Root)
	}
	if reason != "" {
		d.takeNoSearchBack()
		d.tell(func(s *State) {
			s.dropEnd()
			s.Phase, s.Text = Idle, "nothing to do: "+reason
		})
		d.satisfied()
		return nil
	}
	if err := d.want(); err != nil {
		d.Log.WithError(err).Warn("the data of the virtual router will not be waited for")
	}
	if seeded {
		return d.keepSeed(why)
	}
	return d.seedFromLastBoot(ctx, why)
}

// whatHappened returns what became of a run, by what ReadState returned.
func whatHappened(s State, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return errors.New("nm-cloud-seed.service did not start (see systemctl status nm-cloud-seed)")
	case err != nil:
		return fmt.Errorf("nm-cloud-seed.service did not finish: %w", err)
	case s.killed:
		return errors.New(s.Text)
	case s.Phase == Stopped:
		return errors.New("the run was stopped before there was a seed (see systemctl status nm-cloud-seed)")
	case s.Error != "":
		return errors.New(s.Error)
	}
	return errors.New("the run has ended without a seed: " + s.Text)
}

// keepSeed completes a run that was killed after it had written the seed.
func (d *Daemon) keepSeed(why error) error {
	id := d.state.Instance.ID
	d.forgetAllBut(id)
	text := fmt.Sprintf("seeded instance %s; then %v", id, why)
	d.Log.Warn(text)
	d.proclaim(text)
	d.tell(func(s *State) {
		s.dropEnd()
		s.step("seed")
		if s.Error != "" { // why the seed is the cached data
			why = fmt.Errorf("%s; %w", s.Error, why)
		}
		s.Phase, s.Text, s.Error = Ready, text, why.Error()
		if s.Password == "" && d.Config.Password {
			s.Password = "not asked for, as far as is known: the next boot does"
		}
	})
	return d.placeLease()
}

// seedFromLastBoot does what is left to do without a seed.
func (d *Daemon) seedFromLastBoot(ctx context.Context, why error) error {
	fail := func(err error) error {
		d.tell(func(s *State) { s.dropEnd() })
		return d.fail(err)
	}
	from, err := d.fromLastBoot(why)
	if err != nil {
		return fail(err)
	}
	// The run may have laid ready one for another device.
	if err := cloudinit.ClearReady(filepath.Join(d.Root, RunDir)); err != nil {
		d.Log.Warn(err)
	}
	name := d.nameFor(from.Instance)
	if err := d.seed(from.Instance, name); err != nil {
		return fail(err)
	}
	d.forgetAllBut(from.Instance.ID)
	hand := &handover{Daemon: d, noVirtualRouter: true, fqdn: name.FQDN}
	hand.over(ctx, from.Instance)
	d.tell(func(s *State) { s.dropEnd() })
	d.seeded(from)
	return d.placeLease()
}

// placeLease does what is otherwise ExecStartPost= of nm-cloud-seed.service.
func (d *Daemon) placeLease() error {
	kept, err := cloudinit.Files{Root: d.Root}.PlaceLease(filepath.Join(d.Root, RunDir))
	if kept != "" {
		d.Log.Info("no compatibility lease: " + kept)
	}
	return err
}

// dropEnd removes the step that ReadState adds for a run that was killed, and the one
// of a run that was stopped or failed: the next step says how the boot went on.
func (s *State) dropEnd() {
	if n := len(s.Steps); n > 0 && (s.Steps[n-1].Name == string(Failed) || s.Steps[n-1].Name == string(Stopped)) {
		s.Steps = s.Steps[:n-1]
	}
}
