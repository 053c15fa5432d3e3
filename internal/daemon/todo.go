package daemon

import (
	"fmt"

	"github.com/nm-cloud-seed/nm-cloud-seed/datasource/cloudstack"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/cloudinit"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/config"
)

// NothingToDo is the reason why the machine below root needs nothing of us,
// empty if it does, by what its firmware, its kernel command line, its
// configuration and cloud-init's say: all that is known before anything has started, and does
// not change while the system runs.
func NothingToDo(root string, cfg config.Config) (reason string, warnings []string) {
	cmdline, err := config.CommandLine(root)
	override, warnings := config.KernelCommandLine(cmdline)
	if err != nil {
		warnings = append(warnings, err.Error())
	}
	switch platform := cloudstack.ReadPlatform(root); {
	case override == config.OverrideOff:
		return "switched off on the kernel command line", warnings
	case override == config.OverrideForce: // then the platform does not matter
	case cfg.Platform == config.PlatformNone:
		return "switched off in the configuration (platform=none)", warnings
	case cfg.Platform == config.PlatformAuto && !platform.CloudStack() && !listed(root, platform):
		name := "has no DMI product name"
		if platform.Product != "" {
			name = fmt.Sprintf("is a %q by its DMI product name", platform.Product)
		}
		how := "platform=cloudstack in the configuration overrides that"
		if platform.Silent() {
			how = "datasource_list: [ CloudStack ] in cloud-init's configuration, or platform=cloudstack in ours, overrides that"
		}
		return "the machine " + name + ", not on CloudStack (" + how + ")", warnings
	}
	if reason := (cloudinit.Files{Root: root}).Disabled(cmdline); reason != "" {
		return "cloud-init is disabled: " + reason, warnings
	}
	return "", warnings
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
