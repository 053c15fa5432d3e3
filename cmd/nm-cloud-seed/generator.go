package main

import (
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strings"

	"github.com/nm-cloud-seed/nm-cloud-seed/internal/config"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/daemon"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/rootfs"
	"github.com/nm-cloud-seed/nm-cloud-seed/systemd"
)

// generatorName is this program's name as a systemd.generator(7).
const generatorName = "nm-cloud-seed-generator"

// kmsgLine is the longest line that /dev/kmsg takes, less its own prefix
// (LOG_LINE_MAX in kernel/printk/printk.c), in bytes.
const kmsgLine = 900

// generator is main when systemd calls us at each boot and each daemon-reload,
// with three directories for units. Whatever happens, it must not end a boot:
// it says so and succeeds. There is no journal yet; what stands in the kernel's
// ring buffer gets there.
func generator(args []string, kmsg io.Writer) {
	say := sayTo(kmsg)
	defer func() {
		if r := recover(); r != nil {
			say(3, fmt.Sprintf("this is a defect, please report it: %v at %s", r, debug.Stack()))
		}
	}()
	if len(args) != 3 {
		say(3, fmt.Sprintf("cannot generate units: want three directories, not %d (systemd calls this program, nobody else)", len(args)))
		return
	}
	if os.Getenv("SYSTEMD_IN_INITRD") == "1" {
		return // the system's own systemd calls us again
	}
	if err := generate("", args[0], args[1], say); err != nil {
		say(3, err.Error())
	}
}

// sayTo says things in the manner of printk: <priority>, as of syslog(3), and
// one line of bounded length.
func sayTo(kmsg io.Writer) func(priority int, text string) {
	return func(priority int, text string) {
		text = strings.ToValidUTF8(text[:min(len(text), kmsgLine)], "")
		fmt.Fprintf(kmsg, "<%d>%s: %s\n", priority, generatorName, strings.ReplaceAll(text, "\n", " "))
	}
}

// generate changes the boot order of the system below root where that is needed.
// The directories are systemd's "normal" and "early" ones.
func generate(root, normal, early string, say func(priority int, text string)) error {
	cfg, err := config.Load(root)
	if err != nil {
		say(4, "going on with the rest of the configuration: "+err.Error())
	}
	if cfg.Ordering == config.OrderingOff {
		return nil
	}
	reason, warnings := daemon.NothingToDo(root, cfg)
	for _, warning := range warnings {
		say(4, warning)
	}
	if reason != "" {
		return nil // as if the package were not there; doctor says why
	}
	fsys, done, err := rootfs.Open(root)
	if err != nil {
		return err
	}
	defer done()
	units, err := systemd.Load(fsys, root)
	if err != nil {
		return err
	}
	for _, note := range units.Notes() {
		say(4, note)
	}
	plan := units.Plan(systemd.Ordering(cfg.Ordering))
	for _, note := range plan.Notes {
		say(5, note)
	}
	for _, l := range plan.LeftOut {
		if len(l.Through) > 0 { // the others are never held
			say(4, "not held until cloud-init's network stage is done: "+l.String())
		}
	}
	return plan.Write(normal, early)
}

// openKmsg is where a generator can say something. A container has no kernel's
// ring buffer of its own.
func openKmsg() io.Writer {
	f, err := os.OpenFile("/dev/kmsg", os.O_WRONLY, 0)
	if err != nil {
		return os.Stderr
	}
	return f
}
