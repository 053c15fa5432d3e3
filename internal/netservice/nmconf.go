package netservice

import (
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Value is one of a key's values in NetworkManager's configuration.
type Value struct{ Text, File string }

// nmConfDirs are the directories of NetworkManager's configuration. A file hides those
// of the same name in the directories before it.
var nmConfDirs = []string{"usr/lib/NetworkManager/conf.d", "run/NetworkManager/conf.d", "etc/NetworkManager/conf.d"}

// NMConf returns NetworkManager.conf(5), by "[section]key". Later files override
// earlier ones, but "+=" and "-=" change the list; those in /etc come last.
func (f Files) NMConf() map[string][]Value {
	plan := f.Netplan()
	var before, after []string
	for _, file := range f.layered("*.conf", nmConfDirs...) {
		if strings.HasPrefix(file, "etc/") {
			after = append(after, file)
		} else if !f.netplanHides(plan, file) {
			before = append(before, file)
		}
	}
	conf := make(map[string][]Value)
	for _, file := range slices.Concat(before, []string{"etc/NetworkManager/NetworkManager.conf"}, after) {
		section := ""
		for line := range strings.Lines(f.read(file)) {
			line = strings.TrimSpace(line)
			if strings.HasPrefix(line, "[") {
				section = line
			}
			key, text, _ := strings.Cut(line, "=")
			key = section + strings.TrimSpace(key)
			var values []Value
			for value := range strings.FieldsFuncSeq(text, func(r rune) bool { return strings.ContainsRune(",; \t", r) }) {
				values = append(values, Value{value, file})
			}
			if added, is := strings.CutSuffix(key, "+"); is {
				conf[added] = append(conf[added], values...)
			} else if removed, is := strings.CutSuffix(key, "-"); is {
				conf[removed] = slices.DeleteFunc(conf[removed], func(v Value) bool {
					return slices.ContainsFunc(values, func(r Value) bool { return r.Text == v.Text })
				})
			} else {
				conf[key] = values
			}
		}
	}
	return conf
}

// netplanHides reports whether netplan makes a file of the same name in /run, as it
// does for the one by which Ubuntu has NetworkManager leave wired devices alone.
func (f Files) netplanHides(plan Netplan, file string) bool {
	return path.Base(file) == "10-globally-managed-devices.conf" && f.netplanInstalled() && plan.AnyNetworkManager
}

// Reach is how far the wired devices of a VM are among those that a device spec
// of NetworkManager.conf(5) means.
type Reach int

// The reaches, in their order.
const (
	None   Reach = iota
	Hardly       // devices with names that wired ones do not usually have
	Some         // wired devices, perhaps
	All
)

func reachOf(spec string) Reach {
	kind, name, qualified := strings.Cut(spec, ":")
	if !qualified {
		kind, name = "interface-name", spec
	}
	name = strings.TrimLeft(name, "~=")
	switch {
	case spec == "type:ethernet", kind == "interface-name" && name == "*":
		return All
	case kind == "type":
		return None
	case kind == "interface-name" && !strings.ContainsAny(name[:min(len(name), 1)], `e*?\`): // eth0, ens3, enX0
		return Hardly
	}
	return Some
}

// LeftAlone are devices that NetworkManager is told to leave alone.
type LeftAlone struct {
	Value
	Setting string
	Reach   Reach
}

// Reaches reports whether a device may be one of them: other specs than names are not
// looked into.
func (l LeftAlone) Reaches(device string) bool {
	name, _ := strings.CutPrefix(l.Text, "interface-name:")
	if l.Reach == All || strings.Contains(name, ":") {
		return true
	}
	matched, _ := path.Match(strings.TrimLeft(name, "~="), device)
	return matched
}

// leave returns those of a list. "except:" wins, and with nothing else in the list it
// means all others.
func leave(setting string, specs []Value) []LeftAlone {
	var devices []LeftAlone
	negative := len(specs) > 0
	for _, spec := range specs {
		except, is := strings.CutPrefix(spec.Text, "except:")
		if is && reachOf(except) == All {
			return nil
		}
		if !is {
			negative = false
			devices = append(devices, LeftAlone{spec, setting, reachOf(spec.Text)})
		}
	}
	if negative {
		devices = append(devices, LeftAlone{Value{"*", specs[0].File}, setting, All})
	}
	return slices.DeleteFunc(devices, func(d LeftAlone) bool { return d.Reach == None })
}

// LeftAlone returns the devices that NetworkManager's configuration has it leave
// alone. A section that takes some of them back ([device-x] managed=1) is not
// looked at: see managesSome.
func (f Files) LeftAlone() []LeftAlone {
	conf := f.NMConf()
	found := leave("unmanaged-devices", conf["[keyfile]unmanaged-devices"])
	for _, key := range slices.Sorted(maps.Keys(conf)) {
		section, is := strings.CutSuffix(key, "managed")
		managed := conf[key]
		if !is || !strings.HasPrefix(section, "[device") || len(managed) == 0 || !slices.Contains([]string{"false", "no", "0", "off"}, strings.ToLower(managed[0].Text)) {
			continue
		}
		specs, matched := conf[section+"match-device"]
		if !matched {
			specs = []Value{{"*", managed[0].File}}
		}
		found = append(found, leave(section, specs)...)
	}
	return found
}

// managesSome reports whether an exception may have NetworkManager manage a wired
// device although its configuration has it leave all of them alone.
func (f Files) managesSome() bool {
	conf := f.NMConf()
	for key, values := range conf {
		section, is := strings.CutSuffix(key, "managed")
		if is && strings.HasPrefix(section, "[device") && len(values) > 0 && isTrue(values[0].Text) {
			return true
		}
		if key != "[keyfile]unmanaged-devices" && !strings.HasSuffix(key, "match-device") {
			continue
		}
		for _, v := range values {
			if except, is := strings.CutPrefix(v.Text, "except:"); is && reachOf(except) > None {
				return true
			}
		}
	}
	return false
}

// notedAsManaged reports whether NetworkManager has noted in this boot that it manages
// the device with an index (nm-config.c).
func (f Files) notedAsManaged(index int) bool {
	managed := f.keyfile("run/NetworkManager/devices/" + strconv.Itoa(index))["[device]managed"]
	return index > 0 && len(managed) > 0 && isTrue(managed[0])
}
