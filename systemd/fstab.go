package systemd

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/nm-cloud-seed/nm-cloud-seed/internal/rootfs"
)

const maxMounts = 1024

// fstab stands for systemd-fstab-generator(8): the units it makes of /etc/fstab
// and what pulls them in.
func (r *reader) fstab(into *dir) {
	name, err := r.links.Resolve("etc/fstab")
	var data []byte
	if err == nil {
		data, err = rootfs.Read(r.fsys, name, maxFileSize)
	}
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			r.notes.add("cannot read %s/etc/fstab: %s", r.root, rootfs.Reason(err))
		}
		return
	}
	mounts := 0
	for line := range strings.Lines(string(data)) {
		f := strings.Fields(line)
		if len(f) < 3 || f[0][0] == '#' {
			continue
		}
		if mounts++; mounts > maxMounts {
			r.notes.add("%s/etc/fstab has more than %d entries, the rest is not read", r.root, maxMounts)
			return
		}
		var options []string
		if len(f) > 3 {
			options = strings.Split(f[3], ",")
		}
		e := fstabEntry{what: unescapeFstab(f[0]), where: simplify(unescapeFstab(f[1])), fstype: f[2], options: options}
		switch {
		case e.fstype == "swap":
			e.swap(into)
		case !strings.HasPrefix(e.where, "/"), isAPI(e.where):
		default:
			if e.where == "/" {
				e.options = slices.DeleteFunc(e.options, isIgnoredForRoot)
			}
			e.mount(into)
		}
	}
}

var fstabEscapes = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)

func unescapeFstab(s string) string { return fstabEscapes.Replace(s) }

// simplify removes what makes no difference in a path: empty parts and "." (path_simplify
// in systemd's src/basic/path-util.c). Unlike path.Clean it leaves "..".
func simplify(where string) string {
	if !strings.HasPrefix(where, "/") {
		return where
	}
	parts := slices.DeleteFunc(strings.Split(where, "/"), func(part string) bool { return part == "" || part == "." })
	return "/" + strings.Join(parts, "/")
}

// isAPI reports whether systemd mounts a file system itself, so that its generator
// ignores the line (mount_point_is_api and mount_point_ignore in src/shared/mount-setup.c).
func isAPI(where string) bool {
	return slices.Contains([]string{
		"/proc", "/sys", "/dev", "/run", "/run/lock", "/dev/shm", "/dev/pts", "/dev/console", "/sys/kernel/security", "/sys/fs/smackfs",
		"/sys/fs/cgroup", "/sys/fs/pstore", "/sys/firmware/efi/efivars", "/sys/fs/bpf", "/sys/fs/selinux", "/selinux", "/proc/kmsg", "/proc/sys",
	}, where) || strings.HasPrefix(where, "/sys/fs/cgroup/")
}

// isIgnoredForRoot reports whether an option has no effect on the root file system, which
// is always mounted (add_mount in src/fstab-generator/fstab-generator.c).
func isIgnoredForRoot(option string) bool {
	name, _, _ := strings.Cut(option, "=")
	return slices.Contains([]string{"noauto", "nofail", "x-systemd.automount", "x-systemd.wanted-by", "x-systemd.required-by"}, name)
}

type fstabEntry struct {
	what, where, fstype string
	options             []string
}

func (e fstabEntry) has(option string) bool { return slices.Contains(e.options, option) }

// values are those of an option that may come more than once.
func (e fstabEntry) values(option string) []string {
	var all []string
	for _, o := range e.options {
		if value, ok := strings.CutPrefix(o, option+"="); ok {
			all = append(all, value)
		}
	}
	return all
}

func (e fstabEntry) swap(into *dir) {
	if !strings.HasPrefix(e.what, "/") { // by label or such: nobody can name it
		return
	}
	name := strings.TrimSuffix(mountUnit(e.what), "mount") + "swap"
	e.write(into, name, "[Unit]\n"+e.dependencies()+"[Swap]\nWhat="+inUnit(e.what)+"\n", "swap.target", e.has("noauto"))
}

func (e fstabEntry) mount(into *dir) {
	target := "local-fs.target"
	if isNetwork(e.fstype, e.options) {
		target = "remote-fs.target"
	}
	name := mountUnit(e.where)
	if parseName(name).kind == invalid {
		return
	}
	unit := "[Unit]\n" + e.dependencies()
	if !e.has("nofail") {
		unit += "Before=" + target + "\n"
	}
	unit += fmt.Sprintf("[Mount]\nWhat=%s\nWhere=%s\nType=%s\nOptions=%s\n",
		inUnit(e.what), inUnit(e.where), inUnit(e.fstype), inUnit(strings.Join(e.options, ",")))
	if !e.has("x-systemd.automount") {
		e.write(into, name, unit, target, e.has("noauto"))
		return
	}
	into.put(name, fileOf(unit))
	e.write(into, strings.TrimSuffix(name, "mount")+"automount", "[Automount]\nWhere="+inUnit(e.where)+"\n", target, false)
}

// dependencies are those that the options name.
func (e fstabEntry) dependencies() string {
	var b strings.Builder
	for _, key := range []string{"After", "Before", "Requires"} {
		for _, value := range e.values("x-systemd." + strings.ToLower(key)) {
			other := dependencyName(value)
			if key == "Requires" {
				b.WriteString("After=" + other + "\n")
			}
			b.WriteString(key + "=" + other + "\n")
		}
	}
	for _, value := range e.values("x-systemd.requires-mounts-for") {
		b.WriteString("RequiresMountsFor=" + inUnit(value) + "\n")
	}
	return b.String()
}

// write makes a unit and has its target, or what the options name, pull it in.
func (e fstabEntry) write(into *dir, name, text, target string, noauto bool) {
	into.put(name, fileOf(text))
	wanted, required := e.values("x-systemd.wanted-by"), e.values("x-systemd.required-by")
	switch {
	case len(wanted)+len(required) > 0, noauto:
	case e.has("nofail"):
		wanted = []string{target}
	default:
		required = []string{target}
	}
	for _, by := range wanted {
		into.put(dependencyName(by)+".wants/"+name, new(file))
	}
	for _, by := range required {
		into.put(dependencyName(by)+".requires/"+name, new(file))
	}
}

// dependencyName is a unit's name, or that of a path's mount unit.
func dependencyName(value string) string {
	switch {
	case strings.HasPrefix(value, "/dev/"):
		return strings.TrimSuffix(mountUnit(value), "mount") + "device"
	case strings.HasPrefix(value, "/"):
		return mountUnit(value)
	case parseName(value).kind == invalid && !strings.ContainsAny(value, "/\n"):
		return value + ".mount"
	}
	return strings.ReplaceAll(value, "/", "-")
}

// inUnit quotes text for a unit file.
func inUnit(s string) string {
	return strings.NewReplacer("%", "%%", "\n", " ", `\`, `\\`).Replace(s)
}
