package systemd

import (
	"maps"
	"slices"
	"strings"
)

// hold is what follows cloud-init's network stage where the distribution has it
// before sysinit.target: there, everything that is not early does.
type hold struct {
	before  []string // what the stage is put before
	held    []string
	leftOut []LeftOut
	stuck   []string // warnings of sockets whose service cannot answer
}

// always is what the stage is put before, with all that waits for it in turn.
// ssh.service is not enabled where its socket starts it.
var always = []string{"multi-user.target", "network.target", "ssh.service"}

// userLookup is what logind waits for: with D-Bus up and logind held, loginctl
// and su in bootcmd stall for 25 s and fail.
const userLookup = "nss-user-lookup.target"

// hold decides who is held, on units whose network stage has been moved. Who
// is ordered before the stage cannot be: these two together would be a cycle.
// Not only among what is started at boot: D-Bus and sockets start more.
//
// The sockets to hold are among those that accept for a service that may wait.
func (u *Units) hold(sockets, askable []string) hold {
	g := u.graph
	stages := u.NetworkStages()
	needed, ancestors, after := u.tooEarly(), g.ancestors(stages...), u.afterStages()
	var h hold
	for _, name := range always {
		n := u.unit(name)
		switch {
		case n == nil:
		case ancestors[n.id]:
			h.leave(n.id, "would close a cycle", u.through(n.id))
		default:
			h.before = append(h.before, n.id)
			maps.Copy(after, g.descendants(n.id))
		}
	}
	bus := u.busWaits(after)
	for _, id := range append(u.candidates(), sockets...) {
		n := g.nodes[id]
		direct := slices.ContainsFunc(stages, func(stage string) bool { return slices.Contains(g.next[id], stage) })
		switch {
		case slices.Contains(h.before, id), u.isHeld(id): // already
		case needed[id]:
			h.leave(id, Service+" waits for it", nil)
		case !n.defaults && n.name.typ != "socket":
			h.leave(id, "has DefaultDependencies=no", nil)
		case g.listed(n, "Before", hasPrefix("cloud-")):
			h.leave(id, "is before cloud-init", nil)
		case direct:
			h.leave(id, "cloud-init waits for it", nil)
		case bus[id] != "":
			h.leave(id, bus[id], nil)
		case ancestors[id]:
			h.leave(id, "would close a cycle", u.through(id))
		default:
			h.held = append(h.held, id)
		}
	}
	for _, id := range askable {
		if !slices.Contains(h.held, id) {
			h.askable(g.nodes[id], after)
		}
	}
	h.before = append(h.before, h.held...)
	return h
}

// askable leaves out what a socket starts that cannot be held itself. What comes
// after the stage anyway cannot be helped.
func (h *hold) askable(socket *node, after map[string]bool) {
	for _, id := range socket.triggered {
		if after[id] || slices.Contains(h.before, id) {
			h.stuck = append(h.stuck, socket.id+" accepts while "+id+" waits for cloud-init's network stage: do not ask it in a bootcmd")
		}
	}
	h.held = slices.DeleteFunc(h.held, func(id string) bool {
		asked := slices.Contains(socket.triggered, id)
		if asked {
			h.leave(id, socket.id+" may start it meanwhile", nil)
		}
		return asked
	})
}

// isHeld says whether the network stages are before a unit as it is.
func (u *Units) isHeld(id string) bool {
	return !slices.ContainsFunc(u.NetworkStages(), func(stage string) bool { return !slices.Contains(u.graph.next[stage], id) })
}

func (h *hold) leave(unit, reason string, through []string) {
	h.leftOut = append(h.leftOut, LeftOut{unit, reason, through})
}

// through is how a unit comes to be before the network stage.
func (u *Units) through(id string) []string {
	var shortest []string
	for _, stage := range u.NetworkStages() {
		if p := u.graph.path(id, stage, nil); p != nil && (shortest == nil || len(p) < len(shortest)) {
			shortest = p
		}
	}
	return shortest
}

// candidates are the services and timers that are enabled: pulled in by the
// targets that make up default.target, from multi-user.target up. What is below
// is early, and cloud-init's own targets have their order.
func (u *Units) candidates() []string {
	g := u.graph
	var top []string
	for _, name := range []string{defaultTarget, "timers.target"} {
		if u.Started(name) {
			top = append(top, u.unit(name).id)
		}
	}
	targets := reach(top, func(id string) []string {
		var all []string
		for _, next := range g.nodes[id].pulled() {
			if strings.HasSuffix(next, ".target") && u.boot[next] && !slices.Contains([]string{"basic.target", "sysinit.target"}, next) && !strings.HasPrefix(next, "cloud-") {
				all = append(all, next)
			}
		}
		return all
	})
	found := make(map[string]bool)
	for id := range targets {
		for _, next := range g.nodes[id].pulled() {
			n := g.nodes[next]
			if u.boot[next] && n.canWait() {
				found[next] = true
			}
		}
	}
	for id, n := range g.nodes {
		// What a path starts; and on a first boot, what systemd enables by its
		// presets after the generators (machine-id(5)), as far as one can tell.
		if n.name.typ == "path" && u.boot[id] {
			for _, next := range n.triggered {
				if g.nodes[next].canWait() {
					found[next] = true
				}
			}
		}
		if u.firstBoot && n.canWait() && slices.ContainsFunc(n.wantedBy(), func(t string) bool { return targets[t] }) {
			found[id] = true
		}
	}
	return slices.Sorted(maps.Keys(found))
}

// canWait says whether a unit is of a kind that is held.
func (n *node) canWait() bool {
	return n.loaded && (n.name.typ == "service" || n.name.typ == "timer") &&
		!strings.HasPrefix(n.id, "nm-cloud-seed") && !strings.HasPrefix(n.id, "cloud-")
}

// wantedBy is who starts a unit once it is enabled.
func (n *node) wantedBy() []string {
	return strings.Fields(strings.Join(append(n.settings.list("Install.WantedBy"), n.settings.list("Install.RequiredBy")...), " "))
}

// busWaits are the units that D-Bus may start while the stage runs, and those
// they wait for, with the reason: held, they would stall whoever calls them.
// What comes after the stage cannot be started while it runs anyway.
func (u *Units) busWaits(after map[string]bool) map[string]string {
	g := u.graph
	reasons := make(map[string]string)
	wait := func(of, reason string) { // whoever waits for it has a reason, too
		reach([]string{of}, func(id string) []string {
			return slices.DeleteFunc(slices.Clone(g.previous[id]), func(previous string) bool {
				known := reasons[previous] != ""
				if !known {
					reasons[previous] = reason
				}
				return known
			})
		})
	}
	for _, id := range slices.Sorted(maps.Keys(g.nodes)) {
		n := g.nodes[id]
		if n.loaded && !after[id] && (n.settings.last("Service.BusName") != "" || n.settings.last("Service.Type") == "dbus") {
			wait(id, "D-Bus may start "+id+", which waits for it")
			reasons[id] = "D-Bus may start it meanwhile"
		}
	}
	if n := u.unit(userLookup); n != nil && !after[n.id] {
		wait(n.id, "is before "+userLookup)
	}
	return reasons
}
