package doctor

import (
	"cmp"
	"errors"
	"io/fs"
	"slices"
	"strings"

	"github.com/nm-cloud-seed/nm-cloud-seed/internal/daemon"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/lease"
)

const serviceLog = "journalctl -b -u nm-cloud-seed"

// service is the service's run in this boot.
func (m *machine) service() Check {
	switch {
	case errors.Is(m.stateErr, fs.ErrNotExist) && m.neverStarted():
		return m.notStarted()
	case errors.Is(m.stateErr, fs.ErrNotExist) && m.new():
		c := info("it has not run: the package was installed after the system started")
		c.Fix = "reboot"
		return c
	case errors.Is(m.stateErr, fs.ErrNotExist):
		return problem("it has not run since the system started", "systemctl status nm-cloud-seed; "+serviceLog)
	case m.stateErr != nil:
		return problem(m.shown(m.stateErr.Error()), "systemctl restart nm-cloud-seed")
	}
	return m.run().with(m.aftermath()...)
}

// run is how a run stands or ended.
func (m *machine) run() Check {
	phase, text := m.state.Phase, m.state.SeedText()
	if m.state.Outcome.Failed() { // the run itself has not: see this-boot.cloud-init
		phase = daemon.Ready
	}
	switch phase {
	case daemon.Ready:
		if m.fromLastBoot() {
			return warning(text+", fetched "+m.ago(m.state.Instance.Fetched)+", not from the virtual router: "+m.state.Error, m.tryAgain())
		}
		if m.otherNetwork() {
			return warning(text+"; the VM's default network, which has the password and the current SSH keys, has a lease by now", "reboot")
		}
		if m.state.Error != "" && m.state.Error != m.state.Outcome.Reason() { // a run that was killed later
			return warning(text, serviceLog)
		}
		return ok(text)
	case daemon.Failed, daemon.Stopped:
		c := problem(cmp.Or(m.state.Error, m.state.Text), m.tryAgain())
		if m.routerHas() == "" { // what is wrong now is a check of its own
			c.State, c.Detail = Skipped, "failed, for a reason that is still there, see above: "+c.Detail
		}
		return c
	case daemon.Idle:
		return info(m.state.Text)
	}
	return info("still at work: " + m.state.Text)
}

// otherNetwork says whether the data is from another network than the default one,
// which has a lease now.
func (m *machine) otherNetwork() bool {
	from := m.state.Instance
	return from != nil && !from.Default && slices.ContainsFunc(m.view.Leases, func(l lease.Lease) bool {
		return l.Default() && l.Device != from.Device
	})
}

// tryAgain says what to do after a run without the virtual router.
func (m *machine) tryAgain() string {
	switch {
	case m.state.Healing != nil:
		return "see to what is wrong above; then it goes on by itself: nm-cloud-seed status --watch"
	case m.routerHas() != "" && m.exists("run/nm-cloud-seed/wanting"):
		return "the virtual router answers now: nm-cloud-seed refresh, and see nm-cloud-seed status --watch"
	case m.routerHas() != "":
		return "the virtual router answers now: reboot"
	}
	return "see to what is wrong above, then reboot; " + serviceLog + " has the details"
}

// aftermath is what a run has left to say.
func (m *machine) aftermath() (items []string) {
	add := func(what, text string) {
		if text != "" {
			items = append(items, what+": "+text)
		}
	}
	if m.state.Healing != nil {
		add("healing", m.state.Healing.Text)
	}
	if m.state.Refresh != nil {
		add("refresh", m.state.Refresh.Text)
	}
	add("password", m.state.Password)
	add("SSH keys", m.state.SSHKeys)
	if devices := strings.Join(m.state.Temporary, ", "); devices != "" {
		add("temporary connection", "one of ours holds "+devices)
	}
	switch devices := strings.Join(m.state.Kept, ", "); {
	case devices != "" && m.state.Keeping != nil:
		add("temporary connection", "'nm-cloud-seed keep' has not ended, run it again: one of ours stays on "+devices+" until shutdown, or is permanent already")
	case devices != "":
		add("temporary connection", "one of ours stays on "+devices+" until shutdown, 'nm-cloud-seed keep' makes it permanent")
	}
	if m.state.Instance != nil {
		for _, warning := range m.state.Instance.Warnings {
			add("metadata", warning)
		}
	}
	return items
}
