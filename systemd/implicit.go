package systemd

import (
	"slices"
	"strings"

	"github.com/coreos/go-systemd/v22/unit"
)

// implicit adds the dependencies that systemd adds by itself: "Automatic
// dependencies" in systemd.unit(5), .service(5), .socket(5), and so on.
func (g *graph) implicit(n *node) {
	if n.id == rootMount { // not even logging (mount_load_root_mount in src/core/mount.c)
		return
	}
	switch n.name.typ {
	case "service":
		g.service(n)
	case "socket":
		g.socket(n)
	case "timer":
		g.timer(n)
	case "path":
		g.pathUnit(n)
	case "mount":
		g.mount(n)
	case "automount":
		g.automount(n)
	case "swap":
		g.execution(n, "Swap")
		if n.defaults {
			g.before(n, g.unit("swap.target"))
		}
	case "slice":
		g.slice(n, parentSlice(n.name.prefix))
	}
	if n.defaults {
		g.stopping(n)
	}
}

// stopping orders a unit before what stops it.
func (g *graph) stopping(n *node) {
	switch n.name.typ {
	case "device":
	case "mount", "automount", "swap":
		if !isExtrinsic(n.settings.last("Mount.Where")) {
			g.before(n, g.unit("umount.target"))
		}
	default: // but for shutdown.target itself
		g.before(n, g.unit("shutdown.target"))
	}
}

// after is a dependency of a unit on one that it only names.
func (g *graph) after(n *node, names ...string) {
	for _, name := range names {
		g.before(g.unit(name), n)
	}
}

// afterSysinit is what everything but early units waits for.
func (g *graph) afterSysinit(n *node) {
	sysinit := g.unit("sysinit.target")
	g.before(sysinit, n)
	n.require(sysinit)
}

func (g *graph) service(n *node) {
	s := n.settings
	if n.defaults {
		g.afterSysinit(n)
		g.after(n, "basic.target")
	}
	if typ := s.last("Service.Type"); (typ == "dbus" || typ == "") && s.last("Service.BusName") != "" {
		bus := g.unit("dbus.socket")
		n.require(bus)
		g.before(bus, n)
	}
	for _, line := range s.list("Service.Sockets") {
		for _, word := range strings.Fields(line) {
			if o := g.named(n, word); o != nil && o.name.typ == "socket" {
				n.want(o)
				g.before(o, n)
			}
		}
	}
	g.execution(n, "Service")
}

func (g *graph) socket(n *node) {
	s := n.settings
	if n.defaults {
		g.before(n, g.unit("sockets.target"))
		g.afterSysinit(n)
	}
	if !s.is("Socket.Accept", false) {
		g.triggers(n, s.last("Socket.Service"))
	}
	for _, key := range []string{"ListenStream", "ListenDatagram", "ListenSequentialPacket", "ListenFIFO", "ListenSpecial"} {
		for _, address := range s.list("Socket." + key) {
			g.mountsFor(n, n.require, address)
		}
	}
	if dev := s.last("Socket.BindToDevice"); dev != "" && dev != "lo" {
		if d := g.named(n, "sys-subsystem-net-devices-"+unit.UnitNameEscape(dev)+".device"); d != nil {
			n.require(d)
			g.before(d, n)
		}
	}
	hasExec := slices.ContainsFunc([]string{"ExecStartPre", "ExecStartPost", "ExecStopPre", "ExecStopPost"}, func(key string) bool {
		return len(s.list("Socket."+key)) > 0
	})
	if hasExec {
		g.execution(n, "Socket")
	} else {
		g.inSlice(n, "Socket")
	}
}

func (g *graph) timer(n *node) {
	s := n.settings
	if n.defaults {
		g.before(n, g.unit("timers.target"))
		g.afterSysinit(n)
		if len(s.list("Timer.OnCalendar")) > 0 {
			g.after(n, "time-sync.target", "time-set.target")
		}
	}
	if s.is("Timer.Persistent", false) {
		g.mountsFor(n, n.require, "/var/lib/systemd/timers")
	}
	g.triggers(n, s.last("Timer.Unit"))
}

func (g *graph) pathUnit(n *node) {
	if n.defaults {
		g.before(n, g.unit("paths.target"))
		g.afterSysinit(n)
	}
	for _, key := range relevant["Path"][1:] {
		g.mountsFor(n, n.require, n.settings.list("Path."+key)...)
	}
	g.triggers(n, n.settings.last("Path.Unit"))
}

// triggers orders a unit before the one it starts: by default, its namesake service.
func (g *graph) triggers(n *node, what string) {
	if what == "" {
		what = strings.TrimSuffix(n.id, n.name.typ) + "service"
	}
	if o := g.named(n, what); o != nil {
		n.triggered = append(n.triggered, o.id)
		g.before(n, o)
	}
}

func (g *graph) mount(n *node) {
	s := n.settings
	where, options, fstype := s.last("Mount.Where"), strings.Split(s.last("Mount.Options"), ","), s.last("Mount.Type")
	g.execution(n, "Mount")
	if where != "" && where != "/" {
		g.mountsFor(n, n.require, prefixes(where)[1:]...)
	}
	if what := s.last("Mount.What"); strings.HasPrefix(what, "/") && !isNetwork(fstype, options) && isBind(fstype, options) {
		g.mountsFor(n, n.require, what)
	}
	if !n.defaults || isExtrinsic(where) {
		return
	}
	target, pre := "local-fs.target", "local-fs-pre.target"
	if isNetwork(fstype, options) {
		target, pre = "remote-fs.target", "remote-fs-pre.target"
		online := g.unit("network-online.target")
		n.want(online)
		g.before(online, n)
		g.after(n, "network.target")
	}
	if !slices.Contains(options, "nofail") {
		g.before(n, g.unit(target))
	}
	g.after(n, pre)
	if fstype == "tmpfs" {
		g.after(n, "swap.target")
	}
}

// isExtrinsic says whether a file system is there before and after everything.
func isExtrinsic(where string) bool {
	return slices.Contains([]string{"/", "/usr", "/etc"}, where) || slices.ContainsFunc(
		[]string{"/dev", "/proc", "/sys", "/run/initramfs", "/run/nextroot"},
		func(dir string) bool { return where == dir || strings.HasPrefix(where, dir+"/") })
}

func (g *graph) automount(n *node) {
	if where := n.settings.last("Automount.Where"); where != "" {
		g.mountsFor(n, n.require, prefixes(where)[1:]...)
	}
	if n.defaults {
		g.before(n, g.unit("local-fs.target"))
		g.after(n, "local-fs-pre.target")
	}
	g.triggers(n, strings.TrimSuffix(n.id, "automount")+"mount")
}
