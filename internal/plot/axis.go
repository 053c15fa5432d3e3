package plot

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// axis says where on the picture a time is. Where nothing happens for most of the time,
// as in the wait for a silent virtual router, that part is cut out.
type axis struct {
	parts []part
	scale float64 // pixels per second
	zero  time.Duration
}

// part is a stretch of the axis between two cuts.
type part struct {
	from, to time.Duration
	x        float64
}

const (
	cutWidth = 26.0 // pixels
	cutAbove = 0.75 // of the time that there is to show
	cutMost  = 3
	cutSpare = 0.05 // of what remains, shown at both ends of a cut
)

// newAxis makes one of some pixels for what happens from one time to another.
func newAxis(events []time.Duration, from, to time.Duration, left, width float64) axis {
	to = max(to, from+time.Millisecond)
	for i, at := range events {
		events[i] = min(max(at, from), to)
	}
	slices.Sort(events)
	a := axis{parts: []part{{from: from, to: to}}, zero: from}
	shown := to - from
	for range cutMost {
		gap := a.longestGap(events)
		if float64(gap.to-gap.from) < cutAbove*float64(shown) {
			break
		}
		spare := time.Duration(cutSpare * float64(shown-(gap.to-gap.from)))
		shown -= gap.to - gap.from - 2*spare
		i := slices.IndexFunc(a.parts, func(p part) bool { return p.from <= gap.from && gap.to <= p.to })
		a.parts = slices.Insert(a.parts, i+1, part{from: gap.to - spare, to: a.parts[i].to})
		a.parts[i].to = gap.from + spare
	}
	a.scale = (width - cutWidth*float64(len(a.parts)-1)) / shown.Seconds()
	for i, p := range a.parts {
		a.parts[i].x = left
		left += (p.to-p.from).Seconds()*a.scale + cutWidth
	}
	return a
}

// longestGap is the longest time without an event that is not cut out yet.
func (a axis) longestGap(events []time.Duration) (gap part) {
	for i := 1; i < len(events); i++ {
		from, to := events[i-1], events[i]
		if slices.ContainsFunc(a.parts, func(p part) bool { return p.from <= from && to <= p.to }) && to-from > gap.to-gap.from {
			gap = part{from: from, to: to}
		}
	}
	return gap
}

// x is where a time is.
func (a axis) x(t time.Duration) float64 {
	x := a.parts[0].x
	for i, p := range a.parts {
		if t < p.from {
			if i > 0 {
				x += cutWidth / 2
			}
			return x
		}
		x = p.x + (min(t, p.to)-p.from).Seconds()*a.scale
	}
	return x
}

// cut is a stretch that is not shown.
type cut struct {
	x    float64 // its middle
	time time.Duration
}

func (a axis) cuts() (cuts []cut) {
	for i, p := range a.parts[1:] {
		cuts = append(cuts, cut{p.x - cutWidth/2, p.from - a.parts[i].to})
	}
	return cuts
}

const (
	tickRoom = 62.0 // pixels between two ticks at least
	tickMost = 40
)

// tick is a round time on the axis.
type tick struct {
	x    float64
	text string
}

// ticks counts from the beginning of the axis.
func (a axis) ticks() (ticks []tick) {
	least := max(tickRoom/a.scale, 1e-6) // seconds
	power := math.Pow(10, math.Floor(math.Log10(least)))
	step := power
	for _, n := range []float64{1, 2, 5, 10} {
		if step = n * power; step >= least*0.999 {
			break
		}
	}
	last := a.parts[len(a.parts)-1].to - a.zero
	unit, name := 1.0, "s"
	if last < time.Second {
		unit, name = 1e3, "ms"
	}
	decimals := max(int(math.Ceil(-math.Log10(step*unit)-1e-9)), 0)
	for _, p := range a.parts {
		first := max(math.Ceil((p.from-a.zero).Seconds()/step-1e-6), 0) // nor -0
		for n := first; n*step <= (p.to-a.zero).Seconds()*(1+1e-9) && len(ticks) < tickMost; n++ {
			text := fmt.Sprintf("%.*f %s", decimals, n*step*unit, name)
			ticks = append(ticks, tick{p.x + (n*step-(p.from-a.zero).Seconds())*a.scale, text})
		}
	}
	return ticks
}
