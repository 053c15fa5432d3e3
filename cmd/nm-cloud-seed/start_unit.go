package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	systemd "github.com/coreos/go-systemd/v22/dbus"

	"github.com/nm-cloud-seed/nm-cloud-seed/internal/doctor"
)

// The pace at which a unit is looked at that is starting, and how often that may
// fail in a row.
const (
	lookEvery = time.Second
	lookFails = 60
)

// startUnit starts a oneshot by org.freedesktop.systemd1(5) and waits for its end.
// It asks systemd by its own socket, anew each time: what the unit runs may restart
// the bus, and systemd.
func startUnit(ctx context.Context, name string) error {
	err := withSystemd(ctx, func(conn *systemd.Conn) error {
		_, err := conn.StartUnitContext(ctx, name, "replace", nil)
		return err
	})
	if err != nil {
		return fmt.Errorf("cannot start %s: %w", name, err)
	}
	for fails := 0; fails < lookFails; {
		var state string
		var waiting bool
		err = withSystemd(ctx, func(conn *systemd.Conn) error {
			properties, err := conn.GetUnitPropertiesContext(ctx, name)
			state, _ = properties["ActiveState"].(string)
			job, _ := properties["Job"].([]any) // its number and its path
			waiting = len(job) > 0 && job[0] != uint32(0)
			return err
		})
		switch fails++; {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
		case state == "active":
			return nil
		case state == "activating" || waiting:
			fails = 0
		default:
			return fmt.Errorf("cannot start %s: it is %s (see systemctl status %[1]s)", name, state)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(lookEvery):
		}
	}
	return fmt.Errorf("cannot see how %s ends: %w", name, err)
}

// resetFailed makes units that have failed inactive, as `systemctl reset-failed` does.
// They need not exist.
func resetFailed(ctx context.Context, names ...string) error {
	failed, errs := doctor.FailedUnits(ctx, names)
	if len(failed) == 0 {
		return errs
	}
	return errors.Join(errs, withSystemd(ctx, func(conn *systemd.Conn) (errs error) {
		for _, name := range failed {
			if err := conn.ResetFailedUnitContext(ctx, name); err != nil {
				errs = errors.Join(errs, fmt.Errorf("cannot reset the failed state of %s: %w", name, err))
			}
		}
		return errs
	}))
}

func withSystemd(ctx context.Context, do func(*systemd.Conn) error) error {
	conn, err := systemd.NewSystemdConnectionContext(ctx)
	if err != nil {
		return fmt.Errorf("cannot reach systemd: %w", err)
	}
	defer conn.Close()
	return do(conn)
}
