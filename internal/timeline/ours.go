package timeline

import (
	"cmp"
	"time"

	"github.com/nm-cloud-seed/nm-cloud-seed/internal/daemon"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/plot"
)

// run is the row of our service until READY, and the steps in it.
func (c *collector) run(s daemon.State) (plot.Row, *plot.Detail) {
	row, ok := c.unit(ours, plot.Ours)
	if !ok {
		return plot.Row{}, nil
	}
	u := c.units[ours]
	start := c.start(s)
	steps := StepsOf(s, c.now-start)
	if len(steps.Run) == 0 {
		return row, nil
	}
	bar := row.Spans[0]
	detail := plot.Detail{Of: row.Name, From: bar.From, To: bar.To}
	add := func(name string, kind plot.Kind, from, to time.Duration) {
		from, to = max(from, bar.From), min(to, bar.To)
		detail.Rows = append(detail.Rows, plot.Row{Name: name, Spans: []plot.Span{{From: from, To: max(from, to), Kind: kind}}})
	}
	add("start of the process", plot.System, bar.From, c.since(start))
	end := &steps.Run[len(steps.Run)-1]
	if end.State == Failed { // it may have handed over the network then
		end.To = max(end.To, c.started(u)-start)
	}
	for _, step := range steps.Run {
		add(step.Name, stepKind(step), c.since(start+step.From), c.since(start+step.To))
	}
	if end.State == Done && u.ActiveEnter >= u.InactiveExit {
		add("until cloud-init may go on", plot.System, c.since(start+end.To), bar.To)
	}
	return row, &detail
}

// healing is the row of the wait for a virtual router that was silent at boot.
func (c *collector) healing(s daemon.State) (plot.Row, *plot.Detail) {
	u := c.units[heal]
	if u.InactiveExit <= 0 {
		return plot.Row{}, nil
	}
	end := cmp.Or(max(u.ActiveExit, u.InactiveEnter), c.now)
	if end < u.InactiveExit {
		end = c.now
	}
	row := plot.Row{Name: cmp.Or(u.ID, heal), Spans: []plot.Span{c.span(plot.Waiting, u.InactiveExit, end)}}
	start := c.start(s)
	steps := StepsOf(s, c.now-start)
	if len(steps.Healing) == 0 {
		return row, nil
	}
	detail := plot.Detail{Of: row.Name, From: row.Spans[0].From, To: row.Spans[0].To}
	for _, step := range steps.Healing {
		span := c.span(stepKind(step), start+step.From, start+step.To)
		detail.Rows = append(detail.Rows, plot.Row{Name: step.Name, Spans: []plot.Span{span}})
	}
	return row, &detail
}

// start is when our service's process started to count. A state of an older version
// does not say, and systemd's word for it is a little too early.
func (c *collector) start(s daemon.State) time.Duration {
	if at, ok := s.MonotonicStart(); ok {
		return at
	}
	return c.units[ours].InactiveExit
}

func stepKind(s Step) plot.Kind {
	if s.State == Failed {
		return plot.Failed
	}
	return plot.Step
}
