package lastboot

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const (
	idA  = "6d3f2c1a-90ab-4cde-8f01-23456789abcd"
	idB  = "0e0a7d52-13c4-4a1b-9c55-fedcba987654"
	macA = "02:00:4c:9f:00:01"
	macB = "02:00:4c:9f:00:02"

	product = "sys/class/dmi/id/product_name"
	uuidIn  = "sys/class/dmi/id/product_uuid"
	inside  = "run/systemd/container"
)

// files are those of a machine, by name.
type files map[string]string

// device adds a network device of the type that if_arp.h has.
func (f files) device(name, arp, mac string) files {
	f = maps.Clone(f)
	f["sys/class/net/"+name+"/type"] = arp + "\n"
	f["sys/class/net/"+name+"/address"] = mac + "\n"
	return f
}

func (f files) with(name, text string) files {
	f = maps.Clone(f)
	f[name] = text
	return f
}

// without leaves out what is below a directory.
func (f files) without(dir string) files {
	f = maps.Clone(f)
	maps.DeleteFunc(f, func(name, _ string) bool { return strings.HasPrefix(name, dir) })
	return f
}

// root puts them below a directory. Network devices are links, as in sysfs.
func (f files) root(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range f {
		path := filepath.Join(root, name)
		if device, ok := strings.CutPrefix(filepath.Dir(name), "sys/class/net/"); ok {
			link := filepath.Dir(path)
			must(t, os.MkdirAll(filepath.Dir(link), 0o755))
			must(t, os.MkdirAll(filepath.Join(root, "sys/devices/virtual/net", device), 0o755))
			if err := os.Symlink("../../devices/virtual/net/"+device, link); err != nil && !os.IsExist(err) {
				t.Fatal(err)
			}
		}
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		must(t, os.WriteFile(path, []byte(text), 0o644))
	}
	return root
}

var (
	bare = files{product: "Standard PC (Q35 + ICH9, 2009)\n"}.device("lo", "772", noAddress)
	vmA  = bare.device("eth0", "1", macA).with(uuidIn, idA+"\n")
	vmB  = bare.device("eth0", "1", macB).with(uuidIn, idB+"\n")
)

