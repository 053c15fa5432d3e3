package doctor

import (
	"slices"
	"strings"

	"github.com/nm-cloud-seed/nm-cloud-seed/internal/config"
)

// cloudStack says what the machine is taken for. That it is none of CloudStack's
// is no problem.
func (m *machine) cloudStack() Check {
	if m.platform.By != "" {
		return ok("a CloudStack VM, says " + m.platform.By).with(m.cautions...)
	}
	c := info("no: " + m.platform.Not)
	c.Fix = "only if this is a CloudStack VM: " + m.overrule()
	if m.platform.Off != "" {
		c = c.with(m.platform.Off)
	}
	hidden := m.hidden()
	if m.confErr != nil && (m.world.Root || len(hidden) == 0) { // the word may be in what cannot be read
		c.State, c.Fix = Problem, "mend the configuration, which may have meant to say so"
		c = c.with(strings.Split(m.shown(m.confErr.Error()), "\n")...)
	}
	if !m.world.Root {
		c = c.with(hidden...)
	}
	return c.with(m.cautions...)
}

// hidden are the files with a word on the platform that only root can read.
func (m *machine) hidden() (files []string) {
	var notes []string
	if m.confErr != nil {
		notes = strings.Split(m.shown(m.confErr.Error()), "\n")
	}
	if m.firmware.Silent() {
		conf, _ := m.files.Config()
		notes = append(notes, conf.Notes...)
	}
	for _, note := range denials(notes) {
		files = append(files, note+": only root can tell what it says")
	}
	return files
}

// overrule says how to tell that it is a CloudStack VM.
func (m *machine) overrule() string {
	if m.firmware.Silent() { // cloud-init has to be told as well
		return only + "to " + listFile + ", and reboot"
	}
	return `write "platform=cloudstack" below [main] to /etc/nm-cloud-seed.conf, ` + only + "to " + listFile + ", and reboot"
}

// cloudInitRuns is cloudInitEnabled, and what cloud-init's generator has found.
func (m *machine) cloudInitRuns() Check {
	if c := m.cloudInitEnabled(); c.State != OK {
		return c
	}
	if m.files.NoDatasource() {
		c := problem("in this boot its generator (ds-identify) found no datasource, so that it did not start (/run/cloud-init/disabled)", only+"to "+listFile+", and reboot")
		if m.cloud.OnlyCloudStack() {
			c.Fix = "reboot: the datasource_list says CloudStack by now"
			if m.new() {
				c.State = Warning
			}
		}
		return c
	}
	return ok("")
}

// datasourcesHere is datasources, where the firmware is known.
func (m *machine) datasourcesHere() Check {
	c := m.datasources()
	switch {
	case c.State != Info:
	case m.firmware.CloudStack():
		return ok("CloudStack is found by its firmware")
	case m.identified():
		return ok("CloudStack, says the kernel command line")
	case strings.HasPrefix(m.boot.Datasource, "DataSourceCloudStack"):
		return ok("cloud-init has found CloudStack in this boot")
	default:
		at := m.listAt()
		if at == "" {
			return problem("cloud-init does not find CloudStack: no datasource_list says so, nor does the firmware", only+"to "+listFile)
		}
		return problem("cloud-init does not find CloudStack: the datasource_list at "+at+" has more than that, and the firmware does not name it", only+"there")
	}
	return c
}

// identified says whether the kernel command line tells cloud-init's generator
// (ds-identify) which datasource it is.
func (m *machine) identified() bool {
	return slices.ContainsFunc(strings.FieldsFunc(m.cmdline, func(r rune) bool { return r == ' ' || r == '\n' || r == 0 }), func(word string) bool {
		return word == "ci.ds=CloudStack" || word == "ci.datasource=CloudStack"
	})
}

// switchedOnHere is switchedOn with the kernel command line, which has the last word.
func (m *machine) switchedOnHere() Check {
	switch override, _ := config.KernelCommandLine(m.cmdline); override {
	case config.OverrideOff:
		c := problem(m.platform.Off+": nothing is done", "take nm-cloud-seed=off out of the kernel command line, and reboot")
		if slices.ContainsFunc([]string{"update-grub", "grub2-mkconfig"}, func(name string) bool { return m.program(name) }) {
			c.Fix = "take nm-cloud-seed=off out of /etc/default/grub, make GRUB's configuration anew (update-grub or grub2-mkconfig), and reboot"
		}
		return c
	case config.OverrideForce:
		if m.conf.Platform == config.PlatformNone && m.conf.Ordering != config.OrderingOff { // which nothing overrides
			return ok("by the kernel command line, over platform=none")
		}
	}
	return m.switchedOn()
}
