package main

import (
	_ "embed"
	"fmt"
	"strings"
	"time"
)

// method is how the figures are measured and why some are what they are.
//
//go:embed method.md
var method string

// What is to be reached.
const (
	maxConnections = 4
	maxProcesses   = 1    // no subprocess
	maxPeak        = 20e6 // bytes
	maxBinary      = 11e6 // bytes
	leaseSlack     = 10 * time.Millisecond
)

// bound is the most that may pass from lease to seed.
func bound(keys int, roundTrip time.Duration) time.Duration {
	return time.Duration(2+(keys+3)/4)*roundTrip + leaseSlack
}

// minRatio is how many times longer than ours cloud-init's crawl has to take.
func minRatio(delay time.Duration) float64 {
	if delay < 50*time.Millisecond {
		return 10
	}
	return 5
}

func (r *results) tables(m *machine, w *world) []*table {
	return []*table{r.targets(m), r.wall(), r.wallIdle(), r.lease(),
		r.steps(false, "nm-cloud-seed's steps on a connected device"), r.steps(true, "nm-cloud-seed's steps on an idle device"),
		r.cost(m), r.hookTable(w), m.table()}
}

func markdown(tables []*table) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Performance\n\n<!-- Written by `make bench`. -->\n\n%s", method)
	for _, t := range tables {
		t.markdown(&b)
	}
	return b.String()
}

// targets says of each target whether it is reached.
func (r *results) targets(m *machine) *table {
	t := &table{title: "Targets"}
	t.add("target", "at", "to reach", "measured", "verdict")
	for _, n := range moreKeys {
		for _, delay := range delays {
			got, most := r.spreadOf(setting{idle: true, keys: n, delay: delay}, ours, sample.lease).median, bound(n, r.trips[delay])
			t.add("lease to seed", fmt.Sprintf("%v per answer, %d keys", delay, n), "≤ "+ms(most)+" ms", ms(got)+" ms",
				verdict(got <= most, ms(got-most)+" ms"))
		}
	}
	for _, as := range []struct {
		name string
		of   func(sample) time.Duration
	}{{"times faster than cloud-init's crawl", sample.wall}, {"the same without Python's start", sample.crawl}} {
		for _, delay := range delays {
			set := setting{keys: keys, delay: delay}
			got := ratio(r.spreadOf(set, cloudInit, as.of), r.spreadOf(set, ours, sample.wall))
			want := minRatio(delay)
			t.add(as.name, fmt.Sprintf("%v per answer", delay), fmt.Sprintf("≥ %.0f", want), fmt.Sprintf("%.2f", got),
				verdict(got >= want, fmt.Sprintf("%.2f", want-got)))
		}
	}
	count := func(name, unit string, got, most float64, format string) {
		t.add(name, "", fmt.Sprintf("≤ "+format+"%s", most, unit), fmt.Sprintf(format+"%s", got, unit),
			verdict(got <= most, fmt.Sprintf(format+"%s", got-most, unit)))
	}
	tree := r.largest(ours)
	count("TCP connections to port 80", "", float64(r.connections(ours)), maxConnections, "%.0f")
	count("processes (no subprocess)", "", float64(tree.processes), maxProcesses, "%.0f")
	count("peak memory", " MB", float64(tree.peak)/1e6, maxPeak/1e6, "%.1f")
	hook := newSpread(r.hook[nothingToDo]).median
	t.add(nothingToDo, "", "< "+ms(maxHook)+" ms", ms(hook)+" ms", verdict(hook < maxHook, ms(hook-maxHook)+" ms"))
	count("binary", " MB", float64(m.size)/1e6, maxBinary/1e6, "%.1f")
	t.add("binary is static and stripped", "", "yes", fmt.Sprint(m.static && m.stripped), verdict(m.static && m.stripped, "that"))
	return t
}

func verdict(reached bool, by string) string {
	if reached {
		return "reached"
	}
	return "MISSED by " + by
}

func ratio(a, b spread) float64 { return float64(a.median) / float64(b.median) }

// byDelay is a table with a column for each delay.
func byDelay(title, text string) *table {
	t := &table{title: title, text: text}
	header := []string{"ms"}
	for _, delay := range delays {
		header = append(header, fmt.Sprintf("%v per answer", delay))
	}
	t.add(header...)
	return t
}

// row adds a cell for each delay.
func (t *table) row(name string, cell func(delay time.Duration) string) {
	cells := []string{name}
	for _, delay := range delays {
		cells = append(cells, cell(delay))
	}
	t.add(cells...)
}

