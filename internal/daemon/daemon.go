// Package daemon is the run of the service, step by step, and what it tells
// systemd, the operator and other programs of it.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/nm-cloud-seed/nm-cloud-seed/internal/atomicfile"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/cloudinit"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/config"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/seed"
)

// Where things are.
const (
	RunDir   = seed.DefaultDir
	SeedLink = seed.DefaultLink // cloud-init's, for its CloudStack datasource
)

// Daemon is one run of the service.
type Daemon struct {
	Root   string // "" for the real system; tests put theirs here
	Log    logrus.FieldLogger
	Config config.Config
	Notify func(state string) // sd_notify(3)

	mu    sync.Mutex
	state State
	mute  bool // a state that cannot be written has been said
}

// Run does the whole job once. It returns nil when the seed is in place or
// there was nothing to do; the error of a failed run says what was tried. The
// context's end (SIGTERM) ends everything and leaves no connection of its own.
func (d *Daemon) Run(ctx context.Context) error {
	d.state = State{Started: time.Now(), Process: thisProcess()}
	if err := atomicfile.MkdirAll(filepath.Join(d.Root, RunDir), 0o755); err != nil {
		return d.fail(err)
	}
	unlock, err := lock(d.Root)
	if errors.Is(err, ErrRunning) {
		return err // the other one goes on, and so does its state
	}
	if err != nil {
		return d.fail(err)
	}
	defer unlock()
	d.say(Starting, "starting")
	defer d.ended()
	if err := d.clear(); err != nil {
		d.Log.WithError(err).Warn("cannot clear away what an earlier run left")
	}

	// 1. Is there anything to do?
	if reason := d.nothingToDo(); reason != "" {
		d.Log.Info("nothing to do: " + reason)
		d.say(Idle, "nothing to do: "+reason)
		d.Notify("READY=1")
		return nil
	}

	// 2 to 6. NetworkManager, a lease on each device, the virtual router, its metadata.
	stop := d.extendTimeout()
	job := Job{Log: d.Log, Platform: Platform(d.Root, d.Config), Deadline: d.Config.Deadline, Owner: true, Report: d.progress}
	inst, networks, err := job.Fetch(ctx)
	defer networks.Close()
	defer func() { // before the connections go
		if ctx.Err() != nil { // an end of our own is none of the unit, which remains
			d.Notify("STOPPING=1")
		}
	}()
	stop()
	fail := func(err error) error { // the VM keeps its network all the same
		err = d.fail(err)
		if len(networks.held) > 0 && ctx.Err() == nil {
			d.leave(ctx, networks, networks.held)
		}
		return err
	}
	if ctx.Err() != nil {
		d.say(Stopped, "stopped before there was a seed")
		return ctx.Err()
	}
	if err != nil {
		return fail(err)
	}
	for _, warning := range inst.Warnings {
		d.Log.Warn(warning)
	}

	// 7. The seed, for cloud-init's network stage, which waits for us.
	store := seed.Store{Dir: filepath.Join(d.Root, RunDir), Link: filepath.Join(d.Root, SeedLink)}
	kept, err := store.Write(inst)
	if err != nil {
		return fail(err)
	}
	if kept != "" {
		d.Log.WithField("path", kept).Warn("a seed that was not ours was in the way; it is kept under another name")
	}

	// With READY, a step with more privileges puts this where cloud-init looks.
	from := inst.Origin
	lease := cloudinit.Lease{Index: from.Index, Server: from.Server, Router: from.Router, Domain: from.Domain}
	if err := lease.LayReady(filepath.Join(d.Root, RunDir)); err != nil {
		d.Log.WithError(err).Warn("cloud-init up to 25.1 may not find the seed")
	}

	// What cloud-init would not apply by itself: a password, changed SSH keys.
	hand := d.handOver(ctx, inst, networks.current())

	// 8. Ready: cloud-init's network stage may start.
	text := fmt.Sprintf("seeded instance %s from %s (%s on %s)", inst.ID, from.Server, from.Role, from.Device)
	d.Log.WithFields(logrus.Fields{"instance": inst.ID, "server": from.Server, "device": from.Device}).Info(text)
	d.tell(func(s *State) {
		s.step("seed")
		s.Phase, s.Text = Ready, text
		s.Instance = &Instance{
			ID: inst.ID, Server: from.Server, Role: from.Role, Device: from.Device,
			Keys: len(inst.Metadata), UserData: len(inst.UserData), Seed: SeedLink, Warnings: inst.Warnings,
		}
	})
	d.Notify("READY=1")

	// 9. Once cloud-init has applied what was handed over, record it and tell the
	// password server.
	hand.finish(ctx, networks.current)

	// 10. Keep the network that the seed came over, while nothing else takes its
	// place. Once cloud-init is done, which may still bring up a profile of its
	// own, that is NetworkManager's affair: nothing of ours stays resident.
	held := networks.Hold(ctx, cloudinit.Files{Root: d.Root}.Done)
	if len(held) > 0 && ctx.Err() == nil {
		d.leave(ctx, networks, held)
	}
	return nil
}

// leaveLimit bounds the handover to a NetworkManager that may be away.
const leaveLimit = 10 * time.Second

// leave ends a run whose temporary connections are the VM's only network.
func (d *Daemon) leave(ctx context.Context, networks *Networks, held []string) {
	ctx, cancel := context.WithTimeout(ctx, leaveLimit)
	defer cancel()
	kept, err := networks.Leave(ctx)
	if err != nil {
		d.Log.Warn(err)
	}
	if len(kept) > 0 {
		d.tell(func(s *State) { s.Kept = kept })
		d.Log.WithField("devices", kept).Info("no other profile has taken the place of the temporary connection: it stays until shutdown")
	}
	lost := slices.DeleteFunc(slices.Clone(held), func(device string) bool { return slices.Contains(kept, device) })
	if len(lost) > 0 {
		d.Log.WithField("devices", lost).Warn("NetworkManager has not taken over the temporary connection: once it is lost, it does not come back, and the VM may be without a network")
	}
}

// fail is the end of a run that could not do its job: boot goes on without it.
// It says why where an operator looks, who may see nothing but the console, and
// keeps cloud-init from searching once more.
func (d *Daemon) fail(err error) error {
	d.tell(func(s *State) { s.Phase, s.Text, s.Error = Failed, err.Error(), err.Error() })
	files := errors.Join(
		cloudinit.GiveUp(filepath.Join(d.Root, RunDir)),
		d.writeIssue(err.Error()),
	)
	if files != nil {
		d.Log.WithError(files).Warn("cannot leave word of the failure")
	}
	d.writeConsole(err.Error())
	return err
}

// clear takes back what an earlier run left.
func (d *Daemon) clear() error {
	return errors.Join(cloudinit.ClearReady(filepath.Join(d.Root, RunDir)), d.removeIssue())
}
