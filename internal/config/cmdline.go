package config

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"unicode"

	"github.com/nm-cloud-seed/nm-cloud-seed/internal/rootfs"
)

// Override is what nm-cloud-seed= says on the kernel command line.
type Override string

// The overrides.
const (
	OverrideNone  Override = ""      // not there
	OverrideOff   Override = "off"   // do nothing, whatever the platform is
	OverrideForce Override = "force" // do everything, whatever the platform is
)

// maxCommandLine is far above COMMAND_LINE_SIZE of every architecture, in bytes.
const maxCommandLine = 64 << 10

// maxWarnings bounds what a hostile boot loader can make us log.
const maxWarnings = 3

// KernelCommandLine finds nm-cloud-seed=off|force; the last one counts. Other
// values are ignored, with a warning each. As for the kernel, double quotes
// may enclose value or parameter, and - and _ are the same in the name.
// https://docs.kernel.org/admin-guide/kernel-parameters.html
func KernelCommandLine(cmdline string) (o Override, warnings []string) {
	for _, param := range splitParams(cmdline) {
		name, value, _ := strings.Cut(param, "=")
		if strings.ReplaceAll(name, "_", "-") != "nm-cloud-seed" {
			continue
		}
		switch v := Override(value); {
		case v == OverrideOff || v == OverrideForce:
			o = v
		case len(warnings) < maxWarnings:
			warnings = append(warnings, fmt.Sprintf("ignoring nm-cloud-seed=%s on the kernel command line (known: off, force)", brief(value)))
		}
	}
	return o, warnings
}

// splitParams splits at white space outside double quotes, and removes these.
// A container's command line has NUL where others have spaces.
func splitParams(cmdline string) []string {
	quoted := false
	params := strings.FieldsFunc(cmdline, func(r rune) bool {
		if r == '"' {
			quoted = !quoted
		}
		return !quoted && (unicode.IsSpace(r) || r == 0)
	})
	for i, p := range params {
		params[i] = strings.ReplaceAll(p, `"`, "")
	}
	return params
}

// CommandLine reads the kernel command line of the system below root, or in a
// container that of its first process, as systemd and cloud-init do. It is
// empty where there is none, as in an image.
func CommandLine(root string) (string, error) {
	fsys, done, err := rootfs.Open(root)
	if err != nil {
		return "", fmt.Errorf("cannot read kernel command line: %w", err)
	}
	defer done()
	name := "proc/cmdline"
	if _, err := fs.Stat(fsys, "run/systemd/container"); err == nil {
		name = "proc/1/cmdline"
	}
	data, err := rootfs.Read(fsys, name, maxCommandLine)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("cannot read kernel command line: %s/%s: %s (is ProcSubset=pid set?)", root, name, rootfs.Reason(err))
	}
	return string(data), nil
}
