package systemd

import (
	"cmp"
	"path"
	"slices"
	"strings"

	"github.com/coreos/go-systemd/v22/unit"
)

// Kinds of unit names, unit_name(5): x.service, x@.service, x@y.service.
type kind int

const (
	invalid kind = iota
	plain
	template
	instance
)

var types = []string{"service", "socket", "target", "device", "mount", "automount", "swap", "timer", "path", "slice", "scope"}

// unitName is a unit's name, taken apart.
type unitName struct {
	kind     kind
	prefix   string // before "@", or all but the type
	instance string
	typ      string
}

// parseName takes a name apart; its kind is invalid if it is none.
func parseName(name string) unitName {
	dot := strings.LastIndexByte(name, '.')
	if dot < 1 || len(name) > 255 || !slices.Contains(types, name[dot+1:]) {
		return unitName{}
	}
	for i := range len(name) {
		if c := name[i]; !isNameByte(c) {
			return unitName{}
		}
	}
	n := unitName{typ: name[dot+1:]}
	prefix, inst, at := strings.Cut(name[:dot], "@")
	n.prefix, n.instance = prefix, inst
	switch {
	case prefix == "":
		return unitName{}
	case !at:
		n.kind = plain
	case inst == "":
		n.kind = template
	default:
		n.kind = instance
	}
	return n
}

func isNameByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte(`:-_.\@`, c) >= 0
}

func (n unitName) String() string {
	if n.kind == plain {
		return n.prefix + "." + n.typ
	}
	return n.prefix + "@" + n.instance + "." + n.typ
}

// template is the name of the template of an instance.
func (n unitName) template() string { return n.prefix + "@." + n.typ }

// instantiate makes an instance of a template.
func (n unitName) instantiate(inst string) string { return n.prefix + "@" + inst + "." + n.typ }

// mountUnit is the name of a path's mount unit.
func mountUnit(where string) string { return unit.UnitNamePathEscape(where) + ".mount" }

// prefixes are the paths that lead to a path, itself and "/" included.
func prefixes(p string) []string {
	if !strings.HasPrefix(p, "/") {
		return nil
	}
	p = path.Clean(p)
	all := []string{p}
	for p != "/" {
		p = path.Dir(p)
		all = append(all, p)
	}
	return all
}

// expand replaces the specifiers in what a unit says, systemd.unit(5). It fails
// on those whose value differs from one machine or boot to another.
func expand(text, id string) (string, bool) {
	if !strings.Contains(text, "%") {
		return text, true
	}
	n := parseName(id)
	last := n.prefix[strings.LastIndexByte(n.prefix, '-')+1:]
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] != '%' || i+1 == len(text) {
			b.WriteByte(text[i])
			continue
		}
		i++
		switch text[i] {
		case '%':
			b.WriteByte('%')
		case 'n':
			b.WriteString(id)
		case 'N':
			b.WriteString(strings.TrimSuffix(id, "."+n.typ))
		case 'p':
			b.WriteString(n.prefix)
		case 'P':
			b.WriteString(unit.UnitNameUnescape(n.prefix))
		case 'i':
			b.WriteString(n.instance)
		case 'I':
			b.WriteString(unit.UnitNameUnescape(n.instance))
		case 'j':
			b.WriteString(last)
		case 'J':
			b.WriteString(unit.UnitNameUnescape(last))
		case 'f':
			b.WriteString(unit.UnitNamePathUnescape(cmp.Or(n.instance, n.prefix)))
		case 't':
			b.WriteString("/run")
		case 'S':
			b.WriteString("/var/lib")
		case 'C':
			b.WriteString("/var/cache")
		case 'L':
			b.WriteString("/var/log")
		case 'E':
			b.WriteString("/etc")
		case 'T':
			b.WriteString("/tmp")
		case 'V':
			b.WriteString("/var/tmp")
		default:
			return "", false
		}
	}
	return b.String(), true
}
