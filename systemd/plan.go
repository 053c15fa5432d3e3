package systemd

import (
	"fmt"
	"slices"
	"strings"
)

// Ordering is how the deadlock between cloud-init and NetworkManager is broken.
type Ordering string

// Late moves cloud-init's network stage behind NetworkManager; Early moves
// D-Bus and NetworkManager before sysinit.target.
const (
	Late  Ordering = "late"
	Early Ordering = "early"
)

// Plan is what the generator writes, and what there is to say about it.
type Plan struct {
	Ordering Ordering // Early becomes Late where it would make a cycle
	Files    []File   // nothing to be done: none
	// Held are the units that cloud-init's network stage is put before, which
	// the distribution's own order has behind it anyway.
	Held    []string
	LeftOut []LeftOut
	Notes   []string // why nothing, or little, is to be done
	// Warnings say that something could not be done as it should.
	Warnings []string
}

// File is a file or a link below one of the generator's directories.
type File struct {
	Early bool   // in argv[2], which has precedence over /etc; otherwise argv[1]
	Name  string // relative to the directory
	Text  string
	Link  string // what it points to, if it is a link
}

// LeftOut is a unit that is not held, so that it may start before cloud-init is
// through with its network stage.
type LeftOut struct {
	Unit   string
	Reason string
	// Through is how it comes to be before the network stage, from the unit to
	// the stage: there somebody has an order in mind that holding would turn
	// round. Empty for the normal reasons.
	Through []string
}

func (l LeftOut) String() string {
	if len(l.Through) > 0 { // which begins with the unit
		return strings.Join(l.Through, " before ")
	}
	return l.Unit + ": " + l.Reason
}

// Plan decides. The same units give the same plan.
func (u *Units) Plan(o Ordering) Plan {
	stages := u.stages()
	none := Plan{Ordering: o}
	switch {
	case len(stages) == 0:
		return none.note("nothing to do: cloud-init is not installed")
	case !u.Installed(Service):
		return none.note("nothing to do: %s is not installed", Service)
	case !u.Started(networkManager):
		return none.note("nothing to do: %s is not started at boot", networkManager)
	}
	linked := Plan{Ordering: o}.with(u.links()...).with(u.noSearch()...)
	if !u.needsChange() {
		return u.checked(linked.with(u.fallback()...).note("the order is right already"))
	}
	linked = linked.with(u.settings()...)
	if o == Early {
		p := u.early(linked)
		cycle := u.newCycle(p)
		if cycle == nil {
			return p
		}
		late := u.late(linked)
		late.Warnings = append([]string{"ordering=early would make a cycle, using late: " + cycle.String()}, late.Warnings...)
		return late
	}
	return u.late(linked)
}

func (p Plan) note(format string, args ...any) Plan {
	p.Notes = append(slices.Clone(p.Notes), fmt.Sprintf(format, args...))
	return p
}

func (p Plan) warn(format string, args ...any) Plan {
	p.Warnings = append(slices.Clone(p.Warnings), fmt.Sprintf(format, args...))
	return p
}

// links pull our services in, along with cloud-init.
func (u *Units) links() []File {
	var all []File
	for _, name := range wanted {
		if n := u.unit(name); n != nil {
			all = append(all, File{Name: cloudTarget + ".wants/" + name, Link: n.file.path})
		}
	}
	return all
}

// late plans the order Late.
func (u *Units) late(linked Plan) Plan {
	linked.Ordering = Late
	bare := linked.with(u.copies(nil)...)
	moved := u.With(bare)
	extra := moved.hotplug()
	if len(extra) > 0 {
		bare = bare.with(extra...)
		moved = u.With(bare)
	}
	h := moved.hold(nil, nil)
	var sockets []File
	if askable := u.With(linked.with(u.copies(h.before)...).with(extra...)).askable(); len(askable) > 0 {
		h, sockets = u.holdSockets(bare, askable)
	}
	p := linked.with(u.copies(h.before)...).with(extra...).with(sockets...)
	p.Held, p.LeftOut, p.Warnings = h.held, h.leftOut, h.stuck
	cycle := u.newCycle(p)
	if cycle == nil {
		return p
	}
	if u.newCycle(bare) == nil { // the hold list is wrong: it should know
		return bare.warn("nothing is held: that would make a cycle, %s", cycle)
	}
	none := u.checked(bare)
	if cycle := u.newCycle(u.early(linked)); cycle != nil {
		return none.warn("ordering=early would make a cycle, too: %s", cycle)
	}
	return none.warn("ordering=early would make no cycle")
}

// checked is a plan if it makes no cycle, otherwise nothing is done.
func (u *Units) checked(p Plan) Plan {
	cycle := u.newCycle(p)
	if cycle == nil {
		return p
	}
	return Plan{Ordering: p.Ordering}.warn("cloud-init's network stage cannot wait for NetworkManager, nothing is changed: %s", cycle)
}

// with is a plan with further files, in a fixed order.
func (p Plan) with(files ...File) Plan {
	p.Files = append(slices.Clone(p.Files), files...)
	slices.SortFunc(p.Files, func(a, b File) int { return strings.Compare(a.Name, b.Name) })
	return p
}

// newCycle is a cycle that a plan makes, nil if it makes none: one with an order
// of two units that was on no cycle before.
func (u *Units) newCycle(p Plan) Cycle {
	w := u.With(p)
	knots := make(map[string]int) // number of the old knot that a unit is in
	for i, knot := range u.graph.knots(u.boot) {
		for _, id := range knot {
			knots[id] = i + 1
		}
	}
	for _, knot := range w.graph.knots(w.boot) {
		in := set(knot)
		for _, a := range knot {
			for _, b := range w.graph.next[a] {
				old := knots[a] != 0 && knots[a] == knots[b] && slices.Contains(u.graph.next[a], b)
				if in[b] && !old {
					way := w.graph.path(b, a, in)
					return append(Cycle{a}, way[:len(way)-1]...)
				}
			}
		}
	}
	return nil
}
