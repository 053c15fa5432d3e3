// Command demo shows, in a minute, what nm-cloud-seed is for: cloud-init's own
// CloudStack datasource finds nothing on a VM whose network is NetworkManager's,
// and finds everything there after `nm-cloud-seed run`. `make demo` runs it.
//
// NetworkManager, dbus-daemon, dnsmasq and cloud-init are real and run in
// namespaces; the virtual router's metadata server is simulated. The demo fails
// if anything that it shows is not so: it is a test, too.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/nm-cloud-seed/nm-cloud-seed/test/lab"
)

func main() { os.Exit(status()) }

// status does everything and returns the exit status.
func status() int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	var err error
	switch {
	case lab.Inside() && len(os.Args) == 4:
		err = inside(ctx, os.Args[1], os.Args[2], os.Args[3])
	case lab.Inside(): // to see whether namespaces work
		_, err = privateDir()
	case len(os.Args) == 2:
		err = outside(ctx, os.Args[1])
	default:
		fmt.Fprintln(os.Stderr, "usage: demo PATH-OF-NM-CLOUD-SEED")
		return 2
	}
	switch {
	case err == nil:
		return 0
	case ctx.Err() != nil && lab.Inside(): // the outer process says so
	case ctx.Err() != nil:
		fmt.Fprintln(os.Stderr, "demo: interrupted; nothing is left running")
		return 130
	case errors.Is(err, errTold):
	default:
		fmt.Fprintln(os.Stderr, "demo:", err)
	}
	return 1
}

// errTold is the error of an inner process, which has said what it is.
var errTold = errors.New("the lab has failed")

// outside makes cloud-init ready, which takes the network, and enters the lab,
// which has none.
func outside(ctx context.Context, binary string) error {
	if _, err := os.Stat(binary); err != nil {
		return fmt.Errorf("cannot use nm-cloud-seed: %w\nhint: run make build", err)
	}
	if err := enter(ctx); err != nil { // before anything is downloaded
		return err
	}
	s := newScreen(os.Stdout)
	defer s.stop()
	var root, why string
	c, err := newCloudInit()
	if err == nil {
		s.doingNow("downloading cloud-init of Debian 12 with its Python (once; about a minute)")
		err = c.make(ctx)
		s.stop()
	}
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err == nil:
		root = c.dir
	case os.Getenv("CI") != "": // a check must not do less without a word
		return err
	default:
		why, _, _ = strings.Cut(err.Error(), "\n")
	}
	return enter(ctx, binary, root, why)
}

// enter runs the demo in a lab.
func enter(ctx context.Context, args ...string) error {
	err := lab.Enter(ctx, args, nil, os.Stdout, os.Stderr)
	if exit := interface{ ExitCode() int }(nil); errors.As(err, &exit) && exit.ExitCode() == 1 {
		return errTold
	}
	return err
}
