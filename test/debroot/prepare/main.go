// Command prepare builds the Debian roots that tests open, before the tests run.
// Roots that are there already stay as they are, so it can be interrupted and
// started again.
//
//	go run ./test/debroot/prepare test boot
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/nm-cloud-seed/nm-cloud-seed/test/debroot"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	err := run(ctx, os.Args[1:])
	interrupted := ctx.Err() != nil
	stop()
	switch {
	case err == nil || errors.Is(err, flag.ErrHelp):
	case interrupted:
		fmt.Fprintln(os.Stderr, "prepare: interrupted; the roots that are complete stay")
		os.Exit(130)
	default:
		fmt.Fprintln(os.Stderr, "prepare:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("prepare", flag.ContinueOnError)
	flags.Usage = func() {
		fmt.Fprintf(flags.Output(), "usage: prepare [-list] SET... (sets: %s)\n", strings.Join(debroot.SetNames(), ", "))
		flags.PrintDefaults()
	}
	list := flags.Bool("list", false, "only list the roots of the sets, and where they are")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() == 0 {
		flags.Usage()
		return errors.New("cannot prepare Debian roots without the name of a set")
	}
	var roots []debroot.Root
	for _, name := range flags.Args() {
		set, err := debroot.Set(name)
		if err != nil {
			return err
		}
		roots = append(roots, set...)
	}
	if !*list {
		return debroot.Prepare(ctx, os.Stdout, roots...)
	}
	listed := map[string]bool{}
	for _, r := range roots {
		if listed[r.String()] {
			continue
		}
		listed[r.String()] = true
		dir, err := r.Open()
		if err != nil {
			dir = "missing"
		}
		fmt.Printf("%-40s %s\n", r, dir)
	}
	return nil
}
