package systemd

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	lib = "usr/lib/systemd/system/"
	etc = "etc/systemd/system/"
)

// early, default-dependency and enabled units for the tables.
func enabled(name string) string { return etc + "multi-user.target.wants/" + name }

// TestPlan changes a release's units and looks at what becomes of the plan. In
// each case systemd itself must find no cycle, and start the network stage.
func TestPlan(t *testing.T) {
	const run = "[Service]\nExecStart=/bin/true\n"
	const wants = "cloud-init.target.wants/nm-cloud-seed"
	links := []string{"cloud-init-local.service.d/nm-cloud-seed.conf", wants + "-cleanup.service", wants + "-heal.service", wants + "-ssh-keys.service", wants + ".service"}
	right := append([]string{"cloud-init-network.service.d/nm-cloud-seed.conf"}, links...)
	moved := append([]string{"cloud-init-main.service.d/nm-cloud-seed.conf", "cloud-init-network.service.d/nm-cloud-seed.conf"}, links...)
	rhel := "[Unit]\nDefaultDependencies=no\nAfter=cloud-init-local.service NetworkManager.service\nBefore=network-online.target\nConflicts=shutdown.target\nBefore=shutdown.target\n" + run
	for _, tt := range []struct {
		name     string
		suite    string
		change   map[string]string // "" removes
		ordering Ordering
		files    []string
		text     []string // of the files, all together; "!" for what is not there
		held     []string // "!" for who is not
		loud     []string // left out, with the way to the stage
		notes    []string
		cycle    bool // one that was there before us
	}{
		{name: "no cloud-init", suite: "trixie", change: map[string]string{lib + "cloud-init-network.service": ""}, notes: []string{"cloud-init is not installed"}},
		{name: "stage masked", suite: "trixie", change: map[string]string{etc + "cloud-init-network.service": "-> /dev/null"}, notes: []string{"cloud-init is not installed"}},
		{name: "no NetworkManager", suite: "trixie", change: map[string]string{lib + "NetworkManager.service": ""}, notes: []string{"NetworkManager.service is not started"}},
		{name: "NetworkManager disabled", suite: "trixie", change: map[string]string{enabled("NetworkManager.service"): "", etc + "network-online.target.wants/NetworkManager-wait-online.service": ""}, notes: []string{"NetworkManager.service is not started"}},
		{name: "our service masked", suite: "trixie", change: map[string]string{etc + Service: "-> /dev/null"}, notes: []string{"nm-cloud-seed.service is not installed"}},
		{
			name: "RHEL's order", suite: "trixie",
			change: map[string]string{lib + "cloud-init-network.service": rhel},
			files:  right, notes: []string{"the order is right already"},
			text: []string{"ExecStartPre=-/usr/bin/nm-cloud-seed fallback\n", "!await-hostname"},
		},
		{
			name: "RHEL's order, early", suite: "trixie", ordering: Early,
			change: map[string]string{lib + "cloud-init-network.service": rhel},
			files:  right, notes: []string{"the order is right already"},
			text: []string{"ExecStartPre=-/usr/bin/nm-cloud-seed fallback\n", "!await-hostname"},
		},
		{
			name: "an administrator's stage", suite: "trixie",
			change: map[string]string{etc + "cloud-init-network.service": "[Unit]\nDefaultDependencies=no\nBefore=basic.target\\\n# why\n sysinit.target \\\nnetwork-online.target\n" + run},
			files:  append([]string{"early/cloud-init-network.service"}, moved...),
			text:   []string{"from /etc/systemd/system/cloud-init-network.service", "[Unit]\nDefaultDependencies=no\n# why\nBefore=network-online.target\n[Service]", "!sysinit"},
		},
		{
			name: "both names", suite: "trixie",
			change: map[string]string{lib + "cloud-init.service": "[Unit]\nDefaultDependencies=no\nBefore=sysinit.target\n" + run, etc + "cloud-init.target.wants/cloud-init.service": "-> /x/cloud-init.service"},
			files:  append([]string{"cloud-init-network.service", "cloud-init.service", "cloud-init.service.d/nm-cloud-seed.conf"}, moved...),
		},
		{
			name: "all stages in one process, a systemd without early sessions", suite: "trixie",
			change: map[string]string{lib + "capsule@.service": ""},
			files:  append([]string{"cloud-init-network.service", "cloud-init-network.service.d/nm-cloud-seed.conf"}, links...),
		},
		{
			name: "one name is an alias", suite: "trixie",
			change: map[string]string{etc + "cloud-init.service": "-> /usr/lib/systemd/system/cloud-init-network.service"},
			files:  append([]string{"cloud-init-network.service"}, moved...),
		},
		{
			name: "a drop-in", suite: "bookworm",
			change: map[string]string{
				etc + "cloud-init.service.d/x.conf": "[Unit]\nBefore=sysinit.target foo.service\n[Service]\nTimeoutSec=9\n",
				etc + "cloud-init.service.d/y.conf": "[Unit]\nAfter=foo.target\n",
			},
			files: append([]string{"cloud-init.service", "early/cloud-init.service.d/x.conf", "cloud-init.service.d/nm-cloud-seed.conf"}, links...),
			text:  []string{"[Unit]\nBefore=foo.service\n[Service]\nTimeoutSec=9\n", "!Before=sysinit"},
		},
		{
			name: "hotplug socket of 24.3", suite: "trixie",
			change: map[string]string{lib + "cloud-init-hotplugd.socket": "[Unit]\nAfter=cloud-config.target\n[Socket]\nListenFIFO=/run/cloud-init/share/hook-hotplug-cmd\n", etc + "cloud-config.target.wants/cloud-init-hotplugd.socket": "-> /x/cloud-init-hotplugd.socket"},
			files:  append([]string{"cloud-init-hotplugd.socket.d/nm-cloud-seed.conf", "cloud-init-network.service"}, moved...),
			text:   []string{"DefaultDependencies=no\nConflicts=shutdown.target\nBefore=shutdown.target\n"},
		},
		{
			name: "after network.target and before cloud-init", suite: "trixie",
			change: map[string]string{lib + "a.service": "[Unit]\nAfter=network.target\nBefore=cloud-init-network.service\n" + run, enabled("a.service"): "-> /x/a.service"},
			files:  append([]string{"cloud-init-network.service"}, moved...),
			text:   []string{"!\nBefore=network.target"},
			held:   []string{"cron.service", "!a.service"},
			loud:   []string{"network.target before a.service before cloud-init-network.service"},
		},
		{
			name: "before somebody before cloud-init", suite: "trixie",
			change: map[string]string{
				lib + "a.service": "[Unit]\nBefore=b.service\n" + run, enabled("a.service"): "-> /x/a.service",
				lib + "b.service": "[Unit]\nBefore=cloud-init-network.service\n" + run,
			},
			files: append([]string{"cloud-init-network.service"}, moved...),
			held:  []string{"cron.service", "!a.service"},
			loud:  []string{"a.service before b.service before cloud-init-network.service"},
		},
		{
			name: "what others may need meanwhile", suite: "trixie",
			change: map[string]string{
				lib + "users.service": "[Unit]\nBefore=nss-user-lookup.target\n" + run, enabled("users.service"): "-> /x/users.service",
				lib + "forlogin.service": "[Unit]\nBefore=systemd-logind.service\n" + run, enabled("forlogin.service"): "-> /x/forlogin.service",
				lib + "bus.service": "[Service]\nType=dbus\nBusName=a.b\nExecStart=/bin/true\n", enabled("bus.service"): "-> /x/bus.service",
				lib + "late.service": "[Unit]\nAfter=network.target\n[Service]\nType=dbus\nBusName=a.c\nExecStart=/bin/true\n", enabled("late.service"): "-> /x/late.service",
				lib + "normal.service": run, enabled("normal.service"): "-> /x/normal.service",
				lib + "t.timer": "[Timer]\nOnBootSec=1\n", lib + "t.service": run, etc + "timers.target.wants/t.timer": "-> /x/t.timer",
				lib + "early.service": "[Unit]\nDefaultDependencies=no\n" + run, enabled("early.service"): "-> /x/early.service",
				lib + "i@.service": run, enabled("i@1.service"): "-> /x/i@.service",
			},
			files: append([]string{"cloud-init-network.service"}, moved...),
			held:  []string{"!users.service", "!forlogin.service", "!bus.service", "!early.service", "!t.service", "late.service", "normal.service", "t.timer", "i@1.service"},
		},
		{
			// Whoever connects to a socket waits for its service.
			name: "a socket of what is held", suite: "trixie",
			change: map[string]string{
				lib + "a.socket": "[Socket]\nListenStream=/run/a\n", etc + "sockets.target.wants/a.socket": "-> /x/a.socket",
				lib + "a.service": run, enabled("a.service"): "-> /x/a.service",
				// Not held itself, but behind network.target.
				lib + "b.socket": "[Socket]\nListenStream=/run/b\n", etc + "sockets.target.wants/b.socket": "-> /x/b.socket",
				lib + "b.service": "[Unit]\nAfter=network.target\n" + run,
				// Can answer at once.
				lib + "c.socket": "[Socket]\nListenStream=/run/c\n", etc + "sockets.target.wants/c.socket": "-> /x/c.socket",
				lib + "c.service": run,
				// cloud-init waits for the socket.
				lib + "d.socket": "[Unit]\nBefore=cloud-init-network.service\n[Socket]\nListenStream=/run/d\n", etc + "sockets.target.wants/d.socket": "-> /x/d.socket",
				lib + "d.service": run, enabled("d.service"): "-> /x/d.service",
			},
			files: append([]string{"cloud-init-network.service", "a.socket.d/nm-cloud-seed.conf", "b.socket.d/nm-cloud-seed.conf"}, moved...),
			text:  []string{"DefaultDependencies=no\nConflicts=shutdown.target\nRequires=sysinit.target\nAfter=sysinit.target\nBefore=shutdown.target\n"},
			held:  []string{"a.service", "a.socket", "b.socket", "!c.socket", "!d.socket", "!d.service"},
		},
		{
			name: "what a path starts", suite: "trixie",
			change: map[string]string{lib + "a.path": "[Path]\nPathExists=/a\n", enabled("a.path"): "-> /x/a.path", lib + "a.service": run},
			files:  append([]string{"cloud-init-network.service"}, moved...),
			held:   []string{"a.service"},
		},
		{
			// machine-id(5): systemd enables it after the generators.
			name: "a first boot", suite: "trixie",
			change: map[string]string{"etc/machine-id": "uninitialized\n", lib + "a.service": run + "[Install]\nWantedBy=multi-user.target\n", lib + "b.service": run + "[Install]\nWantedBy=other.target\n"},
			files:  append([]string{"cloud-init-network.service"}, moved...),
			held:   []string{"a.service", "!b.service"},
		},
		{
			// In the boot itself, systemd has put an id there by now.
			name: "a first boot, later", suite: "trixie",
			change: map[string]string{"run/systemd/first-boot": "x", lib + "a.service": run + "[Install]\nWantedBy=multi-user.target\n"},
			files:  append([]string{"cloud-init-network.service"}, moved...),
			held:   []string{"a.service"},
		},
		{
			name: "not a first boot", suite: "trixie",
			change: map[string]string{"etc/machine-id": "", lib + "a.service": run + "[Install]\nWantedBy=multi-user.target\n"},
			files:  append([]string{"cloud-init-network.service"}, moved...),
			held:   []string{"!a.service"},
		},
		{
			// As all Debian releases have it.
			name: "ssh.socket", suite: "trixie",
			change: map[string]string{
				lib + "ssh.socket": "[Unit]\nBefore=sockets.target ssh.service\nConditionPathExists=!/x\n[Socket]\nListenStream=22\nAccept=no\n", etc + "sockets.target.wants/ssh.socket": "-> /x/ssh.socket",
			},
			files: append([]string{"cloud-init-network.service", "ssh.socket", "ssh.socket.d/nm-cloud-seed.conf"}, moved...),
			text:  []string{"[Unit]\nBefore=ssh.service\nCondition", "\nBefore=ssh.socket\n"},
			held:  []string{"ssh.socket"},
		},
		{
			// The one cannot be held, and so not what is before it.
			name: "a chain of sockets", suite: "trixie",
			change: map[string]string{
				lib + "a.socket": "[Unit]\nBefore=b.socket\n[Socket]\nListenStream=/run/a\n", etc + "sockets.target.wants/a.socket": "-> /x/a.socket",
				lib + "a.service": "[Unit]\nAfter=network.target\n" + run,
				lib + "b.socket":  "[Unit]\nBefore=cloud-final.service\n[Socket]\nListenStream=/run/b\n", etc + "sockets.target.wants/b.socket": "-> /x/b.socket",
				lib + "b.service": "[Unit]\nAfter=network.target\n" + run,
			},
			files: append([]string{"cloud-init-network.service"}, moved...),
			held:  []string{"cron.service", "!a.socket", "!b.socket"},
			notes: []string{"a.socket accepts while a.service waits", "b.socket accepts while b.service waits"},
		},
		{
			name: "a mount after cloud-init before local-fs.target", suite: "trixie",
			change: map[string]string{enabled("open-vm-tools.service"): "", "etc/fstab": "/dev/vdb /data ext4 x-systemd.after=cloud-init-network.service 0 2\n", etc + "data.mount": "[Unit]\nAfter=cloud-init-network.service\n[Mount]\nWhat=/dev/vdb\nWhere=/data\n", etc + "local-fs.target.requires/data.mount": "-> /x/data.mount"},
			notes:  []string{"nothing is changed", "data.mount", "ordering=early would make no cycle"},
		},
		{
			name: "the same, early", suite: "trixie", ordering: Early,
			change: map[string]string{enabled("open-vm-tools.service"): "", "etc/fstab": "/dev/vdb /data ext4 x-systemd.after=cloud-init-network.service 0 2\n"},
			text:   []string{"ordering: early"},
		},
		{
			name: "cloud-init's own mounts", suite: "trixie",
			change: map[string]string{"etc/fstab": "/dev/vdb\t/mnt\tauto\tdefaults,nofail,x-systemd.after=cloud-init-network.service,_netdev,comment=cloudconfig\t0\t2\n"},
			files:  append([]string{"cloud-init-network.service"}, moved...),
		},
		{
			name: "early would make a cycle", suite: "trixie", ordering: Early,
			change: map[string]string{lib + "dbus.socket": "[Unit]\nAfter=sysinit.target\n[Socket]\nListenStream=/run/dbus/system_bus_socket\n"},
			files:  append([]string{"cloud-init-network.service"}, moved...),
			notes:  []string{"ordering=early would make a cycle, using late"},
		},
		{
			name: "firewalld, early", suite: "bookworm", ordering: Early,
			text: []string{"firewalld.service.d"},
		},
		{
			name: "dbus-broker, early", suite: "bookworm", ordering: Early,
			change: map[string]string{lib + "dbus-broker.service": "[Unit]\nDefaultDependencies=false\nAfter=dbus.socket\nBefore=basic.target shutdown.target\nRequires=dbus.socket\nConflicts=shutdown.target\n" + run, etc + "dbus.service": "-> /usr/lib/systemd/system/dbus-broker.service"},
			text:   []string{"!dbus.service.d", "!dbus-broker.service.d", "dbus.socket.d"},
		},
		{
			name: "a cycle of others", suite: "trixie", cycle: true,
			change: map[string]string{lib + "a.service": "[Unit]\nAfter=b.service\n" + run, enabled("a.service"): "-> /x/a.service", lib + "b.service": "[Unit]\nAfter=a.service\n" + run, enabled("b.service"): "-> /x/b.service"},
			files:  append([]string{"cloud-init-network.service"}, moved...),
			held:   []string{"a.service", "b.service"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			files := sample(t, tt.suite)
			for name, text := range tt.change {
				delete(files, name)
				if text != "" || name == "etc/machine-id" {
					files[name] = text
				}
			}
			u := loadFiles(t, files)
			p := u.Plan(cmpOr(tt.ordering, Late))
			if tt.ordering != Early || tt.files != nil {
				if diff := cmp.Diff(slices.Sorted(slices.Values(tt.files)), names(p.Files)); diff != "" {
					t.Errorf("files (-want +got):\n%s", diff)
				}
			}
			has(t, p.String(), tt.text)
			has(t, strings.Join(append(p.Notes, p.Warnings...), "\n"), tt.notes)
			has(t, " "+strings.Join(p.Held, " ")+" ", spaced(tt.held))
			var loud []string
			for _, l := range p.LeftOut {
				if len(l.Through) > 0 {
					loud = append(loud, strings.Join(l.Through, " before "))
				}
			}
			if diff := cmp.Diff(tt.loud, loud); diff != "" {
				t.Errorf("left out (-want +got):\n%s", diff)
			}
			if len(p.Files) == 0 {
				return
			}
			after := u.With(p)
			if c := u.newCycle(p); c != nil || len(after.Cycles()) > 0 != tt.cycle {
				t.Errorf("got cycles %q, want some: %t", after.Cycles(), tt.cycle)
			}
			checkWithSystemd(t, files, p, tt.cycle, append(u.NetworkStages(), Service, networkManager)...)
			if !after.Started(Service) || u.Started(Service) {
				t.Errorf("got %s started: %t, %t before the plan, want true, false", Service, after.Started(Service), u.Started(Service))
			}
		})
	}
}

func cmpOr(a, b Ordering) Ordering {
	if a != "" {
		return a
	}
	return b
}

func spaced(list []string) []string {
	var all []string
	for _, name := range list {
		if bare, ok := strings.CutPrefix(name, "!"); ok {
			all = append(all, "! "+bare+" ")
		} else {
			all = append(all, " "+name+" ")
		}
	}
	return all
}

func has(t *testing.T, text string, want []string) {
	t.Helper()
	for _, w := range want {
		if w, not := strings.CutPrefix(w, "!"); strings.Contains(text, w) == not {
			t.Errorf("%q in it: %t\n%s", w, !not, text)
		}
	}
}
