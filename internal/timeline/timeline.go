// Package timeline puts together what happened when in this boot: systemd's timestamps
// of units, and our service's own steps.
package timeline

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nm-cloud-seed/nm-cloud-seed/internal/daemon"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/plot"
)

// Systemd says when something happened. All times are of CLOCK_MONOTONIC, 0 is never.
type Systemd interface {
	Boot(ctx context.Context) (Boot, error)
	Unit(ctx context.Context, name string) (Unit, error)
}

// Boot are the times of the system as a whole.
type Boot struct {
	Kernel    bool // the clock started with it; not in a container
	InitRD    time.Duration
	Userspace time.Duration // when the system's first process started
	Loaded    time.Duration // when systemd had loaded the units
	Finish    time.Duration // when all jobs were done
}

// Unit are the times of one unit, the last ones of each kind.
type Unit struct {
	ID                                                   string // the name without aliases
	InactiveExit, ActiveEnter, ActiveExit, InactiveEnter time.Duration
}

// The units in the picture. Of several names it is the first that ran: they are one
// unit's, in other versions or with another program.
var (
	services = [][]string{
		{"cloud-init-main.service"},
		{"cloud-init-local.service"},
		{"dbus.socket"},
		{"dbus-broker.service", "dbus.service"},
		{"NetworkManager.service"},
		{"cloud-init-network.service", "cloud-init.service"},
		{"cloud-config.service"},
		{"cloud-final.service"},
	}
	active  = []string{"dbus.socket", "dbus-broker.service", "dbus.service", "NetworkManager.service"}
	targets = []string{"network-online.target", "multi-user.target"}
)

const (
	ours   = "nm-cloud-seed.service"
	heal   = "nm-cloud-seed-heal.service"
	stages = "nm-cloud-seed-stages.service"
)

// About is what the picture's title has besides the times.
type About struct {
	System  string // such as "Debian GNU/Linux 13 (trixie)"
	Version string // ours
}

// Collect makes the chart of the boot. now is the time on the same clock.
func Collect(ctx context.Context, systemd Systemd, s daemon.State, about About, now time.Duration) (plot.Chart, error) {
	boot, err := systemd.Boot(ctx)
	if err != nil {
		return plot.Chart{}, err
	}
	if boot.Userspace <= 0 {
		return plot.Chart{}, errors.New("systemd does not say when the system started")
	}
	c := collector{boot: boot, now: now, units: make(map[string]Unit)}
	names := []string{ours, heal, stages}
	for _, group := range append(services, targets) {
		names = append(names, group...)
	}
	for _, name := range names {
		if c.units[name], err = systemd.Unit(ctx, name); err != nil {
			return plot.Chart{}, fmt.Errorf("cannot get the times of %s: %w", name, err)
		}
	}
	chart := c.chart(s)
	chart.Title, chart.Subtitle = c.title(s, about)
	return chart, nil
}

// collector turns times into bars.
type collector struct {
	boot  Boot
	units map[string]Unit
	now   time.Duration
}

// since makes a time one that counts from the start of the system.
func (c *collector) since(at time.Duration) time.Duration {
	if !c.boot.Kernel {
		at -= c.boot.Userspace
	}
	return min(max(at, 0), ageMost)
}

func (c *collector) span(kind plot.Kind, from, to time.Duration) plot.Span {
	return plot.Span{From: c.since(from), To: c.since(max(from, to)), Kind: kind}
}

func (c *collector) chart(s daemon.State) plot.Chart {
	chart := plot.Chart{Rows: c.system()}
	var rows []plot.Row
	for _, names := range services {
		for _, name := range names {
			if row, ok := c.unit(name, plot.Starting); ok {
				rows = append(rows, row)
				break
			}
		}
	}
	for _, part := range []func(daemon.State) (plot.Row, *plot.Detail){c.run, c.healing} {
		row, detail := part(s)
		if len(row.Spans) == 0 {
			continue
		}
		rows = append(rows, row)
		if detail != nil {
			chart.Details = append(chart.Details, *detail)
		}
	}
	if row, ok := c.unit(stages, plot.Starting); ok {
		rows = append(rows, row)
	}
	slices.SortStableFunc(rows, func(a, b plot.Row) int { return cmp.Compare(a.Spans[0].From, b.Spans[0].From) })
	chart.Rows = append(chart.Rows, rows...)
	chart.Marks = c.marks(s)
	c.stretch(&chart)
	return chart
}

