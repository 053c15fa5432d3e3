package systemd

import (
	"maps"
	"slices"
	"strings"
)

// maxHops is how many aliases systemd follows.
const maxHops = 8

// index finds unit files by the names of units.
type index struct {
	dirs  []*dir
	files map[string]*file    // the first of the search path
	names map[string][]string // the aliases of a unit file's name, sorted
	subd  map[string]bool     // names of directories with files that go with units
}

func newIndex(dirs []*dir) *index {
	x := &index{dirs: dirs, files: make(map[string]*file), names: make(map[string][]string), subd: make(map[string]bool)}
	for _, d := range dirs {
		for name := range d.subs {
			x.subd[name] = true
		}
		for name, f := range d.files {
			if _, ok := x.files[name]; ok || f.alias != "" && !mayAlias(parseName(name), parseName(f.alias)) {
				continue
			}
			x.files[name] = f
		}
	}
	for _, name := range slices.Sorted(maps.Keys(x.files)) {
		f := x.get(name)
		if f == nil || f.masked {
			continue
		}
		to := f.unit()
		// foo@x.service may be a link to bar@.service: an alias of one instance.
		if n := parseName(name); n.kind == instance && parseName(to).kind == template {
			to = parseName(to).instantiate(n.instance)
		}
		x.names[to] = append(x.names[to], name)
	}
	return x
}

// unit is the name of the unit that a unit file is for.
func (f *file) unit() string { return f.path[strings.LastIndexByte(f.path, '/')+1:] }

// mayAlias says whether one unit name can be an alias of another.
func mayAlias(name, of unitName) bool {
	switch {
	case name == of, name.typ != of.typ, !slices.Contains([]string{"service", "socket", "target", "device", "timer", "path"}, name.typ):
		return false
	case name.kind == instance && of.kind == template:
		return true
	}
	return name.kind == of.kind && name.instance == of.instance
}

// get finds the file for a name, aliases followed; nil if there is none.
func (x *index) get(name string) *file {
	for hop := range maxHops {
		f, ok := x.files[name]
		if n := parseName(name); !ok && hop > 0 && n.kind == instance {
			f, ok = x.files[n.template()]
		}
		if !ok {
			return nil
		}
		if f.alias == "" {
			return f
		}
		name = f.alias
	}
	return nil
}

// find gives a unit's real name and its file, nil if it has none.
func (x *index) find(name string) (id string, f *file) {
	n := parseName(name)
	if f = x.get(name); f == nil && n.kind == instance {
		f = x.get(n.template())
	}
	if f == nil {
		return name, nil
	}
	id = f.unit()
	if to := parseName(id); to.kind == template && n.kind == instance {
		id = to.instantiate(n.instance)
		if own := x.get(id); own != nil && own != f {
			id = name // that instance has a file of its own, and is another unit
		}
	}
	return id, f
}

// aliases are all names of a unit, its real one first.
func (x *index) aliases(id string, f *file) []string {
	all := []string{id}
	add := func(name string) {
		if !slices.Contains(all, name) {
			all = append(all, name)
		}
	}
	for _, name := range x.names[id] {
		add(name)
	}
	if n := parseName(id); f != nil && n.kind == instance {
		for _, name := range x.names[f.unit()] {
			alias := parseName(name)
			if alias.kind != template {
				continue
			}
			// Unless this instance of the alias is something else.
			if to, _ := x.find(alias.instantiate(n.instance)); to == id {
				add(alias.instantiate(n.instance))
			}
		}
	}
	return all
}

// subs finds the files that go with a unit in directories with a suffix, such
// as ".d": sorted by name; of one name, the first in the search path counts.
func (x *index) subs(names []string, suffix string) []*file {
	found := make(map[string]*file)
	add := func(candidates ...string) {
		candidates = slices.DeleteFunc(candidates, func(name string) bool { return !x.subd[name+suffix] })
		if len(candidates) == 0 {
			return // nearly always
		}
		for _, d := range x.dirs {
			for _, name := range candidates {
				for base, f := range d.subs[name+suffix] {
					if _, ok := found[base]; !ok {
						found[base] = f
					}
				}
			}
		}
	}
	for _, name := range names {
		add(dropinNames(name)...)
	}
	add(parseName(names[0]).typ)
	var all []*file
	for _, base := range slices.Sorted(maps.Keys(found)) {
		if !found[base].masked {
			all = append(all, found[base])
		}
	}
	return all
}

// maxDashes keeps the square of it small.
const maxDashes = 32

// dropinNames are the names under which drop-ins for a unit may be: itself, its
// template, and what is left of the name up to each dash. In that, a template
// counts as if it were none: for a-b@c.service, a-.service comes before a-@c.service.
func dropinNames(name string) []string {
	n := parseName(name)
	all := []string{name}
	if strings.Count(n.prefix, "-") > maxDashes {
		return all
	}
	if n.kind == instance {
		all = append(all, dropinNames(n.template())...)
	} else {
		n.kind = plain
	}
	if dash := strings.LastIndexByte(strings.TrimSuffix(n.prefix, "-"), '-'); dash > 0 {
		n.prefix = n.prefix[:dash+1]
		all = append(all, dropinNames(n.String())...)
	}
	return all
}
