package doctor

import (
	"errors"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/nm-cloud-seed/nm-cloud-seed/internal/cloudinit"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/daemon"
)

const cloudLog = "/var/log/cloud-init.log"

func sorted(list []string) []string {
	slices.Sort(list)
	return list
}

// outcome is what cloud-init made of the seed, nil if there is none; the status says
// the same.
func (m *machine) outcome() *cloudinit.Outcome {
	if m.stateErr != nil {
		return nil
	}
	return m.state.Outcome
}

// runFailed reports whether the service's run has failed, and left cloud-init no data.
func (m *machine) runFailed() bool {
	return m.stateErr == nil && m.state.Phase == daemon.Failed && !m.state.Outcome.Failed()
}

// stages says how cloud-init's run in this boot stands or ended.
func (m *machine) stages() Check {
	switch b := m.boot; {
	case m.outcome().Failed() && (len(m.state.Outcome.Failures)+len(m.state.Outcome.Earlier) > 0 || m.bootErr != nil): // else see datasource
		o := m.state.Outcome
		c := problem("it failed, and the VM lacks some of CloudStack's data:", "see "+cloudLog+", and cloud-init status --long").with(o.Failures...).with(o.Earlier...)
		if o.Identity != "" {
			c = c.with(o.Identity)
		}
		return c.with(o.Complaints...)
	case errors.Is(m.bootErr, fs.ErrNotExist) && m.new():
		return nextBoot("cloud-init has not run since the system started")
	case errors.Is(m.bootErr, fs.ErrNotExist):
		return problem("cloud-init has not run since the system started", "systemctl status cloud-init.target cloud-init-local.service")
	case errors.Is(m.bootErr, fs.ErrPermission):
		c := onlyRoot("only root can tell, who may read /run/cloud-init/status.json")
		c.State = Skipped // and so is what depends on it
		return c
	case m.bootErr != nil:
		return problem(m.bootErr.Error(), "cloud-init status --long; a reboot writes the file anew")
	case len(b.Broken) > 0 && m.runFailed():
		return Check{State: Skipped, Detail: "these stages failed for lack of data, see this-boot.service: " + strings.Join(b.Broken, ", ")}
	case len(b.Broken) > 0 && m.new():
		return nextBoot("these stages failed: " + strings.Join(b.Broken, ", ")).with(b.Failed...)
	case len(b.Broken) > 0:
		c := problem("these stages failed: "+strings.Join(b.Broken, ", "), "see "+cloudLog+", and cloud-init status --long")
		return c.with(b.Failed...)
	case len(b.Failed) > 0:
		return warning("these modules failed:", "see "+cloudLog+", and cloud-init status --long").with(b.Failed...)
	case !b.Done:
		return m.underWay()
	case len(b.Complaints) > 0:
		c := info("all stages are done; it has complaints:").with(b.Complaints...)
		c.Fix = "see " + cloudLog + ", and cloud-init status --long"
		return c
	}
	return ok("all stages are done")
}

// underWay is a run that has not ended. One that was killed, or a stage that
// systemd has left out, looks the same, but for the time.
func (m *machine) underWay() Check {
	const usual = 15 * time.Minute
	text := "under way"
	if m.boot.Stage != "" {
		text += ", in its " + m.boot.Stage + " stage"
	}
	up := m.world.Now().Sub(m.world.Booted)
	if m.world.Booted.IsZero() || up < usual || m.state.Healing != nil { // which runs the stages again
		return info(text)
	}
	return warning(text+", "+age(up)+" after the system started",
		"see whether a unit of cloud-init's has failed or was left out: systemctl list-units --all 'cloud-*'; cloud-init status --long")
}

// nextBoot is what is no wonder where the package is new.
func nextBoot(detail string) Check {
	c := info(detail + "; nm-cloud-seed was not there at boot")
	c.Fix = "reboot"
	return c
}

// datasource says where cloud-init has the VM's data from.
func (m *machine) datasource() Check {
	b := m.boot
	text := b.Datasource
	if b.CloudID != "" {
		text += ", cloud-id " + b.CloudID
	}
	if b.Instance != "" {
		text += ", instance " + b.Instance
	}
	switch name := strings.TrimPrefix(b.Datasource, "DataSource"); {
	case m.elsewhere() != "" && m.outcome().Failed():
		return problem(text+", although there is a seed", "see cloud-init.datasources and cloud-init.seeds above, and "+cloudLog)
	case m.elsewhere() != "":
		return info("cloud-init has the VM's data from elsewhere: " + text)
	case name == "" && !b.Done:
		return info("none yet")
	case name == "" || name == "None":
		return m.noDatasource()
	case m.outcome().Failed():
		return problem(text+", but the seed is of instance "+m.state.Instance.ID, "reboot; if that does not help, see "+cloudLog)
	}
	return ok(text)
}

// elsewhere is the datasource that cloud-init has the VM's data from, if that is
// another than CloudStack's, such as a config drive.
func (m *machine) elsewhere() string {
	switch name := strings.TrimPrefix(m.boot.Datasource, "DataSource"); {
	case name == "", name == "None", strings.HasPrefix(name, "CloudStack"):
		return ""
	}
	return m.boot.Datasource
}

// spared is that something is missing where the VM's data is from elsewhere.
func (m *machine) spared(what string, items []string) Check {
	return info("no " + what + ", and none is needed: cloud-init has the VM's data from " + m.elsewhere()).with(items...)
}

func (m *machine) noDatasource() Check {
	const text = "none: cloud-init set the VM up without CloudStack's data"
	switch {
	case m.runFailed():
		return Check{State: Skipped, Detail: "none, as this-boot.service failed: cloud-init set the VM up without CloudStack's data"}
	case m.seeded():
		return problem(text+", although there is a seed", "see what "+cloudLog+" says of DataSourceCloudStack")
	case m.other != "":
		return problem(text+"; nm-cloud-seed does nothing, as "+m.other, "see what "+cloudLog+" says of DataSourceCloudStack, or have NetworkManager run the devices")
	case m.new():
		return warning(text+", as nm-cloud-seed was not there at boot", "reboot")
	}
	return problem(text, "see to what is wrong above, then reboot")
}
