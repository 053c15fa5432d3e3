package systemd

import (
	"maps"
	"path"
	"slices"
	"strings"
)

// Where the distribution has cloud-init before sysinit.target, nothing answers
// while its network stage runs, and who asks is refused at once. Behind it,
// sockets accept and logind acts, for services that wait for the stage: if the
// stage itself asks, in a bootcmd say, both wait forever.

// logins are what logind starts for a login such as su's, and waits for.
var logins = []string{"user-runtime-dir@0.service", "user@0.service"}

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
// network stage, so that they can be held.
func (u *Units) lateSockets(ids []string) []File {
	var all []File
	for _, id := range ids {
		all = append(all, dropin(u.graph.nodes[id], "Requires=sysinit.target", "After=sysinit.target", "Before=shutdown.target"))
	}
	return all
}

func intersection(a, b []string) []string {
	return slices.DeleteFunc(slices.Clone(a), func(s string) bool { return !slices.Contains(b, s) })
}

// freeLogins are copies of the units of a login that do not wait for anything
// that waits for the network stage: systemd-user-sessions.service, with systemd
// before 252.
func (u *Units) freeLogins() []File {
	after := u.afterStages()
	var all []File
	for _, name := range logins {
		n := u.unit(name)
		if n == nil || n.file == nil || !after[n.id] {
			continue
		}
		text := without(n.file.text, "After", func(word string) bool {
			o := u.graph.named(n, word)
			return o != nil && after[o.id] && !slices.Contains(logins, o.id)
		})
		if text != n.file.text {
			all = append(all, File{
				Early: !belowUsr(n.file.path), Name: path.Base(n.file.path),
				Text: "# Made by nm-cloud-seed-generator(8) from " + n.file.path + ":\n# without what waits for cloud-init's network stage.\n" + text,
			})
		}
	}
	return all
}
