package doctor

import (
	"maps"
	"path"
	"slices"
	"strings"
)

// reach is how far the wired devices of a VM are among those that a device spec
// of NetworkManager.conf(5) means.
type reach int

const (
	none   reach = iota
	hardly       // devices with names that wired ones do not usually have
	some         // wired devices, perhaps
	all
)

func reachOf(spec string) reach {
	kind, name, qualified := strings.Cut(spec, ":")
	if !qualified {
		kind, name = "interface-name", spec
	}
	name = strings.TrimLeft(name, "~=")
	switch {
	case spec == "type:ethernet", kind == "interface-name" && name == "*":
		return all
	case kind == "type":
		return none
	case kind == "interface-name" && !strings.ContainsAny(name[:min(len(name), 1)], `e*?\`): // eth0, ens3, enX0
		return hardly
	}
	return some
}

// leftAlone are devices that NetworkManager is told to leave alone.
type leftAlone struct {
	nmValue
	setting string
	reach   reach
}

// reaches says whether a device may be one of them: other specs than names are not
// looked into.
func (l leftAlone) reaches(device string) bool {
	name, _ := strings.CutPrefix(l.text, "interface-name:")
	if l.reach == all || strings.Contains(name, ":") {
		return true
	}
	matched, _ := path.Match(strings.TrimLeft(name, "~="), device)
	return matched
}

// leave are those of a list. "except:" wins, and with nothing else in the list it
// means all others.
func leave(setting string, specs []nmValue) []leftAlone {
	var devices []leftAlone
	negative := len(specs) > 0
	for _, spec := range specs {
		except, is := strings.CutPrefix(spec.text, "except:")
		if is && reachOf(except) == all {
			return nil
		}
		if !is {
			negative = false
			devices = append(devices, leftAlone{spec, setting, reachOf(spec.text)})
		}
	}
	if negative {
		devices = append(devices, leftAlone{nmValue{"*", specs[0].file}, setting, all})
	}
	return slices.DeleteFunc(devices, func(d leftAlone) bool { return d.reach == none })
}

// unmanaged are the devices that NetworkManager's configuration has it leave
// alone. A section that takes some of them back ([device-x] managed=1) is not
// looked at.
func (i *image) unmanaged() []leftAlone {
	conf := i.nmConf()
	found := leave("unmanaged-devices", conf["[keyfile]unmanaged-devices"])
	for _, key := range slices.Sorted(maps.Keys(conf)) {
		section, is := strings.CutSuffix(key, "managed")
		managed := conf[key]
		if !is || !strings.HasPrefix(section, "[device") || len(managed) == 0 || !slices.Contains([]string{"false", "no", "0", "off"}, strings.ToLower(managed[0].text)) {
			continue
		}
		specs, matched := conf[section+"match-device"]
		if !matched {
			specs = []nmValue{{"*", managed[0].file}}
		}
		found = append(found, leave(section, specs)...)
	}
	return found
}

func farthest(found []leftAlone) leftAlone {
	return slices.MaxFunc(found, func(a, b leftAlone) int { return int(a.reach - b.reach) })
}

// manage says how to have NetworkManager manage what it is told to leave alone.
func (i *image) manage(found []leftAlone) string {
	if name, below := strings.CutPrefix(farthest(found).file, "usr/lib/NetworkManager/conf.d/"); below {
		return "touch " + i.root + "/etc/NetworkManager/conf.d/" + name + ", which takes its place"
	}
	return "take that out there"
}

// devices says whether NetworkManager is told to leave wired devices alone, as
// Ubuntu's is.
func (i *image) devices() Check {
	found := i.unmanaged()
	if len(found) == 0 {
		return ok("")
	}
	fix := i.manage(found)
	var c Check
	switch farthest(found).reach {
	case all:
		c = problem("NetworkManager leaves wired devices alone, so that nobody connects the VM:", fix)
	case some:
		c = warning("NetworkManager may leave wired devices alone:", fix)
	default:
		c = info("NetworkManager leaves devices alone that hardly are a VM's wired ones:")
	}
	for _, d := range found {
		c = c.with(d.setting + " in /" + d.file + ": " + d.text)
	}
	return c
}
