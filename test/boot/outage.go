package main

import (
	"bytes"
	"context"
	"fmt"
	"path"
	"time"

	"github.com/nm-cloud-seed/nm-cloud-seed/datasource/cloudstack/vrtest"
)

// down are the faults of a virtual router that is there and does not answer.
var down = []vrtest.Fault{{Hang: true}, {Port: vrtest.PasswordPort, Hang: true}}

// breakDown begins the outage of a boot, which ends at its moment. When the boot
// has ended, over ends it in any case; an error is a moment that did not come.
func (w *world) breakDown(ctx context.Context, dir string, o outage) (over func() error, err error) {
	if o.faults == nil {
		o.faults = down
	}
	w.vr.SetFaults(o.faults...)
	if o.unplugged {
		if err := w.SetCarrier(w.router, false); err != nil {
			return nil, err
		}
	}
	if o.network {
		if err := w.StopDHCP(w.router); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	result := make(chan error, 1)
	go func() {
		var missed error
		if o.end == nil {
			<-ctx.Done()
		} else {
			missed = w.await(ctx, dir, *o.end)
		}
		w.vr.SetFaults()
		if o.unplugged {
			if err := w.SetCarrier(w.router, true); err != nil {
				missed = err
			}
		}
		if o.network {
			if err := w.StartDHCP(w.router); err != nil {
				missed = err
			}
		}
		result <- missed
	}()
	return func() error {
		cancel()
		return <-result
	}, nil
}

// await waits for a moment of the boot whose directory this is.
func (w *world) await(ctx context.Context, dir string, m moment) error {
	step := time.Millisecond
	if m.console != "" {
		step = 20 * time.Millisecond
	}
	tick := time.NewTicker(step)
	defer tick.Stop()
	for {
		reached, err := w.reached(dir, m)
		if err != nil {
			return err
		}
		if reached {
			break
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("cannot wait any longer for %q: %w", m.console+m.request, context.Cause(ctx))
		case <-tick.C:
		}
	}
	select {
	case <-ctx.Done():
		return fmt.Errorf("cannot wait for %v any longer: %w", m.after, context.Cause(ctx))
	case <-time.After(m.after):
		return nil
	}
}

// reached reports whether it has come to a moment.
func (w *world) reached(dir string, m moment) (bool, error) {
	if m.console != "" {
		console, err := w.artifacts.ReadFile(path.Join(dir, consoleFile))
		return bytes.Contains(console, []byte(m.console)), err
	}
	times := 0
	for _, r := range w.vr.Requests() {
		if r.DomURequest == m.request {
			times++
		}
	}
	return times >= m.times, nil
}
