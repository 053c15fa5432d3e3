// Package plot draws what happened when as an SVG picture: a row for each thing, a bar
// for each time, as `systemd-analyze plot` does.
package plot

import "time"

// Chart is what there is to draw. All times count from the same moment, which is the
// left end of the picture.
type Chart struct {
	Title, Subtitle string
	Rows            []Row
	Marks           []Mark
	Details         []Detail
}

// Detail is what a row is made of, drawn below the rest and enlarged.
type Detail struct {
	Of       string // the row's name
	From, To time.Duration
	Rows     []Row
}

// Row is one line of the picture. It says how long its spans took, those of the kind
// Active aside.
type Row struct {
	Name  string
	Spans []Span
}

// Span is a bar.
type Span struct {
	From, To time.Duration
	Kind     Kind
}

// Mark is a moment, drawn as a line through all rows.
type Mark struct {
	Name string
	At   time.Duration
	Ours bool
}

// Kind is what a bar stands for. It decides the colour.
type Kind int

// The kinds, in the legend's order.
const (
	System   Kind = iota // kernel and systemd
	Starting             // a unit
	Active               // likewise
	Ours                 // our service
	Step                 // of our service
	Waiting              // for the virtual router, after the boot
	Failed
)

// kinds are their classes in the picture, and what the legend says.
var kinds = [...]struct{ class, text string }{
	System:   {"system", "kernel, systemd"},
	Starting: {"starting", "starting"},
	Active:   {"active", "active"},
	Ours:     {"ours", "nm-cloud-seed"},
	Step:     {"step", "its steps"},
	Waiting:  {"waiting", "healing"},
	Failed:   {"failed", "failed"},
}

// took is how long a row took, and where its bars for that end. An active unit takes no
// time.
func (r Row) took() (took, from, to time.Duration, ok bool) {
	for _, s := range r.Spans {
		if s.Kind == Active {
			continue
		}
		if !ok {
			from = s.From
		}
		took, to, ok = took+s.To-s.From, s.To, true
	}
	return took, from, to, ok
}

func (k Kind) String() string { return kinds[k].class }
