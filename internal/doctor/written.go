package doctor

import (
	"fmt"
	"io/fs"

	"github.com/nm-cloud-seed/nm-cloud-seed/systemd"
)

// Where systemd has what generators wrote.
const (
	generated      = "run/systemd/generator/"
	generatedEarly = "run/systemd/generator.early/"
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
		case !there:
			missing = append(missing, "/"+name+" is missing")
		case !same:
			other = append(other, "/"+name+" is different")
		}
	}
	switch {
	case len(missing) == 0 && len(other) == 0 && m.new():
		return ok("as planned, for the next boot (" + generatorLog + ")")
	case len(missing) == 0 && len(other) == 0:
		return ok("as planned (" + generatorLog + ")")
	case len(missing) == len(m.plan.Files) && m.new():
		c := info("nothing yet: the package was installed after the system started")
		c.Fix = "reboot"
		return c
	case len(missing) == len(m.plan.Files):
		return problem("the generator wrote nothing, so that nothing starts the service", "systemctl daemon-reload; if it still wrote nothing: "+generatorLog+"; then reboot")
	case len(missing) > 0:
		return warning(fmt.Sprintf("%d of %d files are not there:", len(missing), len(m.plan.Files)), "systemctl daemon-reload, and reboot").with(append(missing, other...)...)
	}
	return info("units have changed since the generator ran; at the next boot it will write something else for:").with(other...)
}

// compare says whether a generator's file is there, and is what it should be.
func (m *machine) compare(name string, f systemd.File) (there, same bool) {
	if f.Link != "" {
		to, err := fs.ReadLink(m.fsys, name)
		return err == nil, to == f.Link
	}
	return m.exists(name), m.read(name) == f.Text
}
