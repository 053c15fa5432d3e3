// Package cloudinit is everything we know of cloud-init's files. What it says
// was read in cloud-init 22.4.2 and compared with later versions.
package cloudinit

import (
	"io/fs"
	"strings"

	"github.com/nm-cloud-seed/nm-cloud-seed/internal/rootfs"
)

// Files are cloud-init's files below Root; "" is the running system.
type Files struct {
	Root string
}

// The files that switch cloud-init on and off.
const (
	enabledFile      = "etc/cloud/cloud-init.enabled"
	disabledFile     = "etc/cloud/cloud-init.disabled"
	runDisabledFile  = "run/cloud-init/disabled"
	parameter        = "cloud-init="
	parameterEnable  = "enabled"
	parameterDisable = "disabled"
)

// Disabled says how cloud-init was switched off; empty if it was not, or if
// that cannot be known. cmdline is the kernel's command line, or in a container
// that of the first process.
//
// The order is that of cloud-init-generator: command line (last word), then
// cloud-init.enabled, then cloud-init.disabled. Newer units also have ConditionPathExists=!/etc/cloud/cloud-init.disabled, so
// there the file wins over cloud-init=enabled; we stay with the older order,
// since a fetch for nothing is harmless and a missing seed is not.
func (f Files) Disabled(cmdline string) (reason string) {
	word := lastWord(cmdline)
	if word == parameterDisable {
		return "cloud-init=disabled on the kernel command line"
	}
	fsys, done, err := rootfs.Open(f.Root)
	if err != nil {
		return ""
	}
	defer done()
	if word == "" && !isFile(fsys, enabledFile) && isFile(fsys, disabledFile) {
		return "/" + disabledFile + " exists"
	}
	return ""
}

// NoDatasource says whether cloud-init's generator (ds-identify) found that
// cloud-init has no datasource for this machine. It has said so by the time
// services start, but not for another generator.
func (f Files) NoDatasource() bool {
	fsys, done, err := rootfs.Open(f.Root)
	if err != nil {
		return false
	}
	defer done()
	_, err = fs.Stat(fsys, runDisabledFile)
	return err == nil
}

// lastWord is the last cloud-init=enabled or cloud-init=disabled. The generator
// looks at the last cloud-init= alone: any other word in it means neither.
func lastWord(cmdline string) string {
	fields := strings.FieldsFunc(cmdline, func(r rune) bool { return r == ' ' || r == '\n' || r == 0 })
	last := ""
	for _, field := range fields {
		if word, ok := strings.CutPrefix(field, parameter); ok {
			last = word
		}
	}
	if last != parameterEnable && last != parameterDisable {
		return ""
	}
	return last
}

// isFile is test(1)'s -f, which the generator uses.
func isFile(fsys fs.FS, name string) bool {
	info, err := fs.Stat(fsys, name)
	return err == nil && info.Mode().IsRegular()
}