// system is what comes before all units.
func (c *collector) system() (rows []plot.Row) {
	row := func(name string, from, to time.Duration) {
		rows = append(rows, plot.Row{Name: name, Spans: []plot.Span{c.span(plot.System, from, to)}})
	}
	if c.boot.Kernel {
		row("kernel", 0, cmp.Or(c.boot.InitRD, c.boot.Userspace))
		if c.boot.InitRD > 0 {
			row("initrd", c.boot.InitRD, c.boot.Userspace)
		}
	}
	if c.boot.Loaded > c.boot.Userspace {
		row("systemd loads units", c.boot.Userspace, c.boot.Loaded)
	}
	return rows
}

// unit is the row of a unit that has been started, or failed to: without having been
// active it became inactive. All of these stay active once they are.
func (c *collector) unit(name string, kind plot.Kind) (plot.Row, bool) {
	u := c.units[name]
	if u.InactiveExit <= 0 {
		return plot.Row{}, false
	}
	if u.ActiveEnter < u.InactiveExit && u.InactiveEnter >= u.InactiveExit {
		kind = plot.Failed
	}
	row := plot.Row{Name: cmp.Or(u.ID, name), Spans: []plot.Span{c.span(kind, u.InactiveExit, c.started(u))}}
	if u.ActiveEnter >= u.InactiveExit && slices.Contains(active, row.Name) {
		s := c.span(plot.Active, u.ActiveEnter, u.ActiveExit)
		if u.ActiveExit < u.ActiveEnter {
			s.To = forever
		}
		row.Spans = append(row.Spans, s)
		if at := c.units[ours].InactiveExit; at > 0 && u.InactiveExit > at { // which came after it
			row.Name += again
		}
	}
	return row, true
}

// started is when the start of a unit ended, as it did, or now.
func (c *collector) started(u Unit) time.Duration {
	for _, at := range []time.Duration{u.ActiveEnter, u.InactiveEnter} {
		if at >= u.InactiveExit {
			return at
		}
	}
	return c.now
}

// again is said of a unit whose first start systemd has forgotten over a later one, as
// NetworkManager's when netplan has restarted it.
const again = " (again)"

// forever is as long as the chart goes.
const forever = time.Duration(1<<63 - 1)

// stretch ends what is still active with the chart, which has the whole boot.
func (c *collector) stretch(chart *plot.Chart) {
	end := c.since(c.boot.Finish)
	for _, row := range chart.Rows {
		for _, s := range row.Spans {
			if s.To != forever {
				end = max(end, s.To)
			}
		}
	}
	for _, m := range chart.Marks {
		end = max(end, m.At)
	}
	for _, row := range chart.Rows {
		for i := range row.Spans {
			row.Spans[i].To = min(row.Spans[i].To, end)
		}
	}
}

func (c *collector) marks(s daemon.State) (marks []plot.Mark) {
	if u := c.units[ours]; u.ActiveEnter >= u.InactiveExit && u.ActiveEnter > 0 && s.Phase != daemon.Idle {
		marks = append(marks, plot.Mark{Name: "READY", At: c.since(u.ActiveEnter), Ours: true})
	}
	for _, name := range targets {
		if at := c.units[name].ActiveEnter; at > 0 {
			marks = append(marks, plot.Mark{Name: name, At: c.since(at)})
		}
	}
	slices.SortStableFunc(marks, func(a, b plot.Mark) int { return cmp.Compare(a.At, b.At) })
	return marks
}

func (c *collector) title(s daemon.State, about About) (title, subtitle string) {
	title = "Boot of " + cmp.Or(about.System, "an unknown system")
	if c.boot.Finish > 0 {
		title += ", " + plot.Time(c.since(c.boot.Finish))
	} else {
		title += ", not over yet"
	}
	subtitle = "nm-cloud-seed " + about.Version + ": " + string(s.Phase)
	if u := c.units[ours]; u.ActiveEnter > 0 && u.ActiveEnter >= u.InactiveExit {
		subtitle += ", " + plot.Time(u.ActiveEnter-u.InactiveExit) + " of the boot"
	}
	if _, ok := s.MonotonicStart(); !ok {
		subtitle += " (its steps are not placed exactly: the state is of an older version)"
	}
	return title, subtitle
}
