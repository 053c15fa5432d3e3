package doctor

import (
	"slices"
	"strings"

	"github.com/nm-cloud-seed/nm-cloud-seed/internal/netservice"
)

// netFiles returns the files that say which network service runs which devices.
func (i *image) netFiles() netservice.Files {
	return netservice.Files{FS: i.fsys, Unreadable: i.deny}
}

func farthest(found []netservice.LeftAlone) netservice.LeftAlone {
	return slices.MaxFunc(found, func(a, b netservice.LeftAlone) int { return int(a.Reach - b.Reach) })
}

// manage says how to have NetworkManager manage what it is told to leave alone.
func (i *image) manage(found []netservice.LeftAlone) string {
	if name, below := strings.CutPrefix(farthest(found).File, "usr/lib/NetworkManager/conf.d/"); below {
		return "touch " + i.root + "/etc/NetworkManager/conf.d/" + name + ", which takes its place"
	}
	return "take that out there"
}

// devices says whether NetworkManager is told to leave wired devices alone, as
// Ubuntu's is.
func (i *image) devices() Check {
	found := i.netFiles().LeftAlone()
	if len(found) == 0 {
		return ok("")
	}
	fix := i.manage(found)
	c, others := i.othersDevices(found)
	switch reach := farthest(found).Reach; {
	case others && reach > netservice.Hardly:
	case reach == netservice.All:
		c = problem("NetworkManager leaves wired devices alone, so that nobody connects the VM:", fix)
	case reach == netservice.Some:
		c = warning("NetworkManager may leave wired devices alone:", fix)
	default:
		c = info("NetworkManager leaves devices alone that hardly are a VM's wired ones:")
	}
	for _, d := range found {
		c = c.with(d.Setting + " in /" + d.File + ": " + d.Text)
	}
	return c
}
