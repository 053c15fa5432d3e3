package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"slices"
	"time"
)

const (
	startRuns  = 20 // of nm-cloud-seed version
	tracedRuns = 3
	keys       = 11 // that every virtual router has
)

var (
	delays   = []time.Duration{0, 5 * time.Millisecond, 50 * time.Millisecond}
	moreKeys = []int{keys, 20, 60}
)

// runs is how often each contender is measured.
func runs(delay time.Duration) int {
	if delay < 50*time.Millisecond {
		return 10
	}
	return 5
}

// setting is what a series of samples has in common.
type setting struct {
	idle      bool // the device has no connection at the start
	keys      int
	delay     time.Duration // of each answer
	contender string
}

// results are all samples of one run of the program.
type results struct {
	samples map[setting][]sample
	trees   map[string][]tree
	starts  []time.Duration                 // of nm-cloud-seed version
	hook    map[string][]time.Duration      // by the case's name
	trips   map[time.Duration]time.Duration // what a request and its answer really take, by delay
}

func measure(ctx context.Context, w *world, hook string) (*results, error) {
	r := &results{samples: map[setting][]sample{}, trees: map[string][]tree{}, trips: map[time.Duration]time.Duration{}}
	for range startRuns {
		p, err := launch(w.Command(ctx, w.binary, "version"), false)
		if err != nil {
			return nil, err
		}
		if _, err := p.wait(); err != nil {
			return nil, err
		}
		r.starts = append(r.starts, p.ended.Sub(p.started))
	}

	if err := w.connect(ctx); err != nil {
		return nil, err
	}
	if err := r.trace(ctx, w, false, cloudInit); err != nil { // which warms the caches, too
		return nil, err
	}
	for _, delay := range delays {
		w.set(keys, delay)
		var err error
		if r.trips[delay], err = w.roundTrip(ctx); err != nil {
			return nil, err
		}
		if err := r.compare(ctx, w, setting{keys: keys, delay: delay}, ours, cloudInit, byHand); err != nil {
			return nil, err
		}
	}

	if err := r.measureHook(ctx, w, hook); err != nil {
		return nil, err
	}

	if err := w.disconnect(ctx, "wired"); err != nil {
		return nil, err
	}
	if err := r.trace(ctx, w, true, ours, byHand); err != nil {
		return nil, err
	}
	for _, delay := range delays {
		if err := r.compare(ctx, w, setting{idle: true, keys: keys, delay: delay}, ours, byHand); err != nil {
			return nil, err
		}
		for _, more := range moreKeys[1:] {
			if err := r.compare(ctx, w, setting{idle: true, keys: more, delay: delay}, ours); err != nil {
				return nil, err
			}
		}
	}
	return r, nil
}

// trace counts processes and memory, which takes time of its own.
func (r *results) trace(ctx context.Context, w *world, idle bool, contenders ...contender) error {
	w.set(keys, 0)
	for range tracedRuns {
		for _, c := range contenders {
			s, err := c.once(ctx, w, idle, true)
			if err != nil {
				return err
			}
			r.trees[c.name] = append(r.trees[c.name], s.tree)
		}
	}
	return nil
}

// compare runs contenders in turn.
func (r *results) compare(ctx context.Context, w *world, set setting, contenders ...contender) error {
	where := "connected"
	if set.idle {
		where = "idle"
	}
	fmt.Fprintf(os.Stderr, "bench: %s device, %d keys, %v per answer\n", where, set.keys, set.delay)
	w.set(set.keys, set.delay)
	for range runs(set.delay) {
		for _, c := range contenders {
			s, err := c.once(ctx, w, set.idle, false)
			if err != nil {
				return err
			}
			set.contender = c.name
			r.samples[set] = append(r.samples[set], s)
		}
	}
	return nil
}

// wall is the time from start to seed.
func (s sample) wall() time.Duration { return s.seeded.Sub(s.started) }

// crawl is the same without the start of cloud-init's Python.
func (s sample) crawl() time.Duration { return s.seeded.Sub(s.loaded) }

// lease is the time from lease to seed.
func (s sample) lease() time.Duration { return s.seeded.Sub(s.leased) }

// spread is a median with its extremes.
type spread struct{ low, median, high time.Duration }

func (s spread) String() string {
	return fmt.Sprintf("%s (%s–%s)", ms(s.median), ms(s.low), ms(s.high))
}

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func ms(d time.Duration) string { return fmt.Sprintf("%.1f", millis(d)) }

// spreadOf is the spread of one time of a series.
func (r *results) spreadOf(set setting, c contender, of func(sample) time.Duration) spread {
	set.contender = c.name
	var list []time.Duration
	for _, s := range r.samples[set] {
		list = append(list, of(s))
	}
	return newSpread(list)
}

func newSpread(list []time.Duration) spread {
	slices.Sort(list)
	n := len(list)
	return spread{list[0], (list[(n-1)/2] + list[n/2]) / 2, list[n-1]}
}

// most is the largest number of something over all samples of a contender.
func most[N cmp.Ordered](r *results, c contender, of func(setting, sample) N) (largest N) {
	for set, list := range r.samples {
		for _, s := range list {
			if set.contender == c.name {
				largest = max(largest, of(set, s))
			}
		}
	}
	return largest
}

// largest are the most processes and the highest peak of the traced runs.
func (r *results) largest(c contender) (t tree) {
	for _, each := range r.trees[c.name] {
		t.processes, t.peak = max(t.processes, each.processes), max(t.peak, each.peak)
	}
	return t
}
