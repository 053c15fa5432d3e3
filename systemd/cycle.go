package systemd

import (
	"maps"
	"slices"
	"strings"
)

const defaultTarget = "default.target"

// Cycle is a ring of units each of which systemd would start before the next,
// and the last before the first. Breaking it, systemd leaves one of them out.
type Cycle []string

func (c Cycle) String() string {
	if len(c) == 0 {
		return ""
	}
	return strings.Join(append(slices.Clone(c), c[0]), " before ")
}

// started are the units that take part in starting one: what it pulls in,
// itself, and what has to be active already; none of those that are left out.
// Where something required is missing systemd gives up on a unit's further
// dependencies, or not, by chance: here all count.
func (g *graph) started(name string, leftOut map[string]bool) map[string]bool {
	usable := func(ids []string) []string {
		return slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return !g.nodes[id].loaded || leftOut[id] })
	}
	all := reach(usable([]string{g.unit(name).id}), func(id string) []string {
		return usable(slices.Concat(g.nodes[id].requires, g.nodes[id].wants))
	})
	for _, id := range slices.Collect(maps.Keys(all)) {
		for _, active := range usable(g.nodes[id].requisite) {
			all[active] = true
		}
	}
	return all
}

// knots are the strongly connected components of more than one unit: each has
// a cycle, and units on no cycle are in none. Tarjan's algorithm.
func (g *graph) knots(started map[string]bool) [][]string {
	var knots [][]string
	var stack []string
	number, low, on := make(map[string]int), make(map[string]int), make(map[string]bool)
	var visit func(id string)
	visit = func(id string) {
		number[id] = len(number) + 1
		low[id] = number[id]
		stack, on[id] = append(stack, id), true
		for _, next := range g.next[id] {
			if !started[next] {
				continue
			}
			if number[next] == 0 {
				visit(next)
				low[id] = min(low[id], low[next])
			} else if on[next] {
				low[id] = min(low[id], number[next])
			}
		}
		if low[id] != number[id] {
			return
		}
		first := slices.Index(stack, id)
		knot := slices.Clone(stack[first:])
		for _, k := range knot {
			on[k] = false
		}
		stack = stack[:first]
		if len(knot) > 1 {
			slices.Sort(knot)
			knots = append(knots, knot)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(started)) {
		if number[id] == 0 {
			visit(id)
		}
	}
	slices.SortFunc(knots, func(a, b []string) int { return strings.Compare(a[0], b[0]) })
	return knots
}

// cycles gives one short cycle of each knot.
func (g *graph) cycles(started map[string]bool) []Cycle {
	var all []Cycle
	for _, knot := range g.knots(started) {
		in := set(knot)
		var shortest Cycle
		for _, next := range g.next[knot[0]] {
			if p := g.path(next, knot[0], in); p != nil && (shortest == nil || len(p) < len(shortest)) {
				shortest = Cycle(append([]string{knot[0]}, p[:len(p)-1]...))
			}
		}
		all = append(all, shortest)
	}
	return all
}

// path is a shortest way from one unit to another, both included, over units
// that are started, or all if started is nil. It is nil if there is none.
func (g *graph) path(from, to string, started map[string]bool) []string {
	if started != nil && (!started[from] || !started[to]) {
		return nil
	}
	came := map[string]string{from: ""}
	for queue := []string{from}; len(queue) > 0; queue = queue[1:] {
		if queue[0] == to {
			var p []string
			for at := to; at != ""; at = came[at] {
				p = append(p, at)
			}
			slices.Reverse(p)
			return p
		}
		for _, next := range g.next[queue[0]] {
			if _, seen := came[next]; !seen && (started == nil || started[next]) {
				came[next] = queue[0]
				queue = append(queue, next)
			}
		}
	}
	return nil
}

// ancestors are the units that come before any of these, themselves included.
func (g *graph) ancestors(ids ...string) map[string]bool {
	return reach(ids, func(id string) []string { return g.previous[id] })
}

// descendants are the units that come after a unit, itself included.
func (g *graph) descendants(id string) map[string]bool {
	return reach([]string{id}, func(id string) []string { return g.next[id] })
}

func reach(from []string, step func(string) []string) map[string]bool {
	all := set(from)
	for queue := slices.Clone(from); len(queue) > 0; queue = queue[1:] {
		for _, next := range step(queue[0]) {
			if !all[next] {
				all[next] = true
				queue = append(queue, next)
			}
		}
	}
	return all
}

func set(ids []string) map[string]bool {
	all := make(map[string]bool, len(ids))
	for _, id := range ids {
		all[id] = true
	}
	return all
}
