package systemd

import (
	"path"
	"slices"
	"strings"

	"github.com/coreos/go-systemd/v22/unit"
)

// execution adds what the settings of systemd.exec(5) imply.
func (g *graph) execution(n *node, section string) {
	s := n.settings
	get := func(key string) string { return s.last(section + "." + key) }
	g.inSlice(n, section)
	for _, dir := range []string{get("WorkingDirectory"), get("RootDirectory"), get("RootImage")} {
		if dir, optional := strings.CutPrefix(dir, "-"); optional { // since systemd 256
			g.mountsFor(n, n.want, dir)
		} else {
			g.mountsFor(n, n.require, dir)
		}
	}
	writes := false
	for key, parent := range map[string]string{
		"RuntimeDirectory": "/run", "StateDirectory": "/var/lib", "CacheDirectory": "/var/cache", "LogsDirectory": "/var/log", "ConfigurationDirectory": "/etc",
	} {
		for _, line := range s.list(section + "." + key) {
			for _, dir := range strings.Fields(line) {
				dir, _, _ = strings.Cut(dir, ":") // dir:link
				g.mountsFor(n, n.require, path.Join(parent, dir))
				writes = writes || key == "StateDirectory" || key == "CacheDirectory" || key == "LogsDirectory"
			}
		}
	}
	if writes {
		g.after(n, "systemd-remount-fs.service")
	}
	if tmp := get("PrivateTmp"); s.is(section+".PrivateTmp", tmp == "disconnected") || s.is(section+".DynamicUser", false) {
		mount := g.unit("tmp.mount") // only wanted, so that it can be masked
		n.want(mount)
		g.before(mount, n)
		g.mountsFor(n, n.require, "/var/tmp")
		g.after(n, "systemd-tmpfiles-setup.service")
	}
	if get("RootImage") != "" {
		g.after(n, "systemd-udevd.service")
	}
	g.logging(n, section)
}

// logging: who logs to the journal comes after its socket.
func (g *graph) logging(n *node, section string) {
	if ns := n.settings.last(section + ".LogNamespace"); ns != "" {
		for _, name := range []string{"systemd-journald@" + unit.UnitNameEscape(ns) + ".socket", "systemd-journald-varlink@" + unit.UnitNameEscape(ns) + ".socket"} {
			if o := g.named(n, name); o != nil {
				n.require(o)
				g.before(o, n)
			}
		}
		return
	}
	out, err := n.settings.last(section+".StandardOutput"), n.settings.last(section+".StandardError")
	if out == "" || out == "inherit" {
		out = "journal" // unless the input goes both ways
		if in := n.settings.last(section + ".StandardInput"); strings.HasPrefix(in, "tty") || in == "socket" || strings.HasPrefix(in, "fd") {
			out = ""
		}
	}
	journals := []string{"journal", "journal+console", "kmsg", "kmsg+console", "syslog", "syslog+console"}
	if slices.Contains(journals, out) || slices.Contains(journals, err) {
		g.after(n, "systemd-journald.socket")
	}
}

// inSlice puts a unit into its slice.
func (g *graph) inSlice(n *node, section string) {
	slice, ok := expand(n.settings.last(section+".Slice"), n.id)
	if slice == "" || !ok {
		switch slice = "system.slice"; {
		case n.name.kind == instance:
			slice = "system-" + unit.UnitNameEscape(n.name.prefix) + ".slice"
		case isExtrinsic(n.settings.last("Mount.Where")):
			slice = "-.slice"
		}
	}
	g.slice(n, slice)
}

func (g *graph) slice(n *node, name string) {
	if o := g.named(n, name); o != nil && o != n && o.name.typ == "slice" {
		n.require(o)
		g.before(o, n)
	}
}

// parentSlice: a-b.slice is within a.slice, which is within -.slice.
func parentSlice(prefix string) string {
	if prefix == "-" {
		return ""
	}
	if dash := strings.LastIndexByte(prefix, '-'); dash > 0 {
		return prefix[:dash] + ".slice"
	}
	return "-.slice"
}

// isNetwork says whether a file system is reached over the network.
func isNetwork(fstype string, options []string) bool {
	return slices.Contains(options, "_netdev") || slices.Contains([]string{
		"afs", "ceph", "cifs", "gfs", "gfs2", "glusterfs", "lustre", "ncpfs", "ncp", "nfs", "nfs4", "ocfs2", "orangefs", "pvfs2", "smb3", "smbfs", "davfs",
		"fuse.glusterfs", "fuse.sshfs", "fuse.ceph", "fuse.davfs",
	}, fstype)
}

func isBind(fstype string, options []string) bool {
	return fstype == "bind" || slices.ContainsFunc(options, func(o string) bool { return o == "bind" || o == "rbind" || o == "loop" })
}
