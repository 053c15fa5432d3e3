package daemon

import (
	"fmt"

	"github.com/nm-cloud-seed/nm-cloud-seed/datasource/cloudstack"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/cloudinit"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/config"
)

// Platform is what is taken for the truth about a machine, and by whose word.
type Platform struct {
	By  string // who says that it is a CloudStack VM; empty: nobody
	Not string // why it is taken for none
	How string // what would change that
	Off string // who has switched us off, whatever it is
}

// Recognize says what the machine below root is taken for, by what its firmware,
// its kernel command line, its configuration and cloud-init's say.
func Recognize(root string, cfg config.Config) (p Platform, warnings []string) {
	cmdline, err := config.CommandLine(root)
	override, warnings := config.KernelCommandLine(cmdline)
	if err != nil {
		warnings = append(warnings, err.Error())
	}
	switch {
	case override == config.OverrideOff:
		p.Off = "switched off on the kernel command line"
	case override == config.OverrideForce: // then the configuration does not matter
		return Platform{By: "nm-cloud-seed=force on the kernel command line"}, warnings
	case cfg.Platform == config.PlatformNone:
		p.Off = "switched off in the configuration (platform=none)"
	}
	firmware := cloudstack.ReadPlatform(root)
	switch {
	case cfg.Platform == config.PlatformCloudStack:
		p.By = "platform=cloudstack in the configuration"
	case firmware.CloudStack():
		p.By = fmt.Sprintf("the firmware: its DMI product name is %q", firmware.Product)
	case listed(root, firmware):
		p.By = "datasource_list: [ CloudStack ] in cloud-init's configuration"
	default:
		name := "has no DMI product name"
		if firmware.Product != "" {
			name = fmt.Sprintf("is a %q by its DMI product name", firmware.Product)
		}
		p.Not, p.How = "the machine "+name+", not on CloudStack", "platform=cloudstack in the configuration overrides that"
		if firmware.Silent() {
			p.How = "datasource_list: [ CloudStack ] in cloud-init's configuration, or platform=cloudstack in ours, overrides that"
		}
	}
	return p, warnings
}

// NothingToDo is the reason why the machine below root needs nothing of us,
// empty if it does: all that is known before anything has started, and does not
// change while the system runs.
func NothingToDo(root string, cfg config.Config) (reason string, warnings []string) {
	p, warnings := Recognize(root, cfg)
	switch {
	case p.Off != "":
		return p.Off, warnings
	case p.By == "":
		return p.Not + " (" + p.How + ")", warnings
	}
	cmdline, _ := config.CommandLine(root) // its error is among the warnings
	if reason := (cloudinit.Files{Root: root}).Disabled(cmdline); reason != "" {
		return "cloud-init is disabled: " + reason, warnings
	}
	return OtherService(root), warnings
}

// NeverStarts returns why the service does not start in this boot of the system below
// root, empty if it does: NothingToDo, as the generator has decided it at the start of
// the boot.
//
// cloud-init's local stage may write netplan's file and reload systemd. Then the order of
// the boot stays, or the units that wait for each other in the old and the new order
// never start.
func NeverStarts(root string, cfg config.Config) (reason string, warnings []string) {
	reason, warnings = NothingToDo(root, cfg)
	if reason != "" && inOrder(root) && reason == OtherService(root) {
		return "", warnings
	}
	return reason, warnings
}

// listed says whether cloud-init's configuration says that this is CloudStack,
// where the firmware cannot.
func listed(root string, platform cloudstack.Platform) bool {
	return platform.Silent() && cloudinit.Files{Root: root}.OnlyCloudStack()
}

// nothingToDo is step 1: NothingToDo, and what cloud-init has found out since.
func (d *Daemon) nothingToDo() string {
	reason, warnings := NothingToDo(d.Root, d.Config)
	for _, warning := range warnings {
		d.Log.Warn(warning)
	}
	files := cloudinit.Files{Root: d.Root}
	switch local := files.LocalDatasource(); {
	case reason != "":
		return reason
	case files.NoDatasource():
		return "cloud-init is disabled: its generator found no datasource for this machine (/run/cloud-init/disabled)"
	case local != "":
		return "cloud-init already has its datasource: " + local
	}
	return ""
}
