package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/nm-cloud-seed/nm-cloud-seed/internal/cloudinit"
)

// Errors of Refresh, for errors.Is.
var (
	// ErrBusy is that something goes on already that gets the data, or needs it as it is.
	ErrBusy = errors.New("cannot refresh now")
	// ErrNotRun is that the service has done nothing in this boot that could be refreshed.
	ErrNotRun = errors.New("there is nothing to refresh")
)

// refreshLimit is how long a refresh tries. A D-Bus call waits for 25 s by default.
const refreshLimit = 20 * time.Second

// healUnit is the service that waits for the virtual router.
const healUnit = "nm-cloud-seed-heal.service"

// Refresh asks the virtual router again, after the boot, and renews the seed and
// the copy for the next boot, at which what has changed counts. It returns what has: the
// names of metadata keys, and "user-data". It changes no connection.
//
// Where this boot has no data yet, that is nm-cloud-seed-heal.service's affair: it
// is started, if it does not run, and the error is ErrBusy.
func (d *Daemon) Refresh(ctx context.Context) (changed []string, err error) {
	switch s, err := readState(d.Root); {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%w: the service has not run since the system started (see nm-cloud-seed status)", ErrNotRun)
	case err != nil:
		return nil, err
	case s.Phase == Idle:
		return nil, fmt.Errorf("%w: %s", ErrNotRun, s.Text)
	}
	unlock, err := lock(d.Root)
	if errors.Is(err, ErrRunning) {
		return nil, fmt.Errorf("%w: %w", ErrBusy, err)
	}
	if err != nil {
		return nil, err
	}
	defer unlock()
	switch d.state, err = readState(d.Root); {
	case err != nil:
		return nil, err
	case !(cloudinit.Files{Root: d.Root}).Done():
		return nil, fmt.Errorf("%w: cloud-init is still at work (try again when 'cloud-init status --wait' has ended)", ErrBusy)
	case Wants(d.Root):
		ctx, cancel := context.WithTimeout(ctx, refreshLimit)
		defer cancel()
		if err := d.StartUnit(ctx, healUnit); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrBusy, err)
		}
		return nil, fmt.Errorf("%w: this boot has no data from the virtual router yet, and %s waits for it (see nm-cloud-seed status --watch)", ErrBusy, healUnit)
	case d.state.Instance == nil:
		return nil, fmt.Errorf("%w: %s", ErrNotRun, d.state.Text)
	}

	d.tell(func(s *State) {
		s.Refresh = &Refresh{Text: "asking the virtual router again", Started: time.Now(), Process: thisProcess()}
	})
	changed, err = d.refresh(ctx)
	d.tell(func(s *State) {
		now, r := time.Now(), s.Refresh
		r.Ended, r.Changed = &now, changed
		switch {
		case err != nil:
			r.Text, r.Error = err.Error(), err.Error()
		case len(changed) == 0:
			r.Text = "nothing has changed"
		default:
			r.Text = strings.Join(changed, ", ") + " changed: that counts from the next boot on"
		}
		d.Log.Info("refresh: " + r.Text)
	})
	return changed, err
}

func (d *Daemon) refresh(ctx context.Context) (changed []string, err error) {
	job := d.job()
	job.Deadline, job.Owner, job.LookOnly = refreshLimit, false, true
	job.Report = func(p Progress) {
		if p.Text != "" {
			d.tell(func(s *State) { s.Refresh.Text = p.Text })
		}
	}
	inst, networks, err := job.Fetch(ctx)
	networks.Close()
	if err != nil {
		return nil, err
	}
	if is := d.state.Instance.ID; inst.ID != is {
		return nil, fmt.Errorf("cannot refresh: %s has the data of instance %s, and this VM is instance %s: nothing is changed (if that is meant, reboot)", inst.Origin.Server, inst.ID, is)
	}
	for _, warning := range inst.Warnings {
		d.Log.Warn(warning)
	}
	inst = d.withKeys(inst)
	named := d.nameFor(inst).Of(inst)
	changed = d.store().Changes(named)
	if err := d.writeSeed(named); err != nil {
		return nil, err
	}
	from := fromVR(inst)
	d.keep(from)
	d.tell(func(s *State) { s.Instance = from.inState() })
	return changed, nil
}
