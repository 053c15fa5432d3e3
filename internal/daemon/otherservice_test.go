package daemon

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nm-cloud-seed/nm-cloud-seed/internal/cloudinit"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/config"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/lease"
)

// nics returns two wired devices that systemd-networkd has.
func nics() map[string]string {
	return map[string]string{
		"sys/class/net/eth0/type": "1\n", "sys/class/net/eth0/ifindex": "2\n", "run/systemd/netif/links/2": "ADMIN_STATE=configured\n",
		"sys/class/net/eth1/type": "1\n", "sys/class/net/eth1/ifindex": "3\n", "run/systemd/netif/links/3": "ADMIN_STATE=configuring\n",
	}
}

func with(files map[string]string, name, text string) map[string]string {
	files = maps.Clone(files)
	files[name] = text
	return files
}

func TestCheckUnmanaged(t *testing.T) {
	const stanza, eth0 = "etc/network/interfaces", "iface eth0 inet dhcp\n"
	both := lease.View{Running: true, Unmanaged: []string{"eth0", "eth1"}}
	for _, tt := range []struct {
		name  string
		view  lease.View
		files map[string]string // "-" removes
		idle  bool
		want  string // empty: it goes on
	}{
		{"NetworkManager starts, or manages a device", lease.View{Running: true}, nil, false, ""},
		{"all of them are systemd-networkd's", both, nil, true, "eth0 belongs to systemd-networkd, eth1 belongs to systemd-networkd"},
		{"one of them", both, map[string]string{"run/systemd/netif/links/2": "-"}, true, "eth1 belongs to systemd-networkd"},
		{"nobody's", both, map[string]string{"run": "-"}, false,
			"cannot get a lease: NetworkManager does not manage eth0, eth1, and no other network service runs it ('nm-cloud-seed doctor' names the setting)"},
		{"a stanza, ifupdown gone", both, map[string]string{"run": "-", stanza: eth0}, false,
			"(ifupdown is not installed: remove eth0 from /etc/network/interfaces, or write managed=true below [ifupdown] in /etc/NetworkManager/NetworkManager.conf)"},
		{"ifupdown", both, map[string]string{"run": "-", stanza: eth0, "usr/sbin/ifup": ""}, true, "eth0 belongs to ifupdown"},
		{"ifupdown, NetworkManager is to manage its devices", both, map[string]string{
			"run": "-", stanza: eth0, "usr/sbin/ifup": "", "etc/NetworkManager/NetworkManager.conf": "[ifupdown]\nmanaged=true\n",
		}, false, "('nm-cloud-seed doctor' names the setting)"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			files := nics()
			for name, text := range tt.files {
				if files[name] = text; text == "-" {
					maps.DeleteFunc(files, func(old, _ string) bool { return old == name || strings.HasPrefix(old, name+"/") })
				}
			}
			d, _ := newDaemon(machine(t, files), config.Default())
			err := d.checkUnmanaged(tt.view)
			var other *otherService
			switch {
			case tt.want == "" && err == nil:
			case tt.want == "", err == nil, !strings.Contains(err.Error(), tt.want), errors.As(err, &other) != tt.idle:
				t.Errorf("got the error %v, an end without anything to do: %t; want %q, %t", err, other != nil, tt.want, tt.idle)
			}
		})
	}
}

// netplan is a system whose network netplan gives to systemd-networkd.
var netplan = map[string]string{
	"usr/lib/NetworkManager/conf.d/10-globally-managed-devices.conf": "[keyfile]\nunmanaged-devices=*,except:type:wifi\n",
	"usr/lib/systemd/system/systemd-networkd.service":                "[Unit]\n",
	"usr/sbin/netplan":               "",
	"etc/netplan/50-cloud-init.yaml": "network: {ethernets: {eth0: {dhcp4: true}}}\n",
}

const byNetplan = "netplan gives the network to systemd-networkd"

// A boot in which cloud-init's local stage has written netplan's file keeps its order, but
// the run and the fallback go by the file.
func TestRunAndFallbackGoByTheFiles(t *testing.T) {
	for name, step := range map[string]func(*Daemon) error{
		"run":      func(d *Daemon) error { return d.Run(t.Context()) },
		"fallback": func(d *Daemon) error { return d.Fallback(t.Context()) },
	} {
		d, _ := newDaemon(machine(t, with(netplan, dmi, kvm)), config.Default())
		if err := cloudinit.NoSearch(filepath.Join(d.Root, RunDir)); err != nil {
			t.Fatal(err)
		}
		if reason, _ := NeverStarts(d.Root, d.Config); reason != "" {
			t.Errorf("%s: got %q for the generator, want that the order stays", name, reason)
		}
		d.Config.Deadline = 500 * time.Millisecond
		if err := step(d); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if s, err := ReadState(d.Root); err != nil || s.Phase != Idle || s.Text != "nothing to do: "+byNetplan {
			t.Errorf("%s: got the state %+v, error %v, want %s as %s", name, s, err, Idle, byNetplan)
		}
		if _, err := os.Lstat(filepath.Join(d.Root, RunDir, "private/cloud.cfg")); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: what tells cloud-init not to search: got %v, want %v", name, err, fs.ErrNotExist)
		}
		if reason, _ := NeverStarts(d.Root, d.Config); reason != "" {
			t.Errorf("%s: got %q for the generator after that, want that the order stays", name, reason)
		}
	}
	root := machine(t, with(netplan, dmi, kvm))
	if reason, _ := NeverStarts(root, config.Default()); reason != byNetplan {
		t.Errorf("got %q for the generator at the start of the boot, want %q", reason, byNetplan)
	}
	if reason, _ := NeverStarts(machine(t, map[string]string{RunDir + "/private/lock": ""}), config.Default()); !strings.Contains(reason, "not on CloudStack") {
		t.Errorf("got %q on another machine, want that it is not on CloudStack", reason)
	}
}

