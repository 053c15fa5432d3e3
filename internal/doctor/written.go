package doctor

import (
	"io/fs"
	"slices"

	"github.com/nm-cloud-seed/nm-cloud-seed/systemd"
)

// Where systemd has what generators wrote.
const (
	generated      = "run/systemd/generator/"
	generatedEarly = "run/systemd/generator.early/"
	ourWants       = generated + "cloud-init.target.wants/" + systemd.Service
	generatorLog   = "journalctl -b -t nm-cloud-seed-generator"
)

// written compares what the generator has written, in this boot or when systemd
// was last reloaded, with what it would write now.
func (m *machine) written() Check {
	var missing, other []string
	for _, f := range m.plan.Files {
		name := generated + f.Name
		if f.Early {
			name = generatedEarly + f.Name
		}
		switch there, same := m.compare(name, f); {
		case !there && m.matters(f):
			missing = append(missing, "/"+name+" is missing")
		case !there:
			other = append(other, "/"+name+" is not there")
		case !same:
			other = append(other, "/"+name+" is different")
		}
	}
	switch {
	case len(missing) == 0 && len(other) == 0 && m.new():
		return ok("as planned, for the next boot (" + generatorLog + ")")
	case len(missing) == 0 && len(other) == 0:
		return ok("as planned (" + generatorLog + ")")
	case !m.exists(ourWants):
		c := problem("the generator has written nothing that starts the service", "systemctl daemon-reload; if it still wrote nothing: "+generatorLog+"; then reboot")
		if m.new() { // its installation reloads systemd, but that may fail
			c.State, c.Detail = Info, "the generator has written nothing yet; the package was installed after the system started"
		}
		return c
	case len(missing) > 0:
		return warning("the generator wrote only a part:", "systemctl daemon-reload, and reboot").with(append(missing, other...)...)
	}
	return info("units have changed since the generator ran; at the next boot it will write something else for:").with(other...)
}

// matters says whether nothing works without a file: one that starts a service of
// ours, or is a network stage. Others come and go with what is installed.
func (m *machine) matters(f systemd.File) bool {
	return f.Link != "" || slices.Contains(m.units.NetworkStages(), f.Name)
}

// compare says whether a generator's file is there, and is what it should be.
func (m *machine) compare(name string, f systemd.File) (there, same bool) {
	if f.Link != "" {
		to, err := fs.ReadLink(m.fsys, name)
		return err == nil, to == f.Link
	}
	return m.exists(name), m.read(name) == f.Text
}
