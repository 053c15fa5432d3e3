package main

import (
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"time"

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

// generatorLimit is far beyond what any system takes; systemd's own is 90 s.
const generatorLimit = 20 * time.Second

// generator is main when systemd calls us at each boot and each daemon-reload,
// with three directories for units. Whatever happens, it must not end a boot:
// it says so and succeeds. There is no journal yet; what stands in the kernel's
// ring buffer gets there.
func generator(args []string, kmsg io.Writer) {
	say := sayTo(kmsg)
	if len(args) != 3 {
		say(3, fmt.Sprintf("cannot generate units: want three directories, not %d (systemd calls this program, nobody else)", len(args)))
		return
	}
	if os.Getenv("SYSTEMD_IN_INITRD") == "1" {
		return // the system's own systemd calls us again
	}
	type decision struct {
		plan systemd.Plan
		err  error
	}
	done := make(chan decision, 1)
	go func() {
		defer func() {
			if r := recover(); r != nil {
				done <- decision{err: fmt.Errorf("this is a defect, please report it: %v at %s", r, debug.Stack())}
			}
		}()
		plan, err := decide("", say)
		done <- decision{plan, err}
	}()
	d := decision{err: fmt.Errorf("not done after %v, giving up", generatorLimit)}
	select {
	case d = <-done:
	case <-time.After(generatorLimit): // a file system that does not answer
	}
	if d.err == nil {
		d.err = write(d.plan, args[0], args[1], say)
	}
	if d.err != nil {
		say(3, d.err.Error())
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

// decide says how the boot order of the system below root has to change.
func decide(root string, say func(priority int, text string)) (plan systemd.Plan, err error) {
	cfg, err := config.Load(root)
	if err != nil {
		say(4, "going on with the rest of the configuration: "+err.Error())
	}
	if cfg.Ordering == config.OrderingOff {
		return plan, nil
	}
	reason, warnings := daemon.NeverStarts(root, cfg)
	for _, warning := range warnings {
		say(4, warning)
	}
	if reason != "" { // as if the package were not there; status says why
		if reason == daemon.OtherService(root) {
			say(6, "nothing to do: "+reason)
		}
		return plan, nil
	}
	fsys, done, err := rootfs.Open(root)
	if err != nil {
		return plan, err
	}
	defer done()
	units, err := systemd.Load(fsys, root)
	if err != nil {
		return plan, err
	}
	for _, note := range units.Notes() {
		say(4, note)
	}
	plan = units.Plan(systemd.Ordering(cfg.Ordering))
	for _, note := range plan.Notes {
		say(6, note)
	}
	for _, warning := range plan.Warnings {
		say(4, warning)
	}
	var usual []string
	for _, l := range plan.LeftOut {
		if len(l.Through) > 0 { // somebody will miss that
			say(4, "not held until cloud-init's network stage is done: "+l.String())
		} else {
			usual = append(usual, l.Unit)
		}
	}
	const perLine = 12
	for names := range slices.Chunk(usual, perLine) {
		say(6, "not held until cloud-init's network stage is done: "+strings.Join(names, " "))
	}
	return plan, nil
}

// write carries a plan out in systemd's "normal" and "early" directories.
func write(plan systemd.Plan, normal, early string, say func(priority int, text string)) error {
	kept, err := plan.Write(normal, early)
	for _, name := range kept {
		say(4, name+" is another generator's, it stays")
	}
	return err
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
