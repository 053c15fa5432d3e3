package systemd

import (
	"maps"
	"path"
	"slices"
	"strings"
)

// tooEarly are the units that the service has to wait for: what cloud-init's
// network stage, which waits for the service, cannot be before.
func (u *Units) tooEarly() map[string]bool {
	stages := set(u.NetworkStages())
	return reach([]string{u.unit(Service).id}, func(id string) []string {
		if stages[id] { // as it is installed, the stage is before them all
			return nil
		}
		return u.graph.previous[id]
	})
}

// needsChange says whether a network stage is ordered before what it has to wait for.
func (u *Units) needsChange() bool {
	early := u.tooEarly()
	return slices.ContainsFunc(u.stages(), func(s *node) bool { return u.isTooEarly(s, early) })
}

func (u *Units) isTooEarly(stage *node, early map[string]bool) bool {
	return u.graph.listed(stage, "Before", func(id string) bool { return early[id] })
}

// copies are the network stages without what makes them too early, and with
// what they have to wait for. Before= cannot be taken away by a drop-in.
func (u *Units) copies(before []string) []File {
	early := u.tooEarly()
	var all []File
	for _, stage := range u.stages() {
		if !u.isTooEarly(stage, early) {
			continue
		}
		drop := func(word string) bool {
			n := u.graph.named(stage, word)
			return n != nil && early[n.id]
		}
		source := stage.file.path
		var b strings.Builder
		b.WriteString("# Made by nm-cloud-seed-generator(8) from " + source + ":\n# moved behind NetworkManager. What was changed is at the end.\n")
		b.WriteString(strings.TrimRight(without(stage.file.text, drop), "\n"))
		b.WriteString("\n\n[Unit]\nSourcePath=" + strings.ReplaceAll(source, "%", "%%") + "\n")
		b.WriteString("Wants=" + Service + "\nAfter=dbus.socket " + networkManager + " " + Service + "\n")
		for _, name := range before {
			b.WriteString("Before=" + name + "\n")
		}
		all = append(all, File{Early: !belowUsr(source), Name: stage.id, Text: b.String()})
		for _, d := range stage.dropins {
			if text := without(d.text, drop); text != d.text {
				name := stage.id + ".d/" + path.Base(d.path)
				text = "# Made by nm-cloud-seed-generator(8) from " + d.path + ":\n# without what cloud-init cannot be before.\n" + text
				all = append(all, File{Early: true, Name: name, Text: text})
			}
		}
	}
	return all
}

// belowUsr says whether a file in the normal directory has precedence.
func belowUsr(file string) bool {
	return strings.HasPrefix(file, "/usr/") || strings.HasPrefix(file, "/lib/")
}

// without is a unit file without some of the units in its Before= lists. All
// other lines stay as they are, byte for byte.
func without(text string, drop func(word string) bool) string {
	lines := slices.Collect(strings.Lines(text))
	section := ""
	for _, l := range logicalLines(text) {
		if l.text[0] == '[' {
			section = l.text
			continue
		}
		name, value, _ := strings.Cut(l.text, "=")
		if section != "[Unit]" || strings.TrimSpace(name) != "Before" {
			continue
		}
		kept := slices.DeleteFunc(strings.Fields(value), drop)
		if len(kept) == len(strings.Fields(value)) {
			continue
		}
		for i := l.first; i < l.next; i++ {
			if line := strings.TrimSpace(lines[i]); line == "" || line[0] != '#' && line[0] != ';' {
				lines[i] = ""
			}
		}
		if len(kept) > 0 {
			line := "Before=" + strings.Join(kept, " ")
			if escaped(line) {
				line += " " // or it would continue here
			}
			lines[l.next-1] = line + "\n"
		}
	}
	return strings.Join(lines, "")
}

// hotplug takes the default dependencies from cloud-init's socket for hotplug
// events, where these put it before the network stage that it is after: up to
// cloud-init 24.3.1.
func (u *Units) hotplug() []File {
	n := u.unit(hotplugSocket)
	if n == nil || !n.defaults || !slices.ContainsFunc(u.stages(), func(s *node) bool { return u.graph.descendants(s.id)[n.id] }) {
		return nil
	}
	return []File{dropin(n, "Before=shutdown.target")}
}

const dropinName = "nm-cloud-seed.conf"

// dropin takes the default dependencies from a unit, but for those of shutdown.
func dropin(n *node, lines ...string) File {
	text := "# Made by nm-cloud-seed-generator(8).\n[Unit]\nDefaultDependencies=no\nConflicts=shutdown.target\n" + strings.Join(lines, "\n") + "\n"
	return File{Name: n.id + ".d/" + dropinName, Text: text}
}

// early plans the order Early on units that have our links already.
func (u *Units) early(p Plan) Plan {
	p.Ordering = Early
	p = p.with(File{Name: Service + ".d/" + dropinName, Text: "# Made by nm-cloud-seed-generator(8).\n[Unit]\nBefore=sysinit.target\n"})
	for _, id := range slices.Sorted(maps.Keys(u.earlyUnits())) {
		n := u.graph.nodes[id]
		switch {
		case !n.defaults: // early enough
		case n.name.typ == "socket":
			p = p.with(dropin(n, "Before=sockets.target shutdown.target"))
		case strings.HasPrefix(id, "dbus"):
			p = p.with(dropin(n, "After=systemd-remount-fs.service systemd-sysusers.service", "Before=shutdown.target"))
		case id == networkManager:
			p = p.with(dropin(n, "After=systemd-remount-fs.service systemd-udevd.service", "Before=shutdown.target"))
		default:
			p = p.with(dropin(n, "After=systemd-remount-fs.service", "Before=shutdown.target"))
		}
	}
	if u.Installed(logind) {
		// Of a session, see settings.go; no unit waits for these at boot.
		for _, template := range []string{"user-runtime-dir@.service", "user@.service"} {
			p = p.with(dropin(&node{id: template}, "Before=shutdown.target"))
		}
	}
	return p
}

// earlyUnits are D-Bus, NetworkManager, whom it calls, and what is to be before
// it; and logind, which whoever calls su(1) asks once there is D-Bus.
func (u *Units) earlyUnits() map[string]bool {
	all := make(map[string]bool)
	for _, name := range []string{
		"dbus.socket", "systemd-hostnamed.socket", "dbus.service", "dbus-broker.service", networkManager,
		"NetworkManager-dispatcher.service", "systemd-hostnamed.service", "polkit.service", logind,
	} {
		if n := u.unit(name); n != nil {
			all[n.id] = true
		}
	}
	before := []string{"network-pre.target", networkManager}
	for id := range u.boot {
		n := u.graph.nodes[id]
		if n.name.typ == "service" && u.graph.listed(n, "Before", func(id string) bool { return slices.Contains(before, id) }) {
			all[id] = true
		}
	}
	return all
}
