package vrtest

import (
	"net/netip"
	"slices"
	"strings"
)

// Key is one entry of the metadata. The VR serves non-ASCII characters of a
// service offering, a zone or a hostname as a literal \u00FC, so a faithful
// Value has them in that form.
type Key struct{ Name, Value string }

// VM is what the VR knows about one VM.
type VM struct {
	// Metadata is served, and indexed in this order. As on the VR, a name that
	// is part of an index line before it never gets a line of its own.
	Metadata []Key
	// Unindexed is served, but missing from the index.
	Unindexed []Key
	// Stale is in the index after Metadata, but answers 404: keys that were
	// set once and emptied later.
	Stale []string
	// UserData is served as it is; an empty one answers 200 with no body.
	UserData []byte
	// Password waits until it is acknowledged; an empty one is none.
	Password string
}

// exampleKey is the public half of a key pair whose private half is gone.
const exampleKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIO8t56uJU8h7b8yAwKej2BEWMdZBziWmGZpcjGHgugbS admin@example.org"

// Example returns a VM with CloudStack's eleven standard keys and no password.
// Its hostname is web-1, its instance-id and vm-id are id, and its
// local-ipv4 is addr.
func Example(id string, addr netip.Addr) *VM {
	return &VM{
		Metadata: []Key{
			{"service-offering", "Small Instance"},
			{"availability-zone", "zone-1"},
			{"local-ipv4", addr.String()},
			{"local-hostname", "web-1"},
			{"public-ipv4", "203.0.113.10"},
			{"public-hostname", "203.0.113.10"},
			{"instance-id", id},
			{"vm-id", id},
			{"public-keys", exampleKey},
			{"cloud-identifier", "CloudStack-{2d6bd3ab-3d44-4d0a-a1a2-6e2c1a6d0e4f}"},
			{"hypervisor-host-name", "kvm-1"},
		},
		UserData: []byte("#cloud-config\npackages:\n- nginx\n"),
	}
}

// Set changes the value of the key name in Metadata, or appends it.
func (vm *VM) Set(name, value string) {
	for i := range vm.Metadata {
		if vm.Metadata[i].Name == name {
			vm.Metadata[i].Value = value
			return
		}
	}
	vm.Metadata = append(vm.Metadata, Key{name, value})
}

func (vm *VM) clone() VM {
	return VM{
		Metadata:  slices.Clone(vm.Metadata),
		Unindexed: slices.Clone(vm.Unindexed),
		Stale:     slices.Clone(vm.Stale),
		UserData:  slices.Clone(vm.UserData),
		Password:  vm.Password,
	}
}

// index is the VR's file of key names. The VR appends a name unless it occurs
// anywhere in the file ("if file not in fh.read()"), so "vm" is lost after
// "vm-id", but not before it.
func (vm *VM) index() string {
	var index string
	add := func(name string) {
		if !strings.Contains(index, name) {
			index += name + "\n"
		}
	}
	for _, key := range vm.Metadata {
		add(key.Name)
	}
	for _, name := range vm.Stale {
		add(name)
	}
	return index
}

// key finds a served key and its place among all of them.
func (vm *VM) key(matches func(name string) bool) (value string, place int, found bool) {
	for i, key := range slices.Concat(vm.Metadata, vm.Unindexed) {
		if matches(key.Name) {
			return key.Value, i, true
		}
	}
	return "", 0, false
}
