package systemd

import (
	"maps"
	"slices"
	"strings"
)

// rootMount is always there.
const rootMount = "-.mount"

// maxUnits bounds how many units a graph has, with those that are only named.
const maxUnits = 65536

// node is a unit as it would be loaded.
type node struct {
	id       string
	name     unitName
	file     *file // nil if there is none
	dropins  []*file
	loaded   bool
	defaults bool // DefaultDependencies=
	settings settings
	// What it pulls in when it is started, by real names.
	requires, wants, requisite []string
	triggered                  []string // what it starts by itself: a socket, timer or path
}

// graph is all installed units and whatever they name, with the order that
// systemd gives them.
type graph struct {
	index *index
	nodes map[string]*node  // by real name
	ids   map[string]string // real names by any name
	queue []*node
	// next are the units that come after a unit if both are started, previous
	// those that come before it. Sorted.
	next, previous map[string][]string
	// ordered are the same while the graph is being built.
	ordered map[string]map[string]bool
}

// newGraph builds the graph of what is in the directories.
func newGraph(dirs []*dir) *graph {
	g := &graph{
		index: newIndex(dirs), nodes: make(map[string]*node), ids: make(map[string]string),
		next: make(map[string][]string), previous: make(map[string][]string), ordered: make(map[string]map[string]bool),
	}
	g.unit(defaultTarget)
	for _, name := range slices.Sorted(maps.Keys(g.index.files)) {
		if parseName(name).kind != template {
			g.unit(name)
		}
	}
	// What is loaded can name further units.
	for len(g.queue) > 0 {
		n := g.queue[0]
		g.queue = g.queue[1:]
		g.explicit(n)
		g.implicit(n)
	}
	for _, id := range slices.Sorted(maps.Keys(g.nodes)) {
		n := g.nodes[id]
		slices.Sort(n.requires)
		slices.Sort(n.wants)
		g.targetDefaults(n)
	}
	for _, id := range slices.Sorted(maps.Keys(g.ordered)) {
		g.next[id] = slices.Sorted(maps.Keys(g.ordered[id]))
		for _, next := range g.next[id] {
			g.previous[next] = append(g.previous[next], id)
		}
	}
	return g
}

// unit finds or loads a unit by any of its names.
func (g *graph) unit(name string) *node {
	if id, ok := g.ids[name]; ok {
		return g.nodes[id]
	}
	id, f := g.index.find(name)
	g.ids[name] = id
	if n, ok := g.nodes[id]; ok {
		return n
	}
	n := &node{id: id, name: parseName(id), file: f, settings: make(settings)}
	g.nodes[id], g.ids[id] = n, id
	switch {
	case f != nil:
		n.loaded = !f.masked && !f.broken
	case n.name.typ == "slice", n.name.typ == "device", id == rootMount:
		n.loaded = true // they need no file
	}
	if !n.loaded {
		return n
	}
	names := g.index.aliases(id, f)
	if f != nil {
		n.settings.merge(f.settings)
	}
	for _, d := range g.index.subs(names, ".d") {
		if !d.broken {
			n.dropins = append(n.dropins, d)
			n.settings.merge(d.settings)
		}
	}
	n.defaults = n.settings.is("Unit.DefaultDependencies", true) && !slices.Contains([]string{rootMount, "-.slice", "system.slice"}, id)
	g.queue = append(g.queue, n)
	return n
}

// before orders one unit before another. Devices come when they come.
func (g *graph) before(a, b *node) {
	if a == b || b.name.typ == "device" {
		return
	}
	if g.ordered[a.id] == nil {
		g.ordered[a.id] = make(map[string]bool)
	}
	g.ordered[a.id][b.id] = true
}

// named is the unit that another one names in its settings; nil if that is no name.
func (g *graph) named(n *node, word string) *node {
	name, ok := expand(word, n.id)
	if !ok {
		return nil
	}
	to := parseName(name)
	switch to.kind {
	case invalid:
		return nil
	case template: // stands for the instance like our own
		inst := n.name.instance
		if inst == "" {
			inst = n.name.prefix
		}
		name = to.instantiate(inst)
	}
	if _, known := g.ids[name]; !known && len(g.ids) >= maxUnits {
		return nil
	}
	return g.unit(name)
}

// explicit reads the dependencies that a unit's files and directories name.
func (g *graph) explicit(n *node) {
	each := func(key string, do func(*node)) {
		for _, line := range n.settings.list("Unit." + key) {
			for _, word := range strings.Fields(line) {
				if other := g.named(n, word); other != nil {
					do(other)
				}
			}
		}
	}
	each("After", func(o *node) { g.before(o, n) })
	each("Before", func(o *node) { g.before(n, o) })
	for _, key := range []string{"Requires", "BindsTo", "BindTo"} {
		each(key, n.require)
	}
	each("Requisite", func(o *node) {
		if o != n {
			n.requisite = append(n.requisite, o.id)
		}
	})
	each("Wants", n.want)
	each("Upholds", n.want)
	names := g.index.aliases(n.id, n.file)
	for _, suffix := range []string{".requires", ".wants", ".upholds"} {
		for _, f := range g.index.subs(names, suffix) {
			if other := g.named(n, f.unit()); other == nil {
				continue
			} else if suffix == ".requires" {
				n.require(other)
			} else {
				n.want(other)
			}
		}
	}
	for _, line := range n.settings.list("Unit.RequiresMountsFor") {
		g.mountsFor(n, n.require, strings.Fields(line)...)
	}
	for _, line := range n.settings.list("Unit.WantsMountsFor") {
		g.mountsFor(n, n.want, strings.Fields(line)...)
	}
}

func (n *node) require(o *node) {
	if o != n && !slices.Contains(n.requires, o.id) {
		n.requires = append(n.requires, o.id)
	}
}

func (n *node) want(o *node) {
	if o != n && !slices.Contains(n.wants, o.id) {
		n.wants = append(n.wants, o.id)
	}
}

// mountsFor orders a unit after the mount units that lead to a path.
func (g *graph) mountsFor(n *node, pull func(*node), paths ...string) {
	for _, p := range paths {
		p, ok := expand(p, n.id)
		if !ok || len(p) > 4096 {
			continue
		}
		for _, prefix := range prefixes(p) {
			m := g.unit(mountUnit(prefix))
			if m == n || !m.loaded {
				continue
			}
			g.before(m, n)
			if m.file != nil {
				pull(m)
			}
		}
	}
}

// targetDefaults orders a target after what it pulls in, unless it is before
// that already, or one of them does without default dependencies.
func (g *graph) targetDefaults(t *node) {
	if t.name.typ != "target" || !t.loaded || !t.defaults {
		return
	}
	for _, id := range t.pulled() {
		if o := g.nodes[id]; o.loaded && o.defaults && !g.ordered[t.id][o.id] {
			g.before(o, t)
		}
	}
}

// pulled are the units that are started along with a unit.
func (n *node) pulled() []string {
	all := slices.Concat(n.requires, n.wants, n.requisite)
	slices.Sort(all)
	return slices.Compact(all)
}

// listed says whether a list of the unit names another unit.
func (g *graph) listed(n *node, key string, match func(id string) bool) bool {
	for _, line := range n.settings.list("Unit." + key) {
		for _, word := range strings.Fields(line) {
			if o := g.named(n, word); o != nil && match(o.id) {
				return true
			}
		}
	}
	return false
}

// hasPrefix is for names of units.
func hasPrefix(prefix string) func(string) bool {
	return func(id string) bool { return strings.HasPrefix(id, prefix) }
}
