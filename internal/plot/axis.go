package plot

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// axis says where on the picture a time is. Where nothing happens for most of the time,
// as when the virtual router is silent for hours, that part can be cut out.
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
	cutLeast = time.Minute
	cutAbove = 3    // times what remains
	cutSpare = 0.05 // of what remains, shown at both ends of a cut

	timeMost = 100 * 365 * 24 * time.Hour // far from an overflow
)

// newAxis makes one of some pixels from one time to another. It may be cut where there
// are no events.
func newAxis(events []time.Duration, from, to time.Duration, left, width float64) axis {
	from = min(max(from, 0), timeMost)
	to = min(max(to, from+time.Millisecond), 2*timeMost)
	for i, at := range events {
		events[i] = min(max(at, from), to)
	}
	slices.Sort(events)
	gaps, rest := gapsIn(events, to-from)
	spare := time.Duration(cutSpare * float64(rest))
	shown := to - from
	parts := []part{{from: from, to: to}}
	for _, gap := range gaps {
		last := &parts[len(parts)-1]
		last.to = gap.from + spare
		parts = append(parts, part{from: gap.to - spare, to: to})
		shown -= gap.to - gap.from - 2*spare
	}
	scale := (width - cutWidth*float64(len(gaps))) / shown.Seconds()
	for i, p := range parts {
		parts[i].x = left
		left += (p.to-p.from).Seconds()*scale + cutWidth
	}
	return axis{parts, scale, from}
}

// gapsIn are the long gaps between events that dwarf all the rest of the time.
func gapsIn(events []time.Duration, total time.Duration) (gaps []part, rest time.Duration) {
	rest = total
	for i := 1; i < len(events); i++ {
		if from, to := events[i-1], events[i]; to-from >= cutLeast {
			gaps = append(gaps, part{from: from, to: to})
			rest -= to - from
		}
	}
	if rest < time.Millisecond { // there is nothing else
		return nil, total
	}
	gaps = slices.DeleteFunc(gaps, func(p part) bool { return p.to-p.from < cutAbove*rest })
	return gaps, rest
}

// x is where a time is.
func (a axis) x(t time.Duration) float64 {
	for i, p := range a.parts {
		switch {
		case t < p.from && i > 0:
			return p.x - cutWidth/2 // in a cut
		case t <= p.to:
			return p.x + max(t-p.from, 0).Seconds()*a.scale
		}
	}
	last := a.parts[len(a.parts)-1]
	return last.x + (last.to-last.from).Seconds()*a.scale
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
