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
	keep      bool
	list      bool
	parallel  int
	artifacts string
	pkg       string // the package under test
}

func parse(args []string) (o options, err error) {
	flags := flag.NewFlagSet("boot", flag.ContinueOnError)
	flags.Usage = func() {
		fmt.Fprintln(flags.Output(), "usage: boot [-run REGEXP] [-parallel N] [-keep] [-artifacts DIRECTORY] [-list] [PACKAGE.deb]")
		flags.PrintDefaults()
	}
	run := flags.String("run", "", "only the scenarios whose name matches")
	flags.IntVar(&o.parallel, "parallel", 2, "so many virtual machines side by side, or half as many containers more")
	flags.BoolVar(&o.keep, "keep", false, "keep what good boots left, too")
	flags.BoolVar(&o.list, "list", false, "only list the scenarios")
	flags.StringVar(&o.artifacts, "artifacts", "", "keep what the boots left here (default: a new directory, only for bad boots)")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if o.run, err = regexp.Compile(*run); err != nil {
		return o, fmt.Errorf("cannot use -run: %w", err)
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
	var chosen []scenario
	for _, s := range scenarios() {
		if o.run.MatchString(s.name) {
			chosen = append(chosen, s)
		}
	}
	if o.list {
		for _, s := range chosen {
			fmt.Printf("%-28s %s\n", s.name, s.about)
		}
		return nil
	}
	if len(chosen) == 0 {
		return fmt.Errorf("cannot find a scenario that matches %q (see -list)", o.run)
	}
	return runAll(ctx, chosen, o)
}
