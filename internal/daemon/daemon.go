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

	"github.com/nm-cloud-seed/nm-cloud-seed/datasource"
	"github.com/nm-cloud-seed/nm-cloud-seed/datasource/cloudstack"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/atomicfile"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/cloudinit"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/config"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/seed"
	"github.com/nm-cloud-seed/nm-cloud-seed/nm"
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
	// StartUnit starts a unit and waits until it is started; of a oneshot, until it
	// has ended. Heal and Refresh need it.
	StartUnit func(ctx context.Context, name string) error
	// ResetFailed makes units that have failed inactive. Heal needs it.
	ResetFailed func(ctx context.Context, names ...string) error
	// Abort ends the process of a run that hangs; nil: nothing does.
	Abort func()

	mu    sync.Mutex
	state State
	mute  bool // a state that cannot be written has been said
}

// Run does the whole job once, before cloud-init's network stage. It returns nil
// when the seed is in place or there was nothing to do; the error of a failed run
// says what was tried. The context's end (SIGTERM) ends everything and leaves no
// connection of its own.
func (d *Daemon) Run(ctx context.Context) error {
	stop := d.boundStart()
	defer stop()
	d.state = State{Started: time.Now(), StartedMonotonic: Monotonic().Microseconds(), Process: thisProcess()}
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
		return d.idle(reason)
	}

	// 2 to 6. NetworkManager, a lease on each device, the virtual router, its
	// metadata: or, of a virtual router that stays silent, those of the last boot.
	job := d.job()
	job.Deadline = d.Config.Deadline
	job.Enough = func() bool { return d.lastBoot() != nil }
	job.Check = d.checkUnmanaged
	inst, networks, err := job.Fetch(ctx)
	defer networks.Close()
	defer func() { // before the connections go
		if ctx.Err() != nil { // an end of our own is none of the unit, which remains
			d.Notify("STOPPING=1")
		}
	}()
	fail := func(err error) error { // the VM keeps its network all the same
		err = d.fail(err)
		if len(networks.held) > 0 && ctx.Err() == nil {
			d.leave(ctx, networks, networks.held)
		}
		return err
	}
	if ctx.Err() != nil {
		d.tell(func(s *State) {
			s.step(string(Stopped))
			s.Phase, s.Text = Stopped, "stopped before there was a seed"
		})
		return ctx.Err()
	}
	var other *otherService
	if errors.As(err, &other) {
		return d.idle(other.Error())
	}
	from := fromVR(inst)
	if err != nil {
		if from, err = d.fromLastBoot(err); from == nil {
			return fail(err)
		}
		d.tell(func(s *State) { s.step("no virtual router") })
	}

	// 7. The seed, for cloud-init's network stage, which waits for us. With READY,
	// a step with more privileges puts the lease where cloud-init looks. Should we be
	// killed after that, Fallback needs to know whose seed it is.
	d.tell(func(s *State) {
		if s.Instance = from.inState(); from.silent != nil {
			s.Error = from.silent.Error()
		}
	})
	name := d.nameFor(from.Instance)
	if err := d.seed(from.Instance, name); err != nil {
		return fail(err)
	}

	d.forgetAllBut(from.Instance.ID)

	// What cloud-init would not apply by itself: a password, changed SSH keys.
	hand := &handover{Daemon: d, view: networks.current(), noVirtualRouter: from.silent != nil, fqdn: name.FQDN}
	hand.over(ctx, from.Instance)

	// 8. Ready: cloud-init's network stage may start.
	d.seeded(from)
	d.Notify("READY=1")
	stop()

	// 9. For the next boot. Once cloud-init has applied what was handed over, record
	// it and tell the password server.
	if from.silent == nil {
		d.keep(from)
		d.satisfied()
	}
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

// job is how we ask, at boot and later.
func (d *Daemon) job() Job {
	return Job{
		Log: d.Log, UUID: cloudstack.ReadPlatform(d.Root).InstanceUUID(), AnyInstance: !d.Config.CheckID,
		Owner: true, Report: d.progress,
	}
}

