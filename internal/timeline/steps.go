package timeline

import (
	"math"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/nm-cloud-seed/nm-cloud-seed/internal/daemon"
)

// Step is a part of our service's run. Times count from the start of the run.
type Step struct {
	Name     string
	From, To time.Duration
	State    StepState
}

// StepState is how a step stands.
type StepState int

// A step is done, under way, or the one that did not come to its end.
const (
	Done StepState = iota
	UnderWay
	Failed
)

// Steps are those of a run until cloud-init could go on, and those of healing after
// it, which can take hours.
type Steps struct {
	Run       []Step
	Healing   []Step
	HealingAt time.Duration // when it began
}

// firstHeal is what our service calls the first step of healing.
const firstHeal = "waiting for the virtual router"

const (
	stepsMost = 12 // of each, whatever a state says
	nameMost  = 24 // letters
	ageMost   = 100 * 365 * 24 * time.Hour
)

// StepsOf takes a state apart. age is how long ago the run started.
func StepsOf(s daemon.State, age time.Duration) (steps Steps) {
	run := s.Steps
	if n := slices.IndexFunc(run, func(s daemon.Step) bool { return s.Name == firstHeal }); n >= 0 {
		steps.HealingAt = moment(run[n].At)
		steps.Healing = series(run[n+1:], steps.HealingAt)
		run = run[:n]
	}
	steps.Run = series(run, 0)
	switch {
	case s.Healing != nil:
		steps.Healing = add(steps.Healing, "under way", steps.HealingAt, age, UnderWay)
	case s.Ended == nil && !over(s.Phase):
		steps.Run = add(steps.Run, string(s.Phase), 0, age, UnderWay)
	}
	return steps
}

func over(p daemon.Phase) bool {
	return p == daemon.Ready || p == daemon.Idle || p == daemon.Failed || p == daemon.Stopped
}

// series makes steps of moments, each from the one before, which time does not go
// behind.
func series(from []daemon.Step, start time.Duration) (steps []Step) {
	if len(from) > stepsMost {
		from = from[len(from)-stepsMost:]
	}
	for _, s := range from {
		state := Done
		if s.Name == string(daemon.Failed) || s.Name == string(daemon.Stopped) {
			state = Failed
		}
		steps = add(steps, s.Name, start, moment(s.At), state)
	}
	return steps
}

func add(steps []Step, name string, start, to time.Duration, state StepState) []Step {
	from := last(steps, start)
	return append(steps, Step{Name: clean(name), From: from, To: max(to, from), State: state})
}

// last is when the last of some steps ended.
func last(steps []Step, start time.Duration) time.Duration {
	if len(steps) > 0 {
		return steps[len(steps)-1].To
	}
	return start
}

// moment is a number of milliseconds within reason.
func moment(ms float64) time.Duration {
	return time.Duration(math.Min(math.Max(ms, 0), float64(ageMost.Milliseconds())) * float64(time.Millisecond))
}

// clean makes a name fit for one line, and bounds it.
func clean(name string) string {
	name = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, name)
	if runes := []rune(name); len(runes) > nameMost {
		name = string(runes[:nameMost-1]) + "…"
	}
	return name
}
