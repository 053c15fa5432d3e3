// Package daemon is the run of the service, step by step, and what it tells
// systemd, the operator and other programs of it.
package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/nm-cloud-seed/nm-cloud-seed/datasource/cloudstack"
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
// context's end (SIGTERM) ends everything and leaves no connection behind.
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
	if err := d.clearFailure(); err != nil {
		d.Log.WithError(err).Warn("cannot clear away an earlier run's failure")
	}

	// 1. Is there anything to do?
	platform := Platform(d.Root, d.Config)
	if reason := d.nothingToDo(platform); reason != "" {
		d.Log.Info("nothing to do: " + reason)
		d.say(Idle, "nothing to do: "+reason)
		d.Notify("READY=1")
		return nil
	}

	// 2 to 6. NetworkManager, a lease on each device, the virtual router, its metadata.
	stop := d.extendTimeout()
	job := Job{Log: d.Log, Platform: platform, Deadline: d.Config.Deadline, Owner: true, Report: d.progress}
	inst, networks, err := job.Fetch(ctx)
	defer networks.Close()
	defer d.Notify("STOPPING=1") // before the connections go
	stop()
	if ctx.Err() != nil {
		d.say(Stopped, "stopped before there was a seed")
		return ctx.Err()
	}
	if err != nil {
		return d.fail(err)
	}
	for _, warning := range inst.Warnings {
		d.Log.Warn(warning)
	}

	// 7. The seed, for cloud-init's network stage, which waits for us.
	store := seed.Store{Dir: filepath.Join(d.Root, RunDir), Link: filepath.Join(d.Root, SeedLink)}
	kept, err := store.Write(inst)
	if err != nil {
		return d.fail(err)
	}
	if kept != "" {
		d.Log.WithField("path", kept).Warn("a seed that was not ours was in the way; it is kept under another name")
	}

	// 8. Ready: cloud-init's network stage may start.
	from := inst.Origin
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

	// 9. Keep the network that the seed came over, while nothing else takes its place.
	networks.Hold(ctx)
	return nil
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

// clearFailure takes back what an earlier run's failure left.
func (d *Daemon) clearFailure() error {
	return errors.Join(cloudinit.Clear(filepath.Join(d.Root, RunDir)), d.removeIssue())
}

// Platform is what the machine below root is. Where the configuration says that
// it is on CloudStack, the firmware is not asked, nor for the machine's UUID.
func Platform(root string, cfg config.Config) cloudstack.Platform {
	if cfg.Platform == config.PlatformCloudStack {
		return cloudstack.Platform{}
	}
	return cloudstack.ReadPlatform(root)
}

// nothingToDo is step 1: the reason why this machine needs nothing of us.
func (d *Daemon) nothingToDo(platform cloudstack.Platform) string {
	cmdline, err := config.CommandLine(d.Root)
	if err != nil {
		d.Log.Warn(err)
	}
	override, warnings := config.KernelCommandLine(cmdline)
	for _, warning := range warnings {
		d.Log.Warn(warning)
	}
	files := cloudinit.Files{Root: d.Root}
	switch {
	case override == config.OverrideOff:
		return "switched off on the kernel command line"
	case override == config.OverrideForce: // then the platform does not matter
	case d.Config.Platform == config.PlatformNone:
		return "switched off in the configuration (platform=none)"
	case d.Config.Platform == config.PlatformAuto && !platform.CloudStack():
		return fmt.Sprintf("the machine is a %q, not on CloudStack by its DMI product name (platform=cloudstack in the configuration overrides that)", cmp.Or(platform.Product, "machine without a name"))
	}
	if reason := files.Disabled(cmdline); reason != "" {
		return "cloud-init is disabled: " + reason
	}
	if name := files.LocalDatasource(); name != "" {
		return "cloud-init already has its datasource: " + name
	}
	return ""
}