// wall is where all three do the same: somebody else connected the device.
func (r *results) wall() *table {
	t := byDelay("Start to seed, on a connected device", "Median (minimum–maximum). NetworkManager has the lease already; each contender finds the virtual router and crawls it.")
	of := func(c contender, f func(sample) time.Duration) func(time.Duration) spread {
		return func(delay time.Duration) spread { return r.spreadOf(setting{keys: keys, delay: delay}, c, f) }
	}
	a, b, bare, c := of(ours, sample.wall), of(cloudInit, sample.wall), of(cloudInit, sample.crawl), of(byHand, sample.wall)
	t.row(ours.name, func(d time.Duration) string { return a(d).String() })
	t.row(cloudInit.name, func(d time.Duration) string { return b(d).String() })
	t.row(cloudInit.name+", Python started", func(d time.Duration) string { return bare(d).String() })
	t.row(byHand.name, func(d time.Duration) string { return c(d).String() })
	times := func(x, y func(time.Duration) spread) func(time.Duration) string {
		return func(d time.Duration) string { return fmt.Sprintf("%.1f", ratio(x(d), y(d))) }
	}
	t.row("cloud-init : nm-cloud-seed", times(b, a))
	t.row("cloud-init, Python started : nm-cloud-seed", times(bare, a))
	t.row("nmcli + curl : nm-cloud-seed", times(c, a))
	t.row("cloud-init : nmcli + curl", times(b, c))
	return t
}

// wallIdle is where the lease has to be got, too.
func (r *results) wallIdle() *table {
	t := byDelay("Start to seed, on an idle device", "The contender has NetworkManager connect the device first, which cloud-init's crawl cannot.")
	of := func(c contender) func(time.Duration) spread {
		return func(d time.Duration) spread {
			return r.spreadOf(setting{idle: true, keys: keys, delay: d}, c, sample.wall)
		}
	}
	t.row(ours.name, func(d time.Duration) string { return of(ours)(d).String() })
	t.row(byHand.name, func(d time.Duration) string { return of(byHand)(d).String() })
	t.row("nmcli + curl : nm-cloud-seed", func(d time.Duration) string { return fmt.Sprintf("%.1f", ratio(of(byHand)(d), of(ours)(d))) })
	return t
}

func (r *results) lease() *table {
	t := byDelay("Lease to seed", "On an idle device, from the DHCPACK.")
	row := func(c contender, n int) {
		t.row(fmt.Sprintf("%s, %d keys", c.name, n), func(d time.Duration) string {
			return r.spreadOf(setting{idle: true, keys: n, delay: d}, c, sample.lease).String()
		})
	}
	for _, n := range moreKeys {
		row(ours, n)
		t.row("— the bound", func(d time.Duration) string { return ms(bound(n, r.trips[d])) })
	}
	row(byHand, keys)
	t.row("one round trip", func(d time.Duration) string { return fmt.Sprintf("%.2f", millis(r.trips[d])) })
	return t
}

// steps is where our time goes.
func (r *results) steps(idle bool, title string) *table {
	t := byDelay(title, "Milliseconds since the process was started, medians.")
	first := r.samples[setting{idle: idle, keys: keys, contender: ours.name}][0]
	for i, step := range first.steps {
		t.row(step.Name, func(d time.Duration) string {
			return ms(r.spreadOf(setting{idle: idle, keys: keys, delay: d}, ours, func(s sample) time.Duration {
				return time.Duration(s.steps[i].At * float64(time.Millisecond))
			}).median)
		})
	}
	return t
}

// connections is the most TCP connections that a contender made in one run.
func (r *results) connections(c contender) int {
	return most(r, c, func(_ setting, s sample) int { return s.connections })
}

func (r *results) cost(m *machine) *table {
	t := &table{title: "Cost", text: "The most of all runs, with 11 keys."}
	t.add("", ours.name, cloudInit.name, byHand.name)
	row := func(name string, cell func(contender) string) {
		t.add(name, cell(ours), cell(cloudInit), cell(byHand))
	}
	row("requests", func(c contender) string {
		return fmt.Sprint(most(r, c, func(set setting, s sample) int {
			if set.keys != keys {
				return 0
			}
			return s.requests
		}))
	})
	row("TCP connections to port 80", func(c contender) string { return fmt.Sprint(r.connections(c)) })
	row("processes", func(c contender) string { return fmt.Sprint(r.largest(c).processes) })
	row("peak memory of the largest process, MB", func(c contender) string { return fmt.Sprintf("%.1f", float64(r.largest(c).peak)/1e6) })
	python := r.spreadOf(setting{keys: keys}, cloudInit, func(s sample) time.Duration { return s.loaded.Sub(s.started) })
	t.add("process start, ms", newSpread(r.starts).String(), python.String(), "—")
	t.add("binary, MB", fmt.Sprintf("%.2f", float64(m.size)/1e6), "—", "—")
	return t
}
