// Command images does what docs/images.md says and examines the images that
// come of it. `make test-images` runs it.
//
//	docs/images.md ──▶ commands and files of each way (page.go) ──▶ a Debian 13 with their tools (workshop.go)
//	                                                                      │
//	verdict ◀── check.go, nm-cloud-seed doctor ◀── the image's files ◀────┘
//
// What a reader has before, and how the result is opened, is in ways.go.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

const pageFile = "docs/images.md"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "images:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("images", flag.ContinueOnError)
	flags.Usage = func() {
		fmt.Fprintln(flags.Output(), "usage: images DIRECTORY [all | NAME...] (DIRECTORY has what make packages leaves)")
		for _, w := range ways() {
			fmt.Fprintf(flags.Output(), "  %-15s %s\n", w.name, w.slow)
		}
	}
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() == 0 {
		return errors.New("cannot start without a directory with the package (see -help)")
	}
	chosen, left, err := choose(ways(), flags.Args()[1:])
	if err != nil {
		return err
	}
	text, err := os.ReadFile(pageFile)
	if err != nil {
		return fmt.Errorf("cannot read the page: %w (run this in the project's directory)", err)
	}
	p, err := parse(string(text))
	if err != nil {
		return fmt.Errorf("cannot use %s: %w", pageFile, err)
	}
	if err := p.complete(ways()); err != nil {
		return fmt.Errorf("cannot use %s: %w", pageFile, err)
	}
	dist, err := filepath.Abs(flags.Arg(0))
	if err != nil {
		return err
	}
	shop, err := newWorkshop(ctx, p.needs, dist)
	if err != nil {
		return err
	}
	err = doAll(ctx, shop, p, chosen)
	for _, w := range left {
		fmt.Printf("%-15s NOT RUN  %s: make test-images IMAGES=%[1]s\n", w.name, w.slow)
	}
	return errors.Join(err, shop.close())
}

// choose says which ways are done, and which are left out for their slowness.
func choose(all []way, names []string) (chosen, left []way, err error) {
	if slices.Equal(names, []string{"all"}) {
		return all, nil, nil
	}
	for _, w := range all {
		switch {
		case slices.Contains(names, w.name), len(names) == 0 && w.slow == "":
			chosen = append(chosen, w)
		case len(names) == 0:
			left = append(left, w)
		}
	}
	if len(names) > 0 && len(chosen) != len(names) {
		return nil, nil, fmt.Errorf("cannot do %s: a name is unknown or there twice (see -help)", strings.Join(names, " "))
	}
	return chosen, left, nil
}

func doAll(ctx context.Context, shop *workshop, p page, chosen []way) error {
	var failed []string
	for _, w := range chosen {
		began := time.Now()
		err := do(ctx, shop, p, w)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			failed = append(failed, w.name)
			fmt.Printf("%-15s %5.0f s  WRONG\n%v\n", w.name, time.Since(began).Seconds(), err)
			continue
		}
		fmt.Printf("%-15s %5.0f s  ok\n", w.name, time.Since(began).Seconds())
	}
	if len(failed) > 0 {
		return fmt.Errorf("not as %s says: %s", pageFile, strings.Join(failed, ", "))
	}
	return nil
}

// do is one way: what the reader has, what the page says, and what comes of it.
func do(ctx context.Context, shop *workshop, p page, w way) error {
	if w.prepare != nil {
		if err := w.prepare(ctx, shop); err != nil {
			return err
		}
	}
	if err := shop.lay(w.name, p.files[w.name]); err != nil {
		return err
	}
	for _, commands := range []string{w.before, p.commands[w.name], w.open} {
		if err := shop.run(ctx, w.name, commands); err != nil {
			return err
		}
	}
	return examine(ctx, shop, filepath.Join(shop.dir(w.name), "opened"))
}
