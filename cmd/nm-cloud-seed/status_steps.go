package main

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/nm-cloud-seed/nm-cloud-seed/internal/plot"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/timeline"
)

// Columns of the table of steps.
const (
	nameMost  = 26
	timeWidth = len("99 h 59 min") + 1
	leastBar  = 8
)

// steps is a table with a bar for each step, as long as it took. Healing has a scale of
// its own: it can take hours.
func (v screen) steps(steps timeline.Steps) []string {
	if len(steps.Run)+len(steps.Healing) == 0 {
		return nil
	}
	t := table{screen: v, first: nameWidth, at: true}
	for _, s := range slices.Concat(steps.Run, steps.Healing) {
		t.first = min(max(t.first, cells(s.Name)+2), nameMost)
	}
	if t.bar = v.width - t.first - 2*timeWidth - 2; t.bar < leastBar {
		t.at, t.bar = false, t.bar+timeWidth
	}
	t.lines = []string{""}
	t.row("step", "took", "at", "")
	t.part(steps.Run, 0)
	if len(steps.Healing) > 0 {
		t.row("healing", "", plot.Time(steps.HealingAt), "")
		t.part(steps.Healing, steps.HealingAt)
	}
	return t.lines
}

// table is one under way.
type table struct {
	screen
	first int  // the width of its first column
	at    bool // there is room for when
	bar   int  // the width of bars, if there is room for them
	lines []string
}

func (t *table) row(name, took, at, bar string) {
	name = cut(name, t.first-2)
	line := name + strings.Repeat(" ", max(t.first-cells(name), 0)) + fmt.Sprintf("%*s", timeWidth, took)
	if t.at {
		line += fmt.Sprintf("%*s", timeWidth, at)
	}
	if bar != "" {
		line += "  " + bar
	}
	t.lines = append(t.lines, strings.TrimRight(line, " "))
}

// part are steps with the same scale. While one is under way, there is some room for
// its bar to grow.
func (t *table) part(steps []timeline.Step, start time.Duration) {
	for _, s := range steps {
		end := steps[len(steps)-1]
		total := end.To - start
		if end.State == timeline.UnderWay {
			total = scale(total)
		}
		bar := ""
		if t.bar >= leastBar {
			before, blocks := t.blocksOf(s.From-start, s.To-start, total, t.bar)
			bar = strings.Repeat(" ", before) + t.paint(stepColours[s.State], blocks)
		}
		t.row(s.Name, plot.Time(s.To-s.From), plot.Time(s.To), bar)
	}
}

var stepColours = map[timeline.StepState]string{timeline.Done: green, timeline.UnderWay: yellow, timeline.Failed: red}

// scale is the next of 1, 2, 5, 10, 20 seconds and so on.
func scale(total time.Duration) time.Duration {
	for power := time.Second; power < math.MaxInt64/10; power *= 10 {
		for _, n := range []time.Duration{1, 2, 5} {
			if n*power >= total {
				return n * power
			}
		}
	}
	return total
}

// blocksOf is a bar from one time to another where the whole width is a total. It is never
// empty.
func (v screen) blocksOf(from, to, total time.Duration, width int) (before int, blocks string) {
	position := func(t time.Duration) float64 {
		if total <= 0 {
			return 0
		}
		return min(max(float64(t)/float64(total), 0), 1) * float64(width)
	}
	level := len(v.blocks)
	before = min(int(position(from)), width-1)
	parts := int((position(to)-position(from))*float64(level) + 0.5)
	parts = min(max(parts, 1), (width-before)*level)
	blocks = strings.Repeat(v.blocks[level-1], parts/level)
	if rest := parts % level; rest > 0 {
		blocks += v.blocks[rest-1]
	}
	return before, blocks
}
