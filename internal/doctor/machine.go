package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/nm-cloud-seed/nm-cloud-seed/datasource/cloudstack"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/cloudinit"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/config"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/daemon"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/lease"
	"github.com/nm-cloud-seed/nm-cloud-seed/systemd"
)

// machine is the one that runs: its files, as of an image, and what it is up to.
type machine struct {
	*image
	world    World
	platform daemon.Platform
	cautions []string // of the kernel command line
	firmware cloudstack.Platform

	view      lease.View // of NetworkManager
	nmVersion string
	viewErr   error
	survey    func() survey // made once, and only if somebody asks
	failed    func() Check  // of cloud-init's units

	state    daemon.State // of the service
	stateErr error
	boot     cloudinit.Boot
	bootErr  error
}

// survey is what the networks' candidates answer.
type survey struct{ routers, passwords []cloudstack.Finding }

// System examines the running system, and changes nothing. On a machine that is
// not on CloudStack it says so, looks at nothing else and asks nobody.
func System(ctx context.Context, w World) Report { return examineSystem(ctx, "", w) }

// examineSystem is System with its files below a directory.
func examineSystem(ctx context.Context, dir string, w World) Report {
	r := Report{Root: "/"}
	conf, confErr := config.Load(dir)
	m := &machine{image: &image{dir: dir, files: cloudinit.Files{Root: dir}, confErr: confErr}, world: w, firmware: cloudstack.ReadPlatform(dir)}
	if m.platform, m.cautions = daemon.Recognize(dir, conf); m.platform.By == "" {
		r.Checks, r.end = examine([]step{{"platform.cloudstack", m.cloudStack, nil}}), "Not a CloudStack VM: nm-cloud-seed does nothing here, and nothing else was looked at."
		return r
	}
	files, done, err := load(dir, "")
	if err != nil {
		r.Checks = examine([]step{
			{"platform.cloudstack", m.cloudStack, nil},
			{"ordering.units", func() Check {
				return problem(err.Error(), "run this on the VM itself, not in a container without systemd")
			}, nil},
		})
		return r
	}
	defer done()
	m.image = files
	m.cmdline, _ = config.CommandLine(dir) // an error is among the cautions
	m.view, m.nmVersion, m.viewErr = w.NetworkManager(ctx)
	m.state, m.stateErr = daemon.ReadState(dir)
	m.boot, m.bootErr = m.files.Boot()
	m.findOtherHere()
	m.survey = sync.OnceValue(func() survey { return m.ask(ctx) })
	m.failed = func() Check { return m.failedStages(ctx) }
	r.Checks = examine(m.steps())
	r.end = m.soFar()
	return r
}

// soFar returns the summary without a problem while it is not known what becomes of the VM.
func (m *machine) soFar() string {
	switch end := m.end(); {
	case m.other != "":
		return end
	case m.new():
		return "All is well so far. It takes effect when the VM is rebooted."
	case end != "":
		return end
	case m.stateErr != nil:
	case !m.state.Phase.End():
		return "All is well so far. nm-cloud-seed is still at work."
	case m.state.Outcome.Running():
		return "All is well so far. cloud-init is still at work."
	case m.state.Phase == daemon.Ready && m.state.Outcome == nil:
		return "All is well so far. Only root can tell what cloud-init made of the seed."
	}
	return ""
}