func TestThisMachine(t *testing.T) {
	byUUID, byMAC := Machine{UUID: idA}, Machine{MAC: macA}
	id := func(text string) files { return vmA.with(uuidIn, text) }
	for _, tt := range []struct {
		name, device string
		files        files
		want         Machine
	}{
		{"UUID", "eth0", vmA, byUUID},
		{"UUID, without a device", "", bare.with(uuidIn, idA), byUUID},
		{"UUID in upper case", "eth0", id(strings.ToUpper(idA) + "\n"), byUUID},
		{"UUID in a container", "eth0", vmA.with(inside, "systemd-nspawn"), byMAC},
		{"no UUID", "eth0", vmA.without(uuidIn), byMAC},
		{"no DMI", "eth0", vmA.without("sys/class/dmi"), byMAC},
		{"all zeros", "eth0", id("00000000-0000-0000-0000-000000000000\n"), byMAC},
		{"all f's", "eth0", id("ffffffff-ffff-ffff-ffff-ffffffffffff\n"), byMAC},
		{"all F's", "eth0", id("FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF\n"), byMAC},
		{"as delivered", "eth0", id("03000200-0400-0500-0006-000700080009\n"), byMAC},
		{"as delivered, the other way round", "eth0", id("00020003-0004-0005-0006-000700080009\n"), byMAC},
		{"as delivered, by Dell", "eth0", id("4C4C4544-0000-2010-8020-80C04F202020\n"), byMAC},
		{"as delivered, all X's", "eth0", id("58585858-5858-5858-5858-585858585858\n"), byMAC},
		{"Not Settable", "eth0", id("Not Settable\n"), byMAC},
		{"garbage", "eth0", id("\x00\xff"), byMAC},
		{"empty", "eth0", id("\n"), byMAC},
		{"too short", "eth0", id(idA[1:]), byMAC},
		{"no hexadecimal", "eth0", id("z" + idA[1:]), byMAC},
		{"unreadable", "eth0", vmA.without(uuidIn).with(uuidIn+"/x", ""), byMAC},
		{"too long", "eth0", id(idA + strings.Repeat(" ", 1<<20)), byMAC},

		{"MAC in upper case", "eth0", vmA.without(uuidIn).device("eth0", "1", strings.ToUpper(macA)), byMAC},
		{"the device of several", "eth1", bare.device("eth0", "1", macB).device("eth1", "1", macA), byMAC},
		{"another device", "eth1", bare.device("eth0", "1", macB), Machine{}},
		{"no device", "eth0", bare, Machine{}},
		{"no name", "", bare.device("eth0", "1", macA), Machine{}},
		{"loopback", "lo", bare, Machine{}},
		{"no Ethernet", "ib0", bare.device("ib0", "32", macA), Machine{}},
		{"zero MAC", "eth0", bare.device("eth0", "1", noAddress), Machine{}},
		{"empty MAC", "eth0", bare.device("eth0", "1", ""), Machine{}},
		{"unreadable MAC", "eth0", bare.with("sys/class/net/eth0/type", "1").with("sys/devices/virtual/net/eth0/address/x", ""), Machine{}},
		{"no /sys", "eth0", nil, Machine{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := This(tt.files.root(t), tt.device); got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
	if got := This(filepath.Join(t.TempDir(), "missing"), "eth0"); got != (Machine{}) {
		t.Errorf("no root: got %+v, want none", got)
	}
}

func TestIsTheSameMachine(t *testing.T) {
	byUUID, byMAC := Machine{UUID: idA}, Machine{MAC: macA}
	noUUID := vmA.without(uuidIn)
	for _, tt := range []struct {
		name    string
		machine Machine
		files   files
		want    Answer
	}{
		{"itself", byUUID, vmA, Yes},
		{"itself, in upper case", byUUID, vmA.with(uuidIn, strings.ToUpper(idA)), Yes},
		{"itself, without devices", byUUID, bare.with(uuidIn, idA), Yes},
		{"itself, another NIC", byUUID, vmB.with(uuidIn, idA), Yes},
		{"a clone", byUUID, vmB, No},
		{"a clone without devices", byUUID, bare.with(uuidIn, idB), No},
		{"a clone with the same MAC", byUUID, vmA.with(uuidIn, idB), No},
		{"now in a container", byUUID, vmA.with(inside, "lxc"), Unknown},
		{"now without a UUID", byUUID, noUUID, Unknown},
		{"now with a placeholder", byUUID, vmA.with(uuidIn, "03000200-0400-0500-0006-000700080009"), Unknown},

		{"by MAC", byMAC, noUUID, Yes},
		{"by MAC in upper case", byMAC, bare.device("eth0", "1", strings.ToUpper(macA)), Yes},
		{"by MAC, device renamed", byMAC, bare.device("ens3", "1", macA), Yes},
		{"by MAC, of several", byMAC, bare.device("eth0", "1", macB).device("eth1", "1", macA), Yes},
		{"by MAC, in a container", byMAC, vmA.with(inside, "systemd-nspawn"), Yes},
		{"by MAC, the UUID can be read now", byMAC, vmA, Yes},
		{"by MAC, a clone", byMAC, vmB.without(uuidIn), No},
		{"by MAC, no device yet", byMAC, bare, Unknown},
		{"by MAC, none with an address yet", byMAC, bare.device("eth0", "1", noAddress), Unknown},
		{"by MAC, no Ethernet", byMAC, bare.device("ib0", "32", macA), Unknown},
		{"by MAC, no /sys", byMAC, nil, Unknown},
		{"nobody", Machine{}, noUUID, No},
		{"nobody, without devices", Machine{}, bare, Unknown},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.machine.Is(tt.files.root(t)); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

// What a machine says of itself is true there, and on a clone it is not.
func TestMachineIsNotItsClone(t *testing.T) {
	for name, change := range map[string]func(files) files{
		"by UUID":              func(f files) files { return f },
		"by MAC":               func(f files) files { return f.without(uuidIn) },
		"by MAC, in container": func(f files) files { return f.with(inside, "systemd-nspawn") },
	} {
		t.Run(name, func(t *testing.T) {
			a, b := change(vmA).root(t), change(vmB).root(t)
			m := This(a, "eth0")
			if m == (Machine{}) || m.Is(a) != Yes || m.Is(b) != No {
				t.Errorf("%+v: got %v for itself and %v for the clone, want %v and %v", m, m.Is(a), m.Is(b), Yes, No)
			}
		})
	}
}
