// Command bench compares nm-cloud-seed with cloud-init's own crawl and with a
// script of nmcli and curl, in one lab, on one simulated virtual router. It
// prints what it measured, says of each target whether it is reached, and
// writes the same to a file. `make bench` runs it.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/nm-cloud-seed/nm-cloud-seed/test/debroot"
	"github.com/nm-cloud-seed/nm-cloud-seed/test/lab"
)

// suite is the Debian release whose cloud-init is measured.
const suite = "bookworm"

func main() {
	if len(os.Args) < 4 {
		fmt.Fprintln(os.Stderr, "usage: bench PATH-OF-NM-CLOUD-SEED DISPATCHER-HOOK REPORT")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	var err error
	if lab.Inside() {
		err = inside(ctx, os.Args[1], os.Args[2], os.Args[3], os.Args[4])
	} else {
		err = outside(ctx, os.Args[1], os.Args[2], os.Args[3])
	}
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// outside gets what a lab cannot have: packages from the network.
func outside(ctx context.Context, binary, hook, report string) error {
	image := debroot.Image(suite)
	if err := debroot.Prepare(ctx, os.Stderr, image); err != nil {
		return err
	}
	root, err := image.Open()
	if err != nil {
		return err
	}
	return lab.Enter(ctx, []string{binary, hook, report, root}, nil, os.Stdout, os.Stderr)
}

func inside(ctx context.Context, binary, hook, report, cloudInit string) error {
	// Both are opened before the lab's mounts, which may hide them.
	dir, err := os.OpenRoot(filepath.Dir(report))
	if err != nil {
		return fmt.Errorf("cannot open the report's directory: %w", err)
	}
	defer dir.Close()
	script, err := os.ReadFile(hook)
	if err != nil {
		return err
	}
	m, err := describe(ctx, binary)
	if err != nil {
		return err
	}
	w, err := newWorld(ctx, binary, cloudInit)
	if err != nil {
		return err
	}
	r, err := measure(ctx, w, string(script))
	if err = errors.Join(err, w.Close()); err != nil {
		return err
	}
	m.cloudInit = w.version
	tables := r.tables(m, w)
	for _, t := range tables {
		t.print(os.Stdout)
	}
	return dir.WriteFile(filepath.Base(report), []byte(markdown(tables)), 0o644)
}
