package debroot

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// sets lists the roots that each part of the tests opens.
func sets() map[string][]Root {
	images := []Root{Image("bookworm"), Image("trixie"), Image("sid")}
	return map[string][]Root{
		"test": images,
		// TestBootSetHasRootsOfAllScenarios in test/boot compares it with the scenarios.
		"boot": append(images,
			Image("bookworm", "firewalld", "netbase"),
			Image("bookworm", "ifupdown", "isc-dhcp-client"),
			Image("bookworm", "isc-dhcp-client"),
			Image("trixie", "dbus-broker"),
			Image("trixie", "e2fsprogs", "netplan.io"),
			Image("trixie", "systemd-resolved"),
		),
		"bench": {Image("bookworm")},
		"demo":  nil,
		// TestImagesSetHasToolsOfPage in test/images compares it with docs/images.md.
		"images": {Image("trixie"), System("trixie",
			"grub-common", "grub-pc-bin", "libguestfs-tools", "linux-image-cloud-amd64", "mkosi", "mmdebstrap",
			"qemu-system-x86", "qemu-utils", "reprepro", "xorriso")},
	}
}

// SetNames returns the names of all sets.
func SetNames() []string { return slices.Sorted(maps.Keys(sets())) }

// Set returns the roots of a set.
func Set(name string) ([]Root, error) {
	roots, ok := sets()[name]
	if !ok {
		return nil, fmt.Errorf("cannot find the set %q of Debian roots: want one of %s", name, strings.Join(SetNames(), ", "))
	}
	return roots, nil
}

// advice returns the command that prepares a root.
func advice(r Root) string {
	for _, set := range []string{"test", "boot", "images", "bench"} {
		if slices.ContainsFunc(sets()[set], func(other Root) bool { return other.name() == r.name() }) {
			if set == "bench" {
				return "run: go run ./test/debroot/prepare bench"
			}
			return "run: make needs-" + set
		}
	}
	return "add it to a set in test/debroot/sets.go"
}
