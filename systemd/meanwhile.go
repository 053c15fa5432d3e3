package systemd

import (
	"maps"
	"slices"
	"strings"
)

// Where the distribution has cloud-init before sysinit.target, nothing answers
// while its network stage runs, and who asks is refused at once. Behind it,
// sockets accept for services that wait for the stage: if the stage itself asks,
// in a bootcmd say, both wait forever.

// afterStages is what comes after a network stage.
func (u *Units) afterStages() map[string]bool {
	after := make(map[string]bool)
	for _, id := range u.NetworkStages() {
		maps.Copy(after, u.graph.descendants(id))
	}
	return after
}

// askable are the sockets that are there before the network stage is done, for
// services that are not.
func (u *Units) askable() []string {
	after := u.afterStages()
	var all []string
	for _, id := range slices.Sorted(maps.Keys(u.boot)) {
		n := u.graph.nodes[id]
		waits := slices.ContainsFunc(n.triggered, func(id string) bool { return after[id] })
		if n.name.typ == "socket" && n.defaults && waits && !after[id] && !strings.HasPrefix(id, "cloud-") {
			all = append(all, id)
		}
	}
	return all
}

// lateSockets take sockets out of sockets.target's way, which is before the
// network stage, so that they can be held: by a drop-in, or by a copy where a
// socket says so itself, as ssh.socket does.
func (u *Units) lateSockets(ids []string) []File {
	var all []File
	for _, id := range ids {
		n := u.graph.nodes[id]
		d := dropin(n, "Requires=sysinit.target", "After=sysinit.target", "Before=shutdown.target")
		all = append(all, d)
		if text := without(n.file.text, func(word string) bool { return word == "sockets.target" }); text != n.file.text {
			all = append(all, File{
				Early: !belowUsr(n.file.path), Name: id,
				Text: "# Made by nm-cloud-seed-generator(8) from " + n.file.path + ":\n# not before sockets.target.\n" + text,
			})
		}
	}
	return all
}

// holdSockets decides on the hold list with the sockets that can be held: one
// that cannot is back before sockets.target, with those before it.
func (u *Units) holdSockets(bare Plan, sockets []string) (h hold, extra []File) {
	held := sockets
	for {
		extra = u.lateSockets(held)
		h = u.With(bare.with(extra...)).hold(held, sockets)
		now := intersection(held, h.held)
		if len(now) == len(held) {
			return h, extra
		}
		held = now
	}
}

func intersection(a, b []string) []string {
	return slices.DeleteFunc(slices.Clone(a), func(s string) bool { return !slices.Contains(b, s) })
}
