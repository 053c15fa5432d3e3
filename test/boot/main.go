// Command boot boots real Debian systems against the simulated virtual router
// and judges each boot: the upstream bug without the package, and its end with
// it. `make test-boot` runs it.
//
//	debroot ──▶ overlay: the package, probes, boot-report ──▶ systemd-nspawn, or test/boot/qemu
//	                                                                │ in a lab: dnsmasq, virtual router
//	table ◀── verdicts (verdict.go, pure) ◀── report, console, journal (one directory per boot)
//
// Every scenario (scenarios.go) has a lab to itself, in a process of its own,
// which only boots and collects. It is judged out here.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"

	"github.com/nm-cloud-seed/nm-cloud-seed/test/lab"
)

// errFailed means that all is said already.
var errFailed = errors.New("not every boot is as it should be")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	var err error
	switch {
	case len(os.Args) == 2 && os.Args[1] == stormCommand:
		err = storm()
	case lab.Inside():
		err = inside(ctx, os.Args[1:])
	default:
		err = outside(ctx, os.Args[1:])
	}
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "boot:", err)
		os.Exit(1)
	}
}

// options are the command line.
type options struct {
	run       *regexp.Regexp
	all       bool
	keep      bool
	list      bool
	parallel  int
	artifacts string
	pkg       string // the package under test
}

func parse(args []string) (o options, err error) {
	flags := flag.NewFlagSet("boot", flag.ContinueOnError)
	flags.Usage = func() {
		fmt.Fprintln(flags.Output(), "usage: boot [-all | -run REGEXP] [-parallel N] [-keep] [-artifacts DIRECTORY] [-list] [PACKAGE.deb]")
		flags.PrintDefaults()
	}
	run := flags.String("run", "", "only the scenarios whose name matches, of all of them")
	flags.BoolVar(&o.all, "all", false, "also the scenarios that are only done before a release")
	flags.IntVar(&o.parallel, "parallel", 0, "`containers` side by side, or a virtual machine instead of three (default: what this machine has room for)")
	flags.BoolVar(&o.keep, "keep", false, "keep what good boots leave, too")
	flags.BoolVar(&o.list, "list", false, "only list the scenarios")
	flags.StringVar(&o.artifacts, "artifacts", "", "the `directory` for what the boots leave (default: a new one)")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if *run != "" {
		if o.run, err = regexp.Compile(*run); err != nil {
			return o, fmt.Errorf("cannot use -run: %w", err)
		}
	}
	if flags.NArg() > 1 {
		return o, errors.New("one package is enough")
	}
	if o.pkg = flags.Arg(0); o.pkg != "" {
		o.pkg, err = filepath.Abs(o.pkg)
	}
	return o, err
}

func outside(ctx context.Context, args []string) error {
	o, err := parse(args)
	if errors.Is(err, flag.ErrHelp) {
		return nil
	}
	if err != nil {
		return err
	}
	chosen := choose(scenarios(), o)
	if o.list {
		fmt.Print(list(chosen))
		return nil
	}
	if len(chosen) == 0 {
		return fmt.Errorf("cannot find a scenario that matches %q (see -all -list)", o.run)
	}
	return runAll(ctx, chosen, o)
}

// choose returns the scenarios that the options ask for: those that match, whatever
// they are, or else all but the extended ones.
func choose(all []scenario, o options) (chosen []scenario) {
	for _, s := range all {
		if o.run != nil && o.run.MatchString(s.name) || o.run == nil && (o.all || s.extended == "") {
			chosen = append(chosen, s)
		}
	}
	return chosen
}

// list returns a line for each scenario: its name, its boots and what it proves.
func list(all []scenario) string {
	var b strings.Builder
	for _, s := range all {
		note := ""
		if s.extended != "" {
			note = " (only with -all: " + s.extended + ")"
		}
		fmt.Fprintf(&b, "%-28s %d  %s%s\n", s.name, len(s.boots), s.about, note)
	}
	return b.String()
}