// store is where the seed is.
func (d *Daemon) store() seed.Store {
	return seed.Store{Dir: filepath.Join(d.Root, RunDir), Link: filepath.Join(d.Root, SeedLink)}
}

// writeSeed writes the seed alone.
func (d *Daemon) writeSeed(inst *datasource.Instance) error {
	kept, err := d.store().Write(inst)
	if kept != "" {
		d.Log.WithField("path", kept).Warn("a seed that was not ours was in the way; it is kept under another name")
	}
	return err
}

// seed writes the seed, and what old versions of cloud-init need besides.
func (d *Daemon) seed(inst *datasource.Instance, name seed.Name) error {
	from := inst.Origin
	lease := cloudinit.Lease{Index: from.Index, Server: from.Server, Router: from.Router, Domain: name.Lease}
	if err := lease.LayReady(filepath.Join(d.Root, RunDir)); err != nil {
		d.Log.WithError(err).Warn("cloud-init up to 25.1 may not find the seed")
	}
	// The handover writes this once more. Should we be killed before that, cloud-init
	// needs it with the seed.
	if name.FQDN != "" && !(cloudinit.Files{Root: d.Root}).Begun(networkStage) {
		if err := (cloudinit.Handover{FQDN: name.FQDN}).Write(filepath.Join(d.Root, RunDir)); err != nil {
			d.Log.WithError(err).Warn("cloud-init may ask a DHCP client for a domain")
		}
	}
	return d.writeSeed(name.Of(inst)) // last: Fallback takes a seed that is there for complete
}

// seeded says that the seed is in place.
func (d *Daemon) seeded(from *source) {
	inst, origin := from.Instance, from.Instance.Origin
	text := fmt.Sprintf("seeded instance %s from %s (%s on %s)", inst.ID, origin.Server, origin.Role, origin.Device)
	warn := inst.Warnings
	if from.silent != nil {
		text, warn = fmt.Sprintf("seeded instance %s from the %s", inst.ID, LastBoot), nil // which has been said
	}
	for _, warning := range warn {
		d.Log.Warn(warning)
	}
	d.Log.WithFields(logrus.Fields{"instance": inst.ID, "server": origin.Server, "device": origin.Device}).Info(text)
	d.tell(func(s *State) {
		s.step("seed")
		s.Phase, s.Text, s.Error = Ready, text, ""
		if from.silent != nil {
			s.Error = from.silent.Error()
		}
		s.Instance = from.inState()
	})
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
// It says why, and keeps cloud-init from searching once more, see endSearch. The state
// comes last: killed before that, Fallback does it all again.
func (d *Daemon) fail(err error) error {
	d.endSearch()
	d.proclaim(err.Error())
	d.tell(func(s *State) {
		s.step(string(Failed))
		s.Phase, s.Text, s.Error, s.Instance = Failed, err.Error(), err.Error(), nil
	})
	return err
}

// proclaim says something where an operator looks, who may see nothing but the
// console.
func (d *Daemon) proclaim(text string) {
	if err := d.writeIssue(text); err != nil {
		d.Log.WithError(err).Warn("cannot leave word for the login prompt")
	}
	d.writeConsole(text)
}

// clear takes back what an earlier run left.
func (d *Daemon) clear() error {
	var half error
	for _, dir := range []string{RunDir, RunDir + "/private", stateDir} {
		half = errors.Join(half, atomicfile.TidyDir(filepath.Join(d.Root, dir)))
	}
	files := cloudinit.Files{Root: d.Root}
	if !files.Begun(networkStage) { // of an earlier boot, where /run is kept (soft-reboot)
		half = errors.Join(half, atomicfile.Remove(filepath.Join(d.Root, outcomePath)))
	}
	half = errors.Join(half, atomicfile.Remove(filepath.Join(d.Root, stagesFile)))
	return errors.Join(half, cloudinit.ClearReady(filepath.Join(d.Root, RunDir)), d.removeIssue(), d.want(), nm.ForgetLeases(d.Root))
}
