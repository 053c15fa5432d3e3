// Package doctor looks whether a system is fit for CloudStack with
// NetworkManager, and says what to do where it is not. Nothing is changed and no
// program of the system is run.
//
//	report, err := doctor.Image(root)      // an unpacked image; an error: could not look
//	report := doctor.System(ctx, doctor.Here()) // the running system
//	report.Print(w, paint)             // for people; for programs it is JSON
//	report.State()                     // the worst
package doctor

import (
	"slices"
	"strings"
	"unicode"
)

// State is the outcome of a check.
type State string

// The states, from good to bad. Skipped is a check that depends on one that failed.
const (
	OK      State = "ok"
	Info    State = "info"
	Skipped State = "skipped"
	Warning State = "warning" // it works, but perhaps not as meant
	Problem State = "problem" // it does not work
)

var byBadness = []State{OK, Info, Skipped, Warning, Problem}

// Check is one thing that was looked at. Names are stable: "cloud-init.version"
// belongs to the group "cloud-init".
type Check struct {
	Name   string   `json:"name"`
	State  State    `json:"state"`
	Detail string   `json:"detail,omitempty"`
	Items  []string `json:"items,omitempty"` // what the detail counts or announces
	Fix    string   `json:"fix,omitempty"`   // what to do, in a sentence
}

// Report is what was found, in the order of the checks.
type Report struct {
	Root   string  `json:"root"`
	Checks []Check `json:"checks"`

	end string // what to say if there is no problem; empty: the usual
}

// State is the worst state of all checks.
func (r Report) State() State { return worst(r.Checks) }

func worst(checks []Check) State {
	bad := 0
	for _, c := range checks {
		bad = max(bad, slices.Index(byBadness, c.State))
	}
	return byBadness[bad]
}

// step is a check to make. It is skipped if one of those that it needs failed.
type step struct {
	name  string
	look  func() Check
	needs []string
}

func examine(steps []step) []Check {
	var all []Check
	failed := make(map[string]bool)
	for _, s := range steps {
		var c Check
		if i := slices.IndexFunc(s.needs, func(name string) bool { return failed[name] }); i >= 0 {
			c = Check{State: Skipped, Detail: "depends on " + s.needs[i]}
		} else {
			c = s.look()
		}
		c.Name = s.name
		failed[s.name] = c.State == Problem || c.State == Skipped
		all = append(all, c.tidy())
	}
	return all
}

// Limits of what is shown: the texts have names of the system's in them.
const (
	maxText  = 1000 // bytes
	maxItems = 200
)

// tidy makes a check fit for a terminal.
func (c Check) tidy() Check {
	c.Detail, c.Fix = clean(c.Detail), clean(c.Fix)
	c.Items = slices.Clone(c.Items[:min(len(c.Items), maxItems)])
	for i, item := range c.Items {
		c.Items[i] = clean(item)
	}
	return c
}

func clean(text string) string {
	text = strings.Map(func(r rune) rune {
		if r == unicode.ReplacementChar || !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, text)
	return strings.ToValidUTF8(text[:min(len(text), maxText)], "")
}

func ok(detail string) Check           { return Check{State: OK, Detail: detail} }
func info(detail string) Check         { return Check{State: Info, Detail: detail} }
func warning(detail, fix string) Check { return Check{State: Warning, Detail: detail, Fix: fix} }
func problem(detail, fix string) Check { return Check{State: Problem, Detail: detail, Fix: fix} }

// with adds items.
func (c Check) with(items ...string) Check {
	c.Items = append(c.Items, items...)
	return c
}
