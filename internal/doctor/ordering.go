package doctor

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/nm-cloud-seed/nm-cloud-seed/systemd"
)

// readable are the units that could not be read, which the rest is without.
func (i *image) readable() Check {
	if notes := i.units.Notes(); len(notes) > 0 {
		c := warning("some units could not be read, what follows is without them", "mend the files, or remove them")
		for _, note := range notes {
			c = c.with(i.shown(note))
		}
		return c
	}
	return ok("all could be read")
}

func (i *image) cycles() Check {
	const fix = "take one order (After=, Before=) out of each"
	found := i.units.Cycles()
	switch {
	case len(found) == 0:
		return ok("none")
	case len(i.planned.Cycles()) == 0:
		// Such as After=NetworkManager-wait-online.service in cloud-init's unit.
		return list(warning("there are ordering cycles that nm-cloud-seed breaks; elsewhere than on CloudStack systemd leaves out a unit", fix), found)
	}
	return list(problem("there are ordering cycles, in which systemd leaves out a unit", fix), found)
}

func list(c Check, found []systemd.Cycle) Check {
	for _, cycle := range found {
		c = c.with(cycle.String())
	}
	return c
}

// deadlock says whether this system needs us.
func (i *image) deadlock() Check {
	way := i.units.Deadlock()
	if way == nil {
		return ok("none: cloud-init's network stage does not come before NetworkManager")
	}
	text := strings.Join(way, " before ")
	if i.other != "" && len(i.plan.Files) == 0 {
		return info("does not matter, as " + i.other + ": " + text)
	}
	if i.planned.Deadlock() == nil && i.ours().State == OK {
		return ok("resolved by nm-cloud-seed: " + text)
	}
	return problem("cloud-init looks for CloudStack without a network: "+text, "see to nm-cloud-seed, which changes that order at boot")
}

// generator is what ours will do at boot, and what comes of it.
func (i *image) generator() Check {
	if len(i.plan.Files) == 0 && i.other != "" {
		return info("nm-cloud-seed changes nothing: " + i.other)
	}
	if len(i.plan.Files) == 0 {
		return problem("nm-cloud-seed changes nothing", "take the order away that is in its way").with(slices.Concat(i.plan.Notes, i.plan.Warnings)...)
	}
	if made := i.planned.Cycles(); len(made) > 0 && len(i.units.Cycles()) == 0 {
		return list(problem("the order that nm-cloud-seed makes has cycles", "set ordering=early in "+i.root+"/etc/nm-cloud-seed.conf, and report this defect"), made)
	}
	detail := strings.Join(append([]string{"ordering=" + string(i.plan.Ordering)}, i.plan.Notes...), ", ")
	c := ok(detail)
	if len(i.plan.Warnings) > 0 {
		c = warning(detail, "take the order away that is in the way, if it is not needed")
	}
	return c.with(does(i.plan.Files)...).with(i.plan.Warnings...)
}

// does says what files do: links start units, the others change them.
func does(files []systemd.File) []string {
	var changes, starts []string
	for _, f := range files {
		if f.Link != "" {
			starts = append(starts, "starts "+path.Base(f.Name))
			continue
		}
		unit, _, _ := strings.Cut(f.Name, "/") // or the directory of its drop-ins
		changes = append(changes, "changes "+strings.TrimSuffix(unit, ".d"))
	}
	return append(slices.Compact(changes), starts...)
}

// held are the services and timers that come after cloud-init, as they would
// without us.
func (i *image) held() Check {
	if len(i.plan.Held) == 0 {
		return ok("none has to")
	}
	return ok(fmt.Sprintf("services, timers and sockets that wait for cloud-init's network stage: %d", len(i.plan.Held))).with(i.plan.Held...)
}

// notHeld are those that do not wait. Where there is a way through, somebody has
// an order in mind, and will miss cloud-init's work.
func (i *image) notHeld() Check {
	var missed, usual []string
	for _, l := range i.plan.LeftOut {
		if len(l.Through) > 0 {
			missed = append(missed, l.String())
		} else {
			usual = append(usual, l.String())
		}
	}
	if len(missed) > 0 {
		return warning("may start before cloud-init has made users and files, as something orders them before it:",
			"take that order away (Before=, After=) where it is not meant").with(missed...)
	}
	if len(usual) > 0 {
		return info("may start before cloud-init has made users and files, as they have to or always do:").with(usual...)
	}
	return ok("none")
}