func TestOtherServiceRuns(t *testing.T) {
	for _, tt := range []struct {
		name         string
		files        map[string]string
		before, then string
	}{
		{"nothing", nil, "", ""},
		{"netplan", netplan, byNetplan, byNetplan},
		{"netplan, in a boot that began without it", with(netplan, RunDir+"/private/cloud.cfg", ""), byNetplan, byNetplan},
		{"systemd-networkd's word", nics(), "", "eth0 and eth1 belong to systemd-networkd"},
		{"two services", with(with(with(nics(), "run/systemd/netif/links/2", ""), "usr/sbin/ifup", ""), "etc/network/interfaces", "iface eth0 inet dhcp\n"),
			"", "eth0 belongs to ifupdown, eth1 belongs to systemd-networkd"},
		{"only one device", with(nics(), "run/systemd/netif/links/2", ""), "", ""},
	} {
		root := machine(t, tt.files)
		if before, then := OtherService(root), OtherServiceRuns(root); before != tt.before || then != tt.then {
			t.Errorf("%s: got %q, and %q once the services have started, want %q and %q", tt.name, before, then, tt.before, tt.then)
		}
	}
}

// What was written before cloud-init's local stage must not reach its network stage, or
// cloud-init does not look for the virtual router itself.
func TestIdleRunTakesNoSearchBack(t *testing.T) {
	d, _ := newDaemon(machine(t, map[string]string{dmi: kvm, status: local}), config.Default())
	if err := cloudinit.NoSearch(filepath.Join(d.Root, RunDir)); err != nil {
		t.Fatal(err)
	}
	if err := d.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s, err := ReadState(d.Root); err != nil || s.Phase != Idle {
		t.Errorf("got the state %+v, error %v, want %s", s, err, Idle)
	}
	if _, err := os.Lstat(filepath.Join(d.Root, RunDir, "private/cloud.cfg")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what tells cloud-init not to search: got %v, want %v", err, fs.ErrNotExist)
	}
}

// The same for a run that was killed: systemd-networkd says that the network is its own.
func TestFallbackTakesNoSearchBackWhereNetworkdRunsTheDevices(t *testing.T) {
	d, _ := newDaemon(machine(t, with(nics(), dmi, kvm)), config.Default())
	if err := cloudinit.NoSearch(filepath.Join(d.Root, RunDir)); err != nil {
		t.Fatal(err)
	}
	if err := d.Fallback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s, err := ReadState(d.Root); err != nil || s.Phase != Idle || s.Text != "nothing to do: eth0 and eth1 belong to systemd-networkd" {
		t.Errorf("got the state %+v, error %v, want %s", s, err, Idle)
	}
	if _, err := os.Lstat(filepath.Join(d.Root, RunDir, "private/cloud.cfg")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what tells cloud-init not to search: got %v, want %v", err, fs.ErrNotExist)
	}
}

// NetworkManager manages eth1, and its run fails: cloud-init may find the virtual router
// by systemd-networkd's lease on eth0.
func TestFailedRunTakesNoSearchBackWhereAnotherServiceHasADevice(t *testing.T) {
	const eth0 = "run/systemd/netif/links/2"
	for name, files := range map[string]map[string]string{
		"systemd-networkd has eth0": with(nics(), "run/systemd/netif/links/3", "ADMIN_STATE=unmanaged\n"),
		"no other service":          with(with(nics(), "run/systemd/netif/links/3", ""), eth0, "ADMIN_STATE=unmanaged\n"),
	} {
		d, _ := newDaemon(machine(t, with(files, dmi, kvm)), config.Default())
		t.Setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path="+filepath.Join(d.Root, "none"))
		d.Config.Deadline = 500 * time.Millisecond
		if err := cloudinit.NoSearch(filepath.Join(d.Root, RunDir)); err != nil {
			t.Fatal(err)
		}
		if err := d.Run(t.Context()); err == nil {
			t.Errorf("%s: got no error, want one", name)
		}
		_, err := os.Lstat(filepath.Join(d.Root, RunDir, "private/cloud.cfg"))
		if looks := errors.Is(err, fs.ErrNotExist); looks != (name != "no other service") {
			t.Errorf("%s: cloud-init looks for the virtual router itself: %t", name, looks)
		}
	}
}
