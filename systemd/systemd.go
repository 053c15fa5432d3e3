// Package systemd decides what the generator writes so that cloud-init's
// network stage finds NetworkManager running. On Debian and Ubuntu the stage
// comes before sysinit.target and NetworkManager after it. In the RHEL family the
// order is right, and a link is all it takes. See systemd.generator(7).
//
//	u, err := systemd.Load(fsys, root)       // the units below a root, as installed
//	plan := u.Plan(systemd.Late)             // pure: what to write, what to tell
//	err = plan.Write(normalDir, earlyDir)    // the generator's argv[1] and argv[2]
//
// What doctor asks:
//
//	u.Notes()                  // files that could not be read
//	u.NetworkStages()          // cloud-init's, installed and not masked
//	u.Installed(unit)          // and not masked
//	u.Started(unit)            // at boot, by default.target
//	u.Cycles()                 // at boot, as installed
//	u.With(plan).Cycles()      // and with the plan
//
// All of it works offline, on an image. The units are read like systemd reads
// them and made into a graph; a property test holds it against the real one.
package systemd

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"strings"

	"github.com/nm-cloud-seed/nm-cloud-seed/internal/rootfs"
)

// Names of units, ours and those that we know.
const (
	Service        = "nm-cloud-seed.service"
	cleanupService = "nm-cloud-seed-cleanup.service"
	sshKeysService = "nm-cloud-seed-ssh-keys.service"
	healService    = "nm-cloud-seed-heal.service"
	networkManager = "NetworkManager.service"
	cloudTarget    = "cloud-init.target"
	localStage     = "cloud-init-local.service"
	hotplugSocket  = "cloud-init-hotplugd.socket"
)

// wanted are our services, which the generator's links pull in.
var wanted = []string{Service, cleanupService, sshKeysService, healService}

// stageNames are the old and the new name of cloud-init's network stage.
var stageNames = []string{"cloud-init.service", "cloud-init-network.service"}

// Units are the units of a system, as they would be loaded at boot. They do not
// change.
type Units struct {
	dirs  []*dir
	graph *graph
	boot  map[string]bool // started by default.target
	notes []string
	// firstBoot: systemd is going to enable units by their presets.
	firstBoot bool
}

// Load reads the installed units and fstab. What cannot be read or understood
// is skipped and noted; an error is that there are no units at all. The root is
// only named in notes: "" for the running system.
func Load(fsys fs.FS, root string) (*Units, error) {
	r := &reader{fsys: fsys, root: root, links: rootfs.NewLinks(fsys), notes: new(notes)}
	dirs := r.read()
	empty := true
	for _, d := range dirs {
		empty = empty && len(d.files) == 0
	}
	if empty {
		return nil, fmt.Errorf("cannot read the units of %s/: %w", root, errors.Join(fs.ErrNotExist, r.notes.err()))
	}
	r.fstab(find(dirs, normalDir))
	// cloud-init's own generator does this, while ours runs.
	find(dirs, earlyDir).put("multi-user.target.wants/"+cloudTarget, new(file))
	return newUnits(dirs, r.notes.all(), isFirstBoot(fsys, root)), nil
}

func newUnits(dirs []*dir, notes []string, firstBoot bool) *Units {
	g := newGraph(dirs)
	return &Units{dirs: dirs, graph: g, boot: g.started(defaultTarget, nil), notes: notes, firstBoot: firstBoot}
}

// isFirstBoot is machine-id(5), "First Boot Semantics". In a boot, systemd has
// put a new id over the file by now, and says so (systemd.generator(7)).
func isFirstBoot(fsys fs.FS, root string) bool {
	if root == "" && os.Getenv("SYSTEMD_FIRST_BOOT") == "1" {
		return true
	}
	if _, err := fs.Stat(fsys, "run/systemd/first-boot"); err == nil {
		return true
	}
	id, err := rootfs.Read(fsys, "etc/machine-id", 1024)
	return errors.Is(err, fs.ErrNotExist) || strings.TrimSpace(string(id)) == "uninitialized"
}

func find(dirs []*dir, name string) *dir {
	for _, d := range dirs {
		if d.name == name {
			return d
		}
	}
	return nil
}

// With are the units as they would be with a plan carried out.
func (u *Units) With(p Plan) *Units {
	dirs := make([]*dir, len(u.dirs))
	for i, d := range u.dirs {
		dirs[i] = d
		if d.name != earlyDir && d.name != normalDir {
			continue
		}
		changed := &dir{name: d.name, files: maps.Clone(d.files), subs: make(map[string]map[string]*file)}
		for name, files := range d.subs {
			changed.subs[name] = maps.Clone(files)
		}
		for _, f := range p.Files {
			if f.Early == (d.name == earlyDir) {
				changed.put(f.Name, fileOf(f.Text))
			}
		}
		dirs[i] = changed
	}
	return newUnits(dirs, u.notes, u.firstBoot)
}

// Notes are what could not be read.
func (u *Units) Notes() []string { return u.notes }

// Installed says whether a unit can be started: there is one, it is not masked.
func (u *Units) Installed(unit string) bool { return u.unit(unit) != nil }

// Started says whether a unit is started at boot.
func (u *Units) Started(unit string) bool {
	n := u.unit(unit)
	return n != nil && u.boot[n.id]
}

// NetworkStages are the units that run cloud-init's network stage.
func (u *Units) NetworkStages() []string {
	var ids []string
	for _, n := range u.stages() {
		ids = append(ids, n.id)
	}
	return ids
}

// Cycles are the ordering cycles among what is started at boot, one of each
// knot of units.
func (u *Units) Cycles() []Cycle { return u.graph.cycles(u.boot) }

// unit is a unit that can be started, nil if there is none.
func (u *Units) unit(name string) *node {
	if n := u.graph.nodes[u.graph.ids[name]]; n != nil && n.loaded {
		return n
	}
	return nil
}

// stages are the installed network stages. One name can be an alias of the other.
func (u *Units) stages() []*node {
	var all []*node
	for _, name := range stageNames {
		if n := u.unit(name); n != nil && (len(all) == 0 || all[0] != n) {
			all = append(all, n)
		}
	}
	return all
}