// steps are all checks, in their order, with the earlier ones that they need.
func (m *machine) steps() []step {
	const (
		cloudInit = "cloud-init.installed"
		enabled   = "cloud-init.enabled"
		nm        = "NetworkManager.installed"
		started   = "NetworkManager.started"
		running   = "NetworkManager.running"
		devices   = "NetworkManager.devices"
		ours      = "nm-cloud-seed.installed"
		on        = "nm-cloud-seed.switched-on"
		plan      = "ordering.plan"
		written   = "ordering.written"
		router    = "virtual-router.metadata"
	)
	needs := func(names ...string) []string { return names }
	steps := []step{
		{"platform.cloudstack", m.cloudStack, nil},
		{"platform.system", m.system, nil},
		{nm, m.networkManager, nil},
		{started, m.networkManagerStarted, needs(nm)},
		{"NetworkManager.dbus", m.dbus, needs(nm)},
		{"NetworkManager.alone", m.alone, nil},
		{running, m.networkManagerRuns, needs(nm)},
		{devices, m.leases, needs(running)},
		{cloudInit, m.cloudInit, nil},
		{"cloud-init.version", m.cloudInitVersion, needs(cloudInit)},
		{enabled, m.cloudInitRuns, needs(cloudInit)},
		{"cloud-init.configuration", m.cloudInitConfig, needs(cloudInit)},
		{"cloud-init.datasources", m.datasourcesHere, needs(cloudInit)},
		{"cloud-init.seeds", m.otherSeeds, needs(cloudInit)},
		{"cloud-init.network", m.network, needs(cloudInit, started)},
		{"cloud-init.dhcp-client", m.dhcpClient, needs(cloudInit)},
		{"cloud-init.fqdn", m.fqdn, needs(cloudInit)},
		{ours, m.ours, nil},
		{"nm-cloud-seed.configuration", m.configuration, needs(ours)},
		{on, m.switchedOnHere, needs(ours)},
		{"nm-cloud-seed.drop-in", m.dropIn, needs(ours)},
		{"ordering.units", m.readable, nil},
		{"ordering.cycles", m.cycles, nil},
		{"ordering.deadlock", m.deadlock, needs(cloudInit, started)},
		{plan, m.generator, needs(cloudInit, started, ours, on)},
		{written, m.written, needs(plan, enabled)},
		{router, m.metadata, needs(devices)},
		{"virtual-router.passwords", m.passwords, needs(router)},
		{"this-boot.service", m.service, needs(written)},
		{"this-boot.seed", m.seed, needs("this-boot.service")},
		{"this-boot.cloud-init", m.stages, needs(enabled)},
		{"this-boot.datasource", m.datasource, needs("this-boot.cloud-init")},
		{"this-boot.units", m.failed, needs(enabled)},
	}
	if !m.world.Root {
		for n := range steps {
			steps[n].look = m.asUser(steps[n])
		}
	}
	return steps
}

// asUser makes a check as somebody who may not read everything: what comes of
// that is no fault of the system's. It matters to a few checks only.
func (m *machine) asUser(of step) func() Check {
	return func() Check {
		m.denied = nil
		c := of.look()
		if c.State != Warning && c.State != Problem {
			return c
		}
		var hidden []string
		switch of.name {
		case "cloud-init.configuration", "nm-cloud-seed.configuration", "ordering.units": // whose items are complaints
			if hidden = denials(append([]string{c.Detail}, c.Items...)); len(hidden) < len(c.Items) {
				return c
			}
		case "cloud-init.datasources", "cloud-init.seeds", "cloud-init.network":
			hidden = append(denials(m.cloud.Notes), m.denied...)
		case "ordering.written", "this-boot.service": // netplan's files, which are root's, may say why there is nothing
			if errors.Is(m.stateErr, fs.ErrNotExist) {
				hidden = m.deniedNetwork
			}
		}
		if len(hidden) == 0 {
			return c
		}
		return onlyRoot("only root can tell, who may read this:").with(slices.Compact(sorted(hidden))...)
	}
}

// denials are the texts that say what may not be read.
func denials(texts []string) (denied []string) {
	for _, text := range texts {
		if strings.Contains(text, fs.ErrPermission.Error()) {
			denied = append(denied, text)
		}
	}
	return denied
}

func onlyRoot(detail string) Check {
	c := info(detail)
	c.Fix = "sudo nm-cloud-seed doctor"
	return c
}

// new says whether the package has come, or was replaced, since the system
// started, and the service has had no turn yet.
func (m *machine) new() bool {
	info, err := fs.Stat(m.fsys, "usr/lib/systemd/system/"+systemd.Service)
	if err != nil || m.world.Booted.IsZero() || !errors.Is(m.stateErr, fs.ErrNotExist) {
		return false
	}
	stat, is := info.Sys().(*syscall.Stat_t)
	return is && time.Unix(stat.Ctim.Unix()).After(m.world.Booted)
}

// ago says how long ago something was.
func (m *machine) ago(t time.Time) string {
	d := m.world.Now().Sub(t)
	if d < 0 {
		return "in the future, by this clock"
	}
	return age(d) + " ago"
}

// age is a duration as people read it.
func age(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d s", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%d min", d/time.Minute)
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", d/time.Hour)
	default:
		return fmt.Sprintf("%d days", d/(24*time.Hour))
	}
}
