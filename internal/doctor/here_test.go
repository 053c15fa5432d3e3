package doctor

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/nm-cloud-seed/nm-cloud-seed/datasource"
	"github.com/nm-cloud-seed/nm-cloud-seed/datasource/cloudstack"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/lease"
)

const (
	fetchedText = "seeded instance " + id + " from 10.1.1.1 (DHCP server on eth0)"
	generation  = "run/nm-cloud-seed/seed.d/1/"
	seedText    = "instance " + id + ", written 2 h ago, for root alone"
)

const (
	failedText = "it failed, and the VM lacks some of CloudStack's data:"
	seeLog     = "see /var/log/cloud-init.log, and cloud-init status --long"
)

const stuck = "see whether a unit of cloud-init's has failed or was left out: systemctl list-units --all 'cloud-*'; cloud-init status --long"

var (
	idle   = Check{"this-boot.service", Info, "nothing to do", nil, ""}
	noSeed = Check{"this-boot.seed", Info, "none in this boot", nil, ""}
)

var configDrive = Check{"this-boot.datasource", Info, "cloud-init has the VM's data from elsewhere: DataSourceConfigDrive, cloud-id cloudstack, instance " + id, nil, ""}

// here are changes to the healthy scene, with the checks that come out otherwise.
var here = []struct {
	name   string
	change func(s *scene)
	want   []Check
}{
	// Who says what.
	{"told by cloud-init's configuration", func(s *scene) { s.files["sys/class/dmi/id/product_name"] = "VMware Virtual Platform\n" }, []Check{
		{"platform.cloudstack", OK, "a CloudStack VM, says datasource_list: [ CloudStack ] in cloud-init's configuration", nil, ""},
		{"virtual-router.metadata", OK, "10.1.1.1 (DHCP server on eth0) would be taken, with instance " + id, []string{
			"DHCP server 10.1.1.1 on eth0: instance " + id + ", after 3 ms", "data-server on eth0: cannot resolve data-server: no such host, after 3 ms"}, ""},
	}},
	{"forced", func(s *scene) {
		s.files["proc/cmdline"] = "nm-cloud-seed=maybe nm-cloud-seed=force\n"
		s.files["etc/nm-cloud-seed.conf"] = "[main]\nplatform=none\n"
	}, []Check{
		{"platform.cloudstack", OK, "a CloudStack VM, says nm-cloud-seed=force on the kernel command line", []string{`ignoring nm-cloud-seed="maybe" on the kernel command line (known: off, force)`}, ""},
		{"nm-cloud-seed.switched-on", OK, "by the kernel command line, over platform=none", nil, ""},
	}},
	{"forced, without an order", func(s *scene) {
		s.files["proc/cmdline"] = "nm-cloud-seed=force\n"
		s.files["etc/nm-cloud-seed.conf"] = "[main]\nplatform=none\nordering=off\n"
	}, []Check{
		{"platform.cloudstack", OK, "a CloudStack VM, says nm-cloud-seed=force on the kernel command line", nil, ""},
		{"nm-cloud-seed.switched-on", Problem, "switched off by ordering=off: nothing is done", nil,
			"remove that line from /etc/nm-cloud-seed.conf, or the file in /etc/nm-cloud-seed.conf.d or /usr/lib/nm-cloud-seed/conf.d that has it"},
		{"ordering.deadlock", Problem, "cloud-init looks for CloudStack without a network: cloud-init.service before sysinit.target before NetworkManager.service", nil,
			"see to nm-cloud-seed, which changes that order at boot"},
		skip("ordering.plan", "nm-cloud-seed.switched-on"), skip("ordering.written", "ordering.plan"),
		skip("this-boot.service", "ordering.written"), skip("this-boot.seed", "this-boot.service"),
	}},
	{"switched off on the kernel command line", func(s *scene) { s.files["proc/cmdline"] = "nm-cloud-seed=off\n"; s.files["usr/sbin/update-grub"] = "" }, []Check{
		{"nm-cloud-seed.switched-on", Problem, "switched off on the kernel command line: nothing is done", nil,
			"take nm-cloud-seed=off out of /etc/default/grub, make GRUB's configuration anew (update-grub or grub2-mkconfig), and reboot"},
		skip("ordering.plan", "nm-cloud-seed.switched-on"), skip("ordering.written", "ordering.plan"),
		skip("this-boot.service", "ordering.written"), skip("this-boot.seed", "this-boot.service"),
	}},
	{"switched off in the configuration", func(s *scene) { s.files["etc/nm-cloud-seed.conf"] = "[main]\nplatform=none\n" }, []Check{
		{"nm-cloud-seed.switched-on", Problem, "switched off by platform=none: nothing is done", nil,
			"remove that line from /etc/nm-cloud-seed.conf, or the file in /etc/nm-cloud-seed.conf.d or /usr/lib/nm-cloud-seed/conf.d that has it"},
		skip("ordering.plan", "nm-cloud-seed.switched-on"), skip("ordering.written", "ordering.plan"),
		skip("this-boot.service", "ordering.written"), skip("this-boot.seed", "this-boot.service"),
	}},

	// cloud-init.
	{"cloud-init disabled on the kernel command line", func(s *scene) { s.disabled(); s.files["proc/cmdline"] = "cloud-init=disabled\n" }, []Check{
		{"cloud-init.enabled", Problem, "cloud-init=disabled on the kernel command line", nil, "take that word out of the kernel command line, and reboot"},
		skip("ordering.written", "cloud-init.enabled"), skip("this-boot.service", "ordering.written"), skip("this-boot.seed", "this-boot.service"),
		skip("this-boot.cloud-init", "cloud-init.enabled"), skip("this-boot.datasource", "this-boot.cloud-init"), skip("this-boot.units", "cloud-init.enabled"),
	}},
	{"cloud-init disabled by a file", func(s *scene) { s.disabled(); s.files["etc/cloud/cloud-init.disabled"] = "" }, []Check{
		{"cloud-init.enabled", Problem, "/etc/cloud/cloud-init.disabled exists", nil, "rm /etc/cloud/cloud-init.disabled"},
		skip("ordering.written", "cloud-init.enabled"), skip("this-boot.service", "ordering.written"), skip("this-boot.seed", "this-boot.service"),
		skip("this-boot.cloud-init", "cloud-init.enabled"), skip("this-boot.datasource", "this-boot.cloud-init"), skip("this-boot.units", "cloud-init.enabled"),
	}},
	{"no datasource by ds-identify", func(s *scene) { s.disabled(); s.files["run/cloud-init/disabled"] = "" }, []Check{
		{"cloud-init.enabled", Problem, "in this boot its generator (ds-identify) found no datasource, so that it did not start (/run/cloud-init/disabled)", nil,
			"reboot: the datasource_list says CloudStack by now"},
		skip("ordering.written", "cloud-init.enabled"), skip("this-boot.service", "ordering.written"), skip("this-boot.seed", "this-boot.service"),
		skip("this-boot.cloud-init", "cloud-init.enabled"), skip("this-boot.datasource", "this-boot.cloud-init"), skip("this-boot.units", "cloud-init.enabled"),
	}},
	{"no datasource by ds-identify, with a longer list", func(s *scene) {
		s.disabled()
		s.files["run/cloud-init/disabled"], s.files["etc/cloud/cloud.cfg"] = "", "datasource_list: [ CloudStack, None ]\n"
	}, []Check{
		{"cloud-init.enabled", Problem, "in this boot its generator (ds-identify) found no datasource, so that it did not start (/run/cloud-init/disabled)", nil,
			`write exactly "datasource_list: [ CloudStack ]" to /etc/cloud/cloud.cfg.d/90-cloudstack.cfg, and reboot`},
		{"cloud-init.datasources", OK, "CloudStack is found by its firmware", nil, ""},
		skip("ordering.written", "cloud-init.enabled"), skip("this-boot.service", "ordering.written"), skip("this-boot.seed", "this-boot.service"),
		skip("this-boot.cloud-init", "cloud-init.enabled"), skip("this-boot.datasource", "this-boot.cloud-init"), skip("this-boot.units", "cloud-init.enabled"),
	}},
	{"a longer list, on KVM", func(s *scene) { s.files["etc/cloud/cloud.cfg"] = "datasource_list: [ CloudStack, None ]\n" }, []Check{
		{"cloud-init.datasources", OK, "CloudStack is found by its firmware", nil, ""},
	}},
	{"told on the kernel command line", func(s *scene) {
		s.files["sys/class/dmi/id/product_name"] = "HVM domU\n"
		s.files["etc/nm-cloud-seed.conf"] = "[main]\nplatform=cloudstack\n"
		s.files["etc/cloud/cloud.cfg"] = "datasource_list: [ NoCloud, CloudStack ]\n"
		s.files["proc/cmdline"] = "quiet ci.ds=CloudStack\n"
		s.password = nil
	}, []Check{
		{"platform.cloudstack", OK, "a CloudStack VM, says platform=cloudstack in the configuration", nil, ""},
		{"cloud-init.datasources", OK, "CloudStack, says the kernel command line", nil, ""},
		{"nm-cloud-seed.switched-on", OK, "platform=cloudstack, ordering=late", nil, ""},
		{"virtual-router.metadata", OK, "10.1.1.1 (DHCP server on eth0) would be taken, with instance " + id, []string{
			"DHCP server 10.1.1.1 on eth0: instance " + id + ", after 3 ms", "data-server on eth0: cannot resolve data-server: no such host, after 3 ms"}, ""},
		{"virtual-router.passwords", Warning, "there is no password server: a password that is reset in CloudStack does not come to this VM", nil,
			"see that it runs on the network's virtual router (port 8080), or set password=no in /etc/nm-cloud-seed.conf"},
	}},
	{"a longer list, elsewhere", func(s *scene) {
		s.configDrive()
		s.files["sys/class/dmi/id/product_name"] = "HVM domU\n"
		s.files["etc/nm-cloud-seed.conf"] = "[main]\nplatform=cloudstack\n"
		s.files["etc/cloud/cloud.cfg"] = "datasource_list: [ CloudStack, None ]\n"
	}, []Check{
		{"platform.cloudstack", OK, "a CloudStack VM, says platform=cloudstack in the configuration", nil, ""},
		{"cloud-init.datasources", Problem, "cloud-init does not find CloudStack: the datasource_list at /etc/cloud/cloud.cfg:1 has more than that, and the firmware does not name it", nil, `write exactly "datasource_list: [ CloudStack ]" there`},
		{"nm-cloud-seed.switched-on", OK, "platform=cloudstack, ordering=late", nil, ""},
		{"virtual-router.metadata", OK, "10.1.1.1 (DHCP server on eth0) would be taken, with instance " + id, []string{
			"DHCP server 10.1.1.1 on eth0: instance " + id + ", after 3 ms", "data-server on eth0: cannot resolve data-server: no such host, after 3 ms"}, ""},
		idle, noSeed, configDrive,
	}},
	{"no list, elsewhere", func(s *scene) {
		s.configDrive()
		s.files["proc/cmdline"] = "nm-cloud-seed=force\n"
		s.files["sys/class/dmi/id/product_name"] = ""
		s.files["etc/cloud/cloud.cfg"] = ""
	}, []Check{
		{"platform.cloudstack", OK, "a CloudStack VM, says nm-cloud-seed=force on the kernel command line", nil, ""},
		{"cloud-init.datasources", Problem, "cloud-init does not find CloudStack: no datasource_list says so, nor does the firmware", nil, `write exactly "datasource_list: [ CloudStack ]" to /etc/cloud/cloud.cfg.d/90-cloudstack.cfg`},
		{"virtual-router.metadata", OK, "10.1.1.1 (DHCP server on eth0) would be taken, with instance " + id, []string{
			"DHCP server 10.1.1.1 on eth0: instance " + id + ", after 3 ms", "data-server on eth0: cannot resolve data-server: no such host, after 3 ms"}, ""},
		idle, noSeed, configDrive,
	}},

	{"no list, but found", func(s *scene) {
		s.files["proc/cmdline"] = "nm-cloud-seed=force\n"
		s.files["sys/class/dmi/id/product_name"] = ""
		s.files["etc/cloud/cloud.cfg"] = ""
		s.routers = s.routers[:1]
	}, []Check{
		{"platform.cloudstack", OK, "a CloudStack VM, says nm-cloud-seed=force on the kernel command line", nil, ""},
		{"cloud-init.datasources", OK, "cloud-init has found CloudStack in this boot", nil, ""},
		{"virtual-router.metadata", OK, "10.1.1.1 (DHCP server on eth0) would be taken, with instance " + id, []string{"DHCP server 10.1.1.1 on eth0: instance " + id + ", after 3 ms"}, ""},
	}},

	// NetworkManager.
	{"NetworkManager is still starting", func(s *scene) { s.view.Starting = true }, []Check{
		{"NetworkManager.running", Info, "1.52.1, which is still starting", nil, ""},
	}},
	{"no bus", func(s *scene) { s.view, s.err = lease.View{}, errors.New("cannot connect to the system bus: no") }, []Check{
		{"NetworkManager.running", Problem, "cannot connect to the system bus: no", nil, "systemctl start dbus.socket NetworkManager"},
		skip("NetworkManager.devices", "NetworkManager.running"),
		skip("virtual-router.metadata", "NetworkManager.devices"), skip("virtual-router.passwords", "virtual-router.metadata"),
	}},
	{"NetworkManager does not answer", func(s *scene) { s.view, s.err = lease.View{Running: true}, errors.New("no answer") }, []Check{
		{"NetworkManager.running", Problem, "no answer", nil, "systemctl restart NetworkManager"},
		skip("NetworkManager.devices", "NetworkManager.running"),
		skip("virtual-router.metadata", "NetworkManager.devices"), skip("virtual-router.passwords", "virtual-router.metadata"),
	}},
	{"no device", func(s *scene) { s.view = lease.View{Running: true} }, []Check{
		{"NetworkManager.devices", Problem, "there is no wired device", nil, "see in CloudStack that the VM has a NIC, and in 'ip link' that its driver is there"},
		skip("virtual-router.metadata", "NetworkManager.devices"), skip("virtual-router.passwords", "virtual-router.metadata"),
	}},
	{"not connected", func(s *scene) {
		s.view.Leases, s.view.Devices = nil, []lease.Device{{Name: "eth0", Detail: "not connected"}}
	}, []Check{
		{"NetworkManager.devices", Problem, "no device has an IPv4 address:", []string{"eth0: not connected"}, "nmcli device connect eth0"},
		skip("virtual-router.metadata", "NetworkManager.devices"), skip("virtual-router.passwords", "virtual-router.metadata"),
	}},
	{"unmanaged", func(s *scene) {
		s.view.Leases, s.view.Devices = nil, []lease.Device{{Name: "eth0", Detail: "not managed by NetworkManager"}}
		s.files["usr/lib/NetworkManager/conf.d/10-globally-managed-devices.conf"] = "[keyfile]\nunmanaged-devices=*,except:type:wifi\n"
	}, []Check{
		{"NetworkManager.devices", Problem, "no device has an IPv4 address:", []string{"eth0: not managed by NetworkManager", "unmanaged-devices in /usr/lib/NetworkManager/conf.d/10-globally-managed-devices.conf: *"},
			"touch /etc/NetworkManager/conf.d/10-globally-managed-devices.conf, which takes its place, then systemctl reload NetworkManager"},
		skip("virtual-router.metadata", "NetworkManager.devices"), skip("virtual-router.passwords", "virtual-router.metadata"),
	}},
	{"the default network has no lease", func(s *scene) {
		s.view.Devices = append(s.view.Devices, lease.Device{Name: "eth1", Detail: lease.NotConnected})
		s.view.Leases[0].Routers = nil
	}, []Check{
		{"NetworkManager.devices", Warning, "no lease is of the VM's default network, which has the password and the current SSH keys:", []string{
			`eth0: 10.1.1.100/24 on "cloud-init eth0", DHCP server 10.1.1.1, no router, DNS 10.1.1.1 8.8.8.8`, "eth1: not connected"}, "nmcli device connect eth1"},
	}},
	{"the default network is left alone", func(s *scene) {
		s.view.Devices = append(s.view.Devices, lease.Device{Name: "eth1", Detail: lease.Unmanaged})
		s.view.Leases[0].Routers = nil
		s.files["etc/NetworkManager/conf.d/1.conf"] = "[keyfile]\nunmanaged-devices=eth1\n"
	}, []Check{
		{"NetworkManager.devices", Warning, "no lease is of the VM's default network, which has the password and the current SSH keys:", []string{
			`eth0: 10.1.1.100/24 on "cloud-init eth0", DHCP server 10.1.1.1, no router, DNS 10.1.1.1 8.8.8.8`, "eth1: not managed by NetworkManager",
			"unmanaged-devices in /etc/NetworkManager/conf.d/1.conf: eth1"}, "take that out there, then systemctl reload NetworkManager"},
	}},
	{"another device has no lease", func(s *scene) {
		s.view.Devices = append(s.view.Devices, lease.Device{Name: "cali1", Detail: lease.Unmanaged})
		s.view.Leases[0].Routers = nil
	}, []Check{
		{"NetworkManager.devices", OK, "", []string{
			`eth0: 10.1.1.100/24 on "cloud-init eth0", DHCP server 10.1.1.1, no router, DNS 10.1.1.1 8.8.8.8`, "cali1: not managed by NetworkManager"}, ""},
	}},
	{"the default network has a lease by now", func(s *scene) {
		s.view.Leases[0].Device = "eth1"
		s.view.Devices[0].Name = "eth1"
	}, []Check{
		{"NetworkManager.devices", OK, `eth1: 10.1.1.100/24 on "cloud-init eth0", DHCP server 10.1.1.1, router 10.1.1.1, DNS 10.1.1.1 8.8.8.8`, nil, ""},
		{"this-boot.service", Warning, fetchedText + "; the VM's default network, which has the password and the current SSH keys, has a lease by now", nil, "reboot"},
	}},
	{"two devices", func(s *scene) {
		s.view.Devices = append(s.view.Devices, lease.Device{Name: "eth1", Detail: "no carrier"})
		s.view.Leases[0].Server, s.view.Leases[0].DNS = cloudstack.Finding{}.Server, nil
	}, []Check{
		{"NetworkManager.devices", OK, "", []string{`eth0: 10.1.1.100/24 on "cloud-init eth0", no DHCP server, router 10.1.1.1, no DNS`, "eth1: no carrier"}, ""},
	}},

	// What the generator wrote.
	{"a unit was changed since", func(s *scene) { s.files["run/systemd/generator/cloud-init.service"] = "[Unit]\n" }, []Check{
		{"ordering.written", Info, "units have changed since the generator ran; at the next boot it will write something else for:", []string{"/run/systemd/generator/cloud-init.service is different"}, ""},
	}},
	{"part of it is masked", func(s *scene) {
		s.files["run/systemd/generator/cloud-init.target.wants/nm-cloud-seed.service"] = link + "/dev/null"
	}, []Check{
		{"ordering.written", Info, "units have changed since the generator ran; at the next boot it will write something else for:", []string{"/run/systemd/generator/cloud-init.target.wants/nm-cloud-seed.service is different"}, ""},
	}},

	// The virtual router.
	{"it does not know the VM", func(s *scene) {
		s.routers = []cloudstack.Finding{answer("router", "10.1.1.1", nil)}
		s.routers[0].Err, s.routers[0].Taken = datasource.ErrNotReady, false
	}, []Check{
		{"virtual-router.metadata", Problem, "nobody has metadata for this VM:", []string{"router 10.1.1.1 on eth0: not ready, after 3 ms"}, "it is there but has no data of this VM's: stop and start the VM in CloudStack, or restart its network with clean-up"},
		skip("virtual-router.passwords", "virtual-router.metadata"),
	}},
	{"nobody to ask", func(s *scene) { s.routers = nil }, []Check{
		{"virtual-router.metadata", Problem, "the lease names nobody to ask: no DHCP server, no router, no DNS server", nil, "use DHCP on the VM's default network, or add the virtual router's address to the profile as the gateway"},
		skip("virtual-router.passwords", "virtual-router.metadata"),
	}},
	{"another VM's, taken all the same", func(s *scene) {
		s.files["etc/nm-cloud-seed.conf"] = "[main]\ncheck-instance-id=no\n"
		s.routers = s.routers[:1]
		s.routers[0].ID = other
	}, []Check{
		{"virtual-router.metadata", Warning, "10.1.1.1 (DHCP server on eth0) would be taken, with instance " + other + ", and this machine is " + id + ": taken all the same, as check-instance-id=no says",
			[]string{"DHCP server 10.1.1.1 on eth0: instance " + other + ", after 3 ms"}, "let the VM have its address by DHCP, as CloudStack shows it"},
		{"this-boot.seed", Warning, seedText + "; the virtual router has instance " + other + " now", nil, "reboot"},
	}},
	{"password=no", func(s *scene) { s.files["etc/nm-cloud-seed.conf"] = "[main]\npassword=no\n"; s.password = nil }, []Check{
		{"virtual-router.passwords", Info, "not looked for, as password=no says", nil, ""},
	}},
	{"no password server", func(s *scene) { s.password = []cloudstack.Finding{answer("DHCP server", "10.1.1.1", errSilent)} }, []Check{
		{"virtual-router.passwords", Warning, "there is no password server: a password that is reset in CloudStack does not come to this VM", []string{"DHCP server 10.1.1.1 on eth0: no answer in time, after 3 ms"},
			"see that it runs on the network's virtual router (port 8080), or set password=no in /etc/nm-cloud-seed.conf"},
	}},

	// The service's run.
	{"it has not run", func(s *scene) { s.nothingRun() }, []Check{
		{"this-boot.service", Problem, "it has not run since the system started", nil, "systemctl status nm-cloud-seed; journalctl -b -u nm-cloud-seed"},
		skip("this-boot.seed", "this-boot.service"),
		{"this-boot.datasource", Problem, "none: cloud-init set the VM up without CloudStack's data", nil, "see to what is wrong above, then reboot"},
	}},
	{"a damaged state", func(s *scene) { s.files["run/nm-cloud-seed/status.json"] = `{"phase":` }, []Check{
		{"this-boot.service", Problem, "cannot read the service's state: /run/nm-cloud-seed/status.json: unexpected end of JSON input", nil, "systemctl restart nm-cloud-seed"},
		skip("this-boot.seed", "this-boot.service"),
	}},
	{"still at work", func(s *scene) {
		s.up = 10 * time.Minute
		s.files["run/nm-cloud-seed/status.json"] = `{"phase":"leasing","text":"waiting for a lease","process":{"pid":0},"steps":[]}`
		s.files["run/cloud-init/status.json"] = `{"v1":{"stage":"init-local","datasource":null}}`
		delete(s.files, "run/nm-cloud-seed/seed")
		delete(s.files, "run/cloud-init/cloud-id")
	}, []Check{
		{"this-boot.service", Info, "still at work: waiting for a lease", nil, ""},
		{"this-boot.seed", Info, "none in this boot", nil, ""},
		{"this-boot.cloud-init", Info, "under way, in its local stage", nil, ""},
		{"this-boot.datasource", Info, "none yet", nil, ""},
	}},
	{"nothing to do then", func(s *scene) {
		s.files["run/nm-cloud-seed/status.json"] = status(`"phase":"idle","text":"nothing to do: cloud-init already has its datasource: DataSourceConfigDrive"`)
		s.files["run/cloud-init/status.json"] = `{"v1":{"stage":null,"datasource":"DataSourceConfigDrive [net,ver=2][source=/dev/vdb]"}}`
		delete(s.files, "run/nm-cloud-seed/seed")
	}, []Check{
		{"this-boot.service", Info, "nothing to do: cloud-init already has its datasource: DataSourceConfigDrive", nil, ""},
		{"this-boot.seed", Info, "none in this boot", nil, ""},
		{"this-boot.datasource", Info, "cloud-init has the VM's data from elsewhere: DataSourceConfigDrive, cloud-id cloudstack, instance " + id, nil, ""},
	}},
	{"the virtual router is back", func(s *scene) {
		s.failed("no instance metadata before the deadline")
		s.files["run/nm-cloud-seed/status.json"] = status(`"phase":"failed","text":"x","error":"no instance metadata before the deadline"`)
	}, []Check{
		{"this-boot.service", Problem, "no instance metadata before the deadline", nil, "the virtual router answers now: reboot"},
		skip("this-boot.seed", "this-boot.service"),
		{"this-boot.datasource", Skipped, "none, as this-boot.service failed: cloud-init set the VM up without CloudStack's data", nil, ""},
	}},
	{"the virtual router is back, and nobody waits for it", func(s *scene) {
		s.failed("no instance metadata before the deadline")
		s.files["run/nm-cloud-seed/wanting"] = ""
		s.files["run/nm-cloud-seed/status.json"] = status(`"phase":"failed","text":"x","error":"no instance metadata before the deadline"`)
	}, []Check{
		{"this-boot.service", Problem, "no instance metadata before the deadline", nil, "the virtual router answers now: nm-cloud-seed refresh, and see nm-cloud-seed status --watch"},
		skip("this-boot.seed", "this-boot.service"),
		{"this-boot.datasource", Skipped, "none, as this-boot.service failed: cloud-init set the VM up without CloudStack's data", nil, ""},
	}},
	{"seeded from the last boot, and nobody waits for the virtual router", func(s *scene) {
		s.files["run/nm-cloud-seed/wanting"] = ""
		s.files["run/nm-cloud-seed/status.json"] = status(`"phase":"ready","text":"seeded","error":"silent",` + strings.Replace(seeded, `"source":"virtual router"`, `"source":"copy of the last boot"`, 1))
	}, []Check{
		{"this-boot.service", Warning, "seeded, fetched 3 days ago, not from the virtual router: silent", nil, "the virtual router answers now: nm-cloud-seed refresh, and see nm-cloud-seed status --watch"},
	}},
	{"the run was killed after it had written the seed", func(s *scene) {
		s.files["run/nm-cloud-seed/status.json"] = status(`"phase":"ready","text":"seeded; then the run was killed","error":"the run was killed",` + seeded)
	}, []Check{
		{"this-boot.service", Warning, "seeded; then the run was killed", nil, "journalctl -b -u nm-cloud-seed"},
	}},
	{"a refresh has failed", func(s *scene) {
		s.files["run/nm-cloud-seed/status.json"] = status(`"phase":"ready","text":"` + fetchedText + `","refresh":{"text":"no virtual router","error":"no virtual router","started":"2026-11-26T10:00:00Z","ended":"2026-11-26T10:00:20Z"},` + seeded)
	}, []Check{
		{"this-boot.service", OK, fetchedText, []string{"refresh: no virtual router"}, ""},
	}},
	{"it came too late", func(s *scene) {
		s.files["run/cloud-init/status.json"] = `{"v1":{"stage":null,"datasource":"DataSourceNone"}}`
		s.files["run/nm-cloud-seed/status.json"] = status(`"phase":"failed","text":"x","error":"the data is there now, and counts from the next boot on",` + seeded)
	}, []Check{
		{"this-boot.service", Problem, "the data is there now, and counts from the next boot on", nil, "the virtual router answers now: reboot"},
		skip("this-boot.seed", "this-boot.service"),
		{"this-boot.datasource", Skipped, "none, as this-boot.service failed: cloud-init set the VM up without CloudStack's data", nil, ""},
	}},
	{"all that a run may say", func(s *scene) {
		s.files["run/nm-cloud-seed/status.json"] = status(`"phase":"ready","text":"` + fetchedText + `","password":"applied","ssh-keys":"1 replaced","kept-connections":["eth0"],"temporary-connections":["eth1"],` +
			strings.Replace(seeded, `"keys":11`, `"keys":11,"warnings":["key \"x\" is left out"]`, 1))
	}, []Check{
		{"this-boot.service", OK, fetchedText, []string{
			"password: applied", "SSH keys: 1 replaced", "temporary connection: one of ours holds eth1",
			"temporary connection: one of ours stays on eth0 until shutdown, 'nm-cloud-seed keep' makes it permanent", `metadata: key "x" is left out`,
		}, ""},
	}},

	// The seed.
	{"somebody else's seed", func(s *scene) {
		delete(s.files, "var/lib/cloud/seed/cs")
		s.files["var/lib/cloud/seed/cs/meta-data"] = "SECRET"
	}, []Check{
		{"this-boot.seed", Problem, "/var/lib/cloud/seed/cs has another VM's data, which cloud-init takes for its own", nil, "rm -r /var/lib/cloud/seed/cs"},
	}},
	{"the link is gone", func(s *scene) { delete(s.files, "var/lib/cloud/seed/cs") }, []Check{
		{"this-boot.seed", Problem, "the service has seeded cloud-init, but nothing is at /var/lib/cloud/seed/cs", nil, "reboot, and see who removes it if that helps only once"},
	}},
	{"the link leads into it", func(s *scene) { s.files["var/lib/cloud/seed/cs"] = link + "/run/nm-cloud-seed/seed.d/1" }, []Check{
		{"this-boot.seed", Problem, "/var/lib/cloud/seed/cs leads to /run/nm-cloud-seed/seed.d/1 and not to /run/nm-cloud-seed/seed", nil, "ln -sfn /run/nm-cloud-seed/seed /var/lib/cloud/seed/cs, and reboot"},
	}},
	{"the inner link leads elsewhere", func(s *scene) { s.files["run/nm-cloud-seed/seed"] = link + "/tmp/x" }, []Check{
		{"this-boot.seed", Problem, "/run/nm-cloud-seed/seed leads to /tmp/x", nil, "rm /run/nm-cloud-seed/seed, and reboot"},
	}},
	{"half a seed", func(s *scene) { delete(s.files, generation+"user-data") }, []Check{
		{"this-boot.seed", Problem, "the seed is not complete: no such file or directory: /run/nm-cloud-seed/seed.d/1/user-data", nil, "reboot"},
	}},
	{"the seed is gone", func(s *scene) { delete(s.files, generation+"meta-data"); delete(s.files, generation+"user-data") }, []Check{
		{"this-boot.seed", Problem, "the seed is not complete: no such file or directory: /run/nm-cloud-seed/seed.d", nil, "reboot"},
	}},
	{"open to all", func(s *scene) {
		s.modes = map[string]os.FileMode{"run/nm-cloud-seed/seed.d": 0o711, "run/nm-cloud-seed/seed.d/1": 0o700, generation + "meta-data": 0o640, generation + "user-data": 0o600}
	}, []Check{
		{"this-boot.seed", Problem, "others than root may read the seed, which can hold secrets", nil, "chmod 600 /run/nm-cloud-seed/seed.d/1/meta-data && chmod 700 /run/nm-cloud-seed/seed.d"},
	}},
	{"no seed at all", func(s *scene) { s.files[generation+"meta-data"] = "SECRET: x" }, []Check{
		{"this-boot.seed", Problem, "/run/nm-cloud-seed/seed.d/1/meta-data cannot be read", nil, "reboot"},
	}},
	{"of another instance", func(s *scene) { s.files[generation+"meta-data"] = `{"instance-id":"` + other + `"}` }, []Check{
		{"this-boot.seed", Problem, "instance " + other + ", written 2 h ago, for root alone, but the service says that it seeded instance " + id, nil, "reboot"},
	}},
	{"the clock was put forward since", func(s *scene) { s.late = -time.Hour }, []Check{
		{"this-boot.seed", OK, "instance " + id + ", written 3 h ago, for root alone", nil, ""},
	}},

	// What cloud-init made of it.
	{"cloud-init has not run", func(s *scene) { delete(s.files, "run/cloud-init/status.json") }, []Check{
		{"this-boot.cloud-init", Problem, "cloud-init has not run since the system started", nil, "systemctl status cloud-init.target cloud-init-local.service"},
		skip("this-boot.datasource", "this-boot.cloud-init"),
	}},
	{"cloud-init's state is damaged", func(s *scene) { s.files["run/cloud-init/status.json"] = "[SECRET" }, []Check{
		{"this-boot.cloud-init", Problem, "cannot read /run/cloud-init/status.json: it is damaged", nil, "cloud-init status --long; a reboot writes the file anew"},
		skip("this-boot.datasource", "this-boot.cloud-init"),
	}},
	{"between two stages", func(s *scene) { s.up = 10 * time.Minute; delete(s.files, "run/cloud-init/result.json") }, []Check{
		{"this-boot.seed", OK, "instance " + id + ", written 10 min ago, for root alone", nil, ""},
		{"this-boot.cloud-init", Info, "under way", nil, ""},
	}},
	{"a stage that systemd left out", func(s *scene) { delete(s.files, "run/cloud-init/result.json") }, []Check{
		{"this-boot.cloud-init", Warning, "under way, 2 h after the system started", nil, stuck},
	}},
	{"a stage that was killed", func(s *scene) {
		s.files["run/cloud-init/status.json"] = `{"v1":{"stage":"modules-final","datasource":"DataSourceCloudStack"}}`
	}, []Check{
		{"this-boot.cloud-init", Warning, "under way, in its final stage, 2 h after the system started", nil, stuck},
	}},
	{"cloud-init's stages are run again", func(s *scene) {
		s.failed("no metadata")
		s.files["run/cloud-init/status.json"] = `{"v1":{"stage":"modules-final","datasource":"DataSourceCloudStack"}}`
	}, []Check{
		{"this-boot.service", Problem, "no metadata", []string{"healing: waiting for the virtual router"}, "see to what is wrong above; then it goes on by itself: nm-cloud-seed status --watch"},
		skip("this-boot.seed", "this-boot.service"),
		{"this-boot.cloud-init", Info, "under way, in its final stage", nil, ""},
		{"this-boot.datasource", OK, "DataSourceCloudStack, cloud-id none", nil, ""},
	}},
	{"cloud-init complains", func(s *scene) {
		s.files["run/cloud-init/status.json"] = `{"v1":{"stage":null,"datasource":"DataSourceCloudStack",
			"init":{"errors":[],"recoverable_errors":{"WARNING":["SECRET","SECRET"],"ERROR":["SECRET"],"DEPRECATED":["x"]}},
			"modules-final":{"errors":[],"recoverable_errors":{"CRITICAL":["SECRET"]}}}}`
	}, []Check{
		{"this-boot.cloud-init", Info, "all stages are done; it has complaints:", []string{"3 of the network stage", "1 of the final stage"}, "see /var/log/cloud-init.log, and cloud-init status --long"},
	}},
	{"only deprecations", func(s *scene) {
		s.files["run/cloud-init/status.json"] = `{"v1":{"stage":null,"datasource":"DataSourceCloudStack","init":{"recoverable_errors":{"DEPRECATED":["x"],"WARNING":[]}}}}`
	}, nil},
	{"a module failed", func(s *scene) {
		s.files["run/cloud-init/status.json"] = `{"v1":{"stage":null,"datasource":"DataSourceCloudStack","modules-config":{"errors":["('runcmd', E('SECRET'))"]}}}`
	}, []Check{
		{"this-boot.cloud-init", Warning, "these modules failed:", []string{"runcmd in the config stage"}, "see /var/log/cloud-init.log, and cloud-init status --long"},
	}},
	{"a stage failed, and found nothing", func(s *scene) {
		s.files["run/cloud-init/status.json"] = `{"v1":{"stage":null,"datasource":null,"init":{"errors":["SECRET"]}}}`
	}, []Check{
		{"this-boot.cloud-init", Problem, failedText, []string{"cloud-init's network stage failed"}, seeLog},
		skip("this-boot.datasource", "this-boot.cloud-init"),
	}},
	{"a stage failed with the seed", func(s *scene) { s.cloudInitFailed() }, []Check{
		{"this-boot.cloud-init", Problem, failedText, []string{"cloud-init's network stage failed", "runcmd in the final stage"}, seeLog},
		skip("this-boot.datasource", "this-boot.cloud-init"),
	}},
	{"a module that applies our data failed", func(s *scene) {
		s.files["run/cloud-init/status.json"] = `{"v1":{"stage":null,"datasource":"DataSourceCloudStack","init":{"errors":["('users-groups', E('SECRET'))"]}}}`
	}, []Check{
		{"this-boot.cloud-init", Problem, failedText, []string{"cloud-init's users_groups failed in its network stage"}, seeLog},
		skip("this-boot.datasource", "this-boot.cloud-init"),
	}},
	{"a module failed at an earlier boot", func(s *scene) {
		s.files["run/nm-cloud-seed/outcome.json"] = `{"state":"failed","instance-id":"` + id + `","earlier-failures":["cloud-init's users_groups failed at an earlier boot of this instance"]}`
	}, []Check{
		{"this-boot.cloud-init", Problem, failedText, []string{"cloud-init's users_groups failed at an earlier boot of this instance"}, seeLog},
		skip("this-boot.datasource", "this-boot.cloud-init"),
	}},
	{"the network stage was left out", func(s *scene) {
		s.files["run/cloud-init/status.json"] = `{"v1":{"stage":null,"datasource":null,"init":{"start":null}}}`
	}, []Check{
		{"this-boot.cloud-init", Problem, failedText, []string{"cloud-init's network stage did not run"}, seeLog},
		skip("this-boot.datasource", "this-boot.cloud-init"),
	}},
	{"a user sees what was recorded", func(s *scene) {
		s.root = false
		s.modes["run/cloud-init/status.json"] = 0
		s.modes["run/nm-cloud-seed/seed.d"] = 0o700
		s.files["run/nm-cloud-seed/outcome.json"] = `{"state":"failed","instance-id":"` + id + `","failures":["cloud-init's network stage failed"]}`
	}, []Check{
		{"this-boot.seed", Info, "there, with what is in it for root alone", nil, "sudo nm-cloud-seed doctor"},
		{"this-boot.cloud-init", Problem, failedText, []string{"cloud-init's network stage failed"}, seeLog},
		skip("this-boot.datasource", "this-boot.cloud-init"),
	}},
	{"units have failed", func(s *scene) { s.units = []string{"cloud-init-main.service", "cloud-final.service"} }, []Check{
		{"this-boot.units", Problem, "these units have failed:", []string{"cloud-init-main.service", "cloud-final.service"},
			"systemctl status cloud-init-main.service cloud-final.service; when the reason is gone, reboot, or: systemctl reset-failed cloud-init-main.service cloud-final.service"},
	}},
	{"units have failed, as the service did", func(s *scene) {
		s.units = []string{"cloud-init.service"}
		s.failed("no instance metadata before the deadline")
		s.files["run/nm-cloud-seed/status.json"] = status(`"phase":"failed","text":"x","error":"no instance metadata before the deadline"`)
	}, []Check{
		{"this-boot.service", Problem, "no instance metadata before the deadline", nil, "the virtual router answers now: reboot"},
		skip("this-boot.seed", "this-boot.service"),
		{"this-boot.datasource", Skipped, "none, as this-boot.service failed: cloud-init set the VM up without CloudStack's data", nil, ""},
		{"this-boot.units", Skipped, "these units failed for lack of data, see this-boot.service:", []string{"cloud-init.service"}, ""},
	}},
	{"from elsewhere, although there is a seed", func(s *scene) {
		s.files["run/cloud-init/status.json"] = `{"v1":{"stage":null,"datasource":"DataSourceNoCloudNet"}}`
	}, []Check{
		{"this-boot.datasource", Problem, "DataSourceNoCloudNet, cloud-id cloudstack, instance " + id + ", although there is a seed", nil,
			"see cloud-init.datasources and cloud-init.seeds above, and /var/log/cloud-init.log"},
	}},
	{"stages failed, as the service did", func(s *scene) {
		s.failed("no instance metadata before the deadline")
		s.files["run/nm-cloud-seed/status.json"] = status(`"phase":"failed","text":"x","error":"no instance metadata before the deadline"`)
		s.files["run/cloud-init/status.json"] = `{"v1":{"stage":null,"datasource":null,"init":{"errors":["SECRET"]}}}`
	}, []Check{
		{"this-boot.service", Problem, "no instance metadata before the deadline", nil, "the virtual router answers now: reboot"},
		skip("this-boot.seed", "this-boot.service"),
		{"this-boot.cloud-init", Skipped, "these stages failed for lack of data, see this-boot.service: network", nil, ""},
		skip("this-boot.datasource", "this-boot.cloud-init"),
	}},
	{"it has not taken the seed", func(s *scene) {
		s.files["run/cloud-init/status.json"] = `{"v1":{"stage":null,"datasource":"DataSourceNone"}}`
	}, []Check{
		{"this-boot.datasource", Problem, "none: cloud-init set the VM up without CloudStack's data, although there is a seed", nil, "see what /var/log/cloud-init.log says of DataSourceCloudStack"},
	}},
	{"no record of the FQDN", func(s *scene) { delete(s.files, "var/lib/cloud/data/set-hostname") }, []Check{
		{"cloud-init.fqdn", Info, "cloud-init has not recorded this instance's FQDN: if the network has a domain, the FQDN has it from the next boot on", nil, ""},
	}},
	{"it is another instance", func(s *scene) { s.files["var/lib/cloud/data/instance-id"] = other }, []Check{
		{"this-boot.datasource", Problem, "DataSourceCloudStack, cloud-id cloudstack, instance " + other + ", but the seed is of instance " + id, nil, "reboot; if that does not help, see /var/log/cloud-init.log"},
	}},
}

func TestMachineChecks(t *testing.T) {
	all := healthy().examine(t, true)
	if all.State() != OK {
		t.Errorf("a healthy VM: got %+v, want only %s", all, OK)
	}
	for _, tt := range here {
		t.Run(tt.name, func(t *testing.T) {
			s := healthy()
			tt.change(s)
			if diff := cmp.Diff(tt.want, changed(all, s.examine(t, true))); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// TestWellSoFar: while it is not known what becomes of the VM, all is not well yet.
func TestWellSoFar(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(s *scene)
		end    string
	}{
		"all done": {func(*scene) {}, ""},
		"the service is at work": {func(s *scene) {
			s.files["run/nm-cloud-seed/status.json"] = `{"phase":"leasing","text":"waiting for a lease","process":{"pid":0},"steps":[]}`
		}, "All is well so far. nm-cloud-seed is still at work."},
		"cloud-init is at work": {func(s *scene) { delete(s.files, "run/cloud-init/result.json") }, "All is well so far. cloud-init is still at work."},
		"not to be seen": {func(s *scene) {
			s.root = false
			s.modes["run/cloud-init/status.json"] = 0
		}, "All is well so far. Only root can tell what cloud-init made of the seed."},
		"recorded": {func(s *scene) {
			s.root = false
			s.modes["run/cloud-init/status.json"] = 0
			s.files["run/nm-cloud-seed/outcome.json"] = `{"state":"good","instance-id":"` + id + `"}`
		}, ""},
		"recorded of another": {func(s *scene) {
			s.root = false
			s.modes["run/cloud-init/status.json"] = 0
			s.files["run/nm-cloud-seed/outcome.json"] = `{"state":"good","instance-id":"` + other + `"}`
		}, "All is well so far. Only root can tell what cloud-init made of the seed."},
	} {
		s := healthy()
		tt.change(s)
		if r := s.examine(t, true); r.end != tt.end {
			t.Errorf("%s: got %q, want %q", name, r.end, tt.end)
		}
	}
}

// named is the check of a name, empty if there is none.
func (r Report) named(name string) Check {
	i := slices.IndexFunc(r.Checks, func(c Check) bool { return c.Name == name })
	if i < 0 {
		return Check{}
	}
	return r.Checks[i]
}

// TestAdviceForDevicesWithoutLease: what to do about devices without a lease.
func TestAdviceForDevicesWithoutLease(t *testing.T) {
	const (
		conf   = "etc/NetworkManager/NetworkManager.conf"
		calm   = "[keyfile]\nunmanaged-devices=interface-name:cali*;interface-name:tunl*\n"
		dhcp   = "see that the DHCP server of the network answers, which is CloudStack's virtual router, and that the NIC has the MAC address that CloudStack shows"
		ifaces = "etc/network/interfaces.d/eth0"
	)
	unusable := func(name, detail string) lease.Device { return lease.Device{Name: name, Detail: detail} }
	cali, eth0 := unusable("cali1", lease.Unmanaged), unusable("eth0", lease.Unmanaged)
	for name, tt := range map[string]struct {
		files   map[string]string
		devices []lease.Device
		want    string
	}{
		"silent, with Calico":      {map[string]string{conf: calm}, []lease.Device{cali, {Name: "eth0", State: lease.Waiting, Detail: "asking"}}, dhcp},
		"not connected, with veth": {nil, []lease.Device{cali, unusable("eth0", lease.NotConnected), unusable("eth1", lease.NotConnected)}, "nmcli device connect eth0"},
		"no carrier, with Calico":  {map[string]string{conf: calm}, []lease.Device{cali, unusable("eth0", lease.NoCarrier)}, "see in CloudStack that the NIC is attached to its network"},
		"unmanaged by name":        {map[string]string{conf: "[keyfile]\nunmanaged-devices=eth*\n"}, []lease.Device{cali, eth0}, "take that out there, then systemctl reload NetworkManager"},
		"unmanaged by MAC address": {map[string]string{conf: "[keyfile]\nunmanaged-devices=mac:02:00:00:00:00:01\n"}, []lease.Device{eth0}, "take that out there, then systemctl reload NetworkManager"},
		"another one is unmanaged": {map[string]string{conf: "[keyfile]\nunmanaged-devices=interface-name:eth1\n"}, []lease.Device{unusable("eth0", lease.NoCarrier), unusable("eth2", lease.Unmanaged)}, "see in CloudStack that the NIC is attached to its network"},
		"unmanaged by ifupdown":    {map[string]string{ifaces: "auto eth0\niface eth0 inet dhcp\n"}, []lease.Device{eth0}, `take the device out of /etc/network/interfaces.d/eth0, or write "managed=true" below [ifupdown] in /etc/NetworkManager/NetworkManager.conf, then systemctl restart NetworkManager`},
		"ifupdown does not matter": {map[string]string{ifaces: "iface eth0 inet dhcp\n", conf: "[ifupdown]\nmanaged=true\n"}, []lease.Device{eth0}, "nmcli device set eth0 managed yes; then find out who has NetworkManager leave it alone"},
		"ifupdown has another":     {map[string]string{ifaces: "iface lo inet loopback\n"}, []lease.Device{eth0}, "nmcli device set eth0 managed yes; then find out who has NetworkManager leave it alone"},
		"nothing but a port":       {nil, []lease.Device{unusable("eth0", "a port of another device")}, "see in 'nmcli device' what holds the devices"},
	} {
		t.Run(name, func(t *testing.T) {
			s := healthy()
			s.files["etc/network/interfaces"] = "source interfaces.d/*\n"
			maps.Copy(s.files, tt.files)
			s.view.Leases, s.view.Devices = nil, tt.devices
			c := s.examine(t, true).named("NetworkManager.devices")
			if c.State != Problem || c.Fix != tt.want {
				t.Errorf("got %+v, want %s with the advice %q", c, Problem, tt.want)
			}
			if names := strings.Join(c.Items, "\n"); strings.Contains(names, "unmanaged-devices") != strings.HasPrefix(tt.want, "take that") {
				t.Errorf("got the items %s, want unmanaged-devices in them: %t", names, strings.HasPrefix(tt.want, "take that"))
			}
		})
	}
}

// TestConfigurationMistakesAreShown: what may have been meant to say that it is a CloudStack VM is shown.
func TestConfigurationMistakesAreShown(t *testing.T) {
	for _, root := range []bool{true, false} {
		s := healthy()
		s.root = root
		s.files["sys/class/dmi/id/product_name"] = "VMware7,1\n"
		s.files["etc/cloud/cloud.cfg"] = "x: y\n"
		s.files["etc/nm-cloud-seed.conf"] = "[main]\nplatforms=cloudstack\n"
		r := s.examine(t, false)
		if c := r.Checks[0]; len(r.Checks) != 1 || c.State != Problem || !strings.Contains(strings.Join(c.Items, "\n"), `/etc/nm-cloud-seed.conf:2: unknown key "platforms"`) {
			t.Errorf("root %v: got %+v, want the unknown key as the only problem", root, r.Checks)
		}
		if s.asked > 0 {
			t.Errorf("got %d questions to others, want 0", s.asked)
		}
	}
}

// TestGeneratorWroteNothing: nothing of the generator's is there.
func TestGeneratorWroteNothing(t *testing.T) {
	for _, isNew := range []bool{false, true} {
		s := healthy()
		s.new = isNew
		s.nothingRun()
		want := Check{"ordering.written", Problem, "the generator has written nothing that starts the service", nil,
			"systemctl daemon-reload; if it still wrote nothing: journalctl -b -t nm-cloud-seed-generator; then reboot"}
		if isNew {
			want.State, want.Detail = Info, "the generator has written nothing yet; the package was installed after the system started"
		}
		if diff := cmp.Diff(want, s.examine(t, false).named(want.Name)); diff != "" {
			t.Errorf("new: %v, -want +got:\n%s", isNew, diff)
		}
	}
}

// TestGeneratorWroteAPart: a part of what the generator would write is there.
func TestGeneratorWroteAPart(t *testing.T) {
	const dir, reload = "/run/systemd/generator/", "systemctl daemon-reload, and reboot"
	for without, want := range map[string]Check{
		"cloud-init.target.wants/nm-cloud-seed.service": {"ordering.written", Problem, "the generator has written nothing that starts the service", nil,
			"systemctl daemon-reload; if it still wrote nothing: journalctl -b -t nm-cloud-seed-generator; then reboot"},
		"cloud-init.target.wants/nm-cloud-seed-heal.service": {"ordering.written", Warning, "the generator wrote only a part:", []string{dir + "cloud-init.target.wants/nm-cloud-seed-heal.service is missing"}, reload},
		"cloud-init.service": {"ordering.written", Warning, "the generator wrote only a part:", []string{dir + "cloud-init.service is missing"}, reload},
		"cloud-init.service.d/nm-cloud-seed.conf": {"ordering.written", Info, "units have changed since the generator ran; at the next boot it will write something else for:",
			[]string{dir + "cloud-init.service.d/nm-cloud-seed.conf is not there"}, ""},
	} {
		i, done, err := load(write(t, good()), "")
		if err != nil {
			t.Fatal(err)
		}
		defer done()
		s, found := healthy(), false
		for _, f := range i.plan.Files {
			text := f.Text
			if f.Link != "" {
				text = link + f.Link
			}
			if found = found || f.Name == without; f.Name != without {
				s.files["run/systemd/generator/"+f.Name] = text
			}
		}
		if !found {
			t.Errorf("%s is not planned", without)
		}
		if diff := cmp.Diff(want, s.examine(t, false).named(want.Name)); diff != "" {
			t.Errorf("without %s, -want +got:\n%s", without, diff)
		}
	}
}

// TestMachineWithoutUnits: a container of some kinds has no units.
func TestMachineWithoutUnits(t *testing.T) {
	s := healthy()
	for name := range s.files {
		if strings.Contains(name, "systemd/system/") {
			delete(s.files, name)
		}
	}
	root := write(t, s.files)
	r := examineSystem(t.Context(), root, World{})
	if len(r.Checks) != 2 || r.Checks[1].State != Problem || !strings.HasPrefix(r.Checks[1].Detail, "cannot read the units of /: ") {
		t.Errorf("got %+v, want a second check that cannot read the units", r)
	}
}

// TestMachineStepsFollowTheirNeeds: what a check needs comes before it.
func TestMachineStepsFollowTheirNeeds(t *testing.T) {
	seen := make(map[string]bool)
	for _, s := range (&machine{image: new(image)}).steps() {
		for _, need := range s.needs {
			if !seen[need] {
				t.Errorf("%s needs %s, which does not come before it", s.name, need)
			}
		}
		if seen[s.name] {
			t.Errorf("%s twice", s.name)
		}
		seen[s.name] = true
	}
}

// TestOrdinaryUserGetsNoFalseProblem: what only root can read is no problem to others.
func TestOrdinaryUserGetsNoFalseProblem(t *testing.T) {
	s := healthy()
	s.root = false
	maps.Copy(s.files, map[string]string{
		"usr/sbin/netplan":                "",
		"etc/netplan/50-cloud-init.yaml":  "network: {renderer: NetworkManager}\n",
		"etc/cloud/cloud.cfg.d/50.cfg":    "datasource_list: [ CloudStack ]\n",
		"etc/cloud/cloud.cfg":             "datasource_list: [ NoCloud ]\n",
		"etc/nm-cloud-seed.conf.d/1.conf": "[main]\n",
	})
	s.modes = map[string]os.FileMode{
		"etc/netplan/50-cloud-init.yaml": 0, "etc/cloud/cloud.cfg.d/50.cfg": 0, "run/nm-cloud-seed/seed.d": 0, "sys/class/dmi/id/product_uuid": 0, "etc/nm-cloud-seed.conf.d/1.conf": 0,
	}
	all := healthy()
	all.files["usr/sbin/netplan"] = ""
	all.files["etc/netplan/50-cloud-init.yaml"] = "network: {renderer: NetworkManager}\n"
	before := all.examine(t, true)
	got := s.examine(t, true)
	const onlyText, sudo = "only root can tell, who may read this:", "sudo nm-cloud-seed doctor"
	hidden := []string{"cannot read /etc/cloud/cloud.cfg.d/50.cfg: permission denied"}
	want := []Check{
		{"cloud-init.configuration", Info, onlyText, hidden, sudo},
		{"cloud-init.datasources", Info, onlyText, hidden, sudo},
		{"cloud-init.network", Info, onlyText, append(slices.Clone(hidden), "cannot read /etc/netplan/50-cloud-init.yaml: permission denied"), sudo},
		{"nm-cloud-seed.configuration", Info, onlyText, []string{"cannot read configuration: /etc/nm-cloud-seed.conf.d/1.conf: permission denied"}, sudo},
		{"virtual-router.metadata", OK, "10.1.1.1 (DHCP server on eth0) would be taken, with instance " + id + " (only root can tell whether that is this machine)", []string{
			"DHCP server 10.1.1.1 on eth0: instance " + id + ", after 3 ms", "data-server on eth0: cannot resolve data-server: no such host, after 3 ms"}, ""},
		{"this-boot.seed", Info, "there, with what is in it for root alone", nil, sudo},
	}
	if diff := cmp.Diff(want, changed(before, got)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}

	// What is wrong all the same.
	s.view.Leases, s.view.Devices[0] = nil, lease.Device{Name: "eth0", State: lease.Waiting, Detail: "asking for a lease"}
	s.failed("cannot write the seed: permission denied")
	s.files["etc/cloud/cloud-init.disabled"] = ""
	s.files["usr/lib/NetworkManager/conf.d/10-globally-managed-devices.conf"] = "[keyfile]\n" // which netplan's files decide about
	s.files["etc/nm-cloud-seed.conf"] = "[main]\nx=y\n"
	got = s.examine(t, true)
	for name, want := range map[string]Check{
		"NetworkManager.devices":      {State: Problem, Detail: "no device has an IPv4 address:"},
		"virtual-router.metadata":     {State: Skipped, Detail: "depends on NetworkManager.devices"},
		"cloud-init.enabled":          {State: Problem, Detail: "/etc/cloud/cloud-init.disabled exists"},
		"nm-cloud-seed.configuration": {State: Problem, Detail: "there are mistakes"},
	} {
		if c := got.named(name); c.State != want.State || c.Detail != want.Detail {
			t.Errorf("got %+v, want %s: %s", c, want.State, want.Detail)
		}
	}
	delete(s.files, "etc/cloud/cloud-init.disabled")
	s.view = healthy().view
	if c := s.examine(t, true).named("this-boot.service"); c.State != Problem || c.Detail != "cannot write the seed: permission denied" {
		t.Errorf("got %+v, want the failure as a problem", c)
	}
	s.files["etc/nm-cloud-seed.conf"] = "[main]\n"
	s.modes["run/cloud-init/status.json"] = 0
	if c := s.examine(t, true).named("this-boot.cloud-init"); c.State != Skipped || c.Detail != "only root can tell, who may read /run/cloud-init/status.json" || c.Fix != sudo {
		t.Errorf("got %+v, want it skipped, with %s", c, sudo)
	}

	// And where it is not to be seen that this is CloudStack.
	s.files["sys/class/dmi/id/product_name"] = "VMware7,1\n"
	got = s.examine(t, false)
	if c := got.Checks[0]; len(got.Checks) != 1 || c.State != Info || !cmp.Equal(c.Items, []string{
		"cannot read configuration: /etc/nm-cloud-seed.conf.d/1.conf: permission denied: only root can tell what it says", hidden[0] + ": only root can tell what it says",
	}) {
		t.Errorf("got %+v, want one note with what only root can tell", got.Checks)
	}
}

// asNobody runs f on a thread that has no right to read everything below a root.
func asNobody(t *testing.T, root string, f func()) {
	t.Helper()
	for dir := root; dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if os.Geteuid() == 0 {
			runtime.LockOSThread() // never unlocked: the thread goes with this goroutine
			_ = unix.Setfsuid(65534)
		}
		f()
	}()
	<-done
}

// TestHostileMachine: whatever is in the files, and whatever others answer, nothing
// hangs and nothing odd gets to the terminal.
func TestHostileMachine(t *testing.T) {
	s := healthy()
	maps.Copy(s.files, map[string]string{
		"run/nm-cloud-seed/status.json":            "|",
		"run/cloud-init/status.json":               "|",
		"run/cloud-init/cloud-id":                  "|",
		generation + "meta-data":                   "|",
		"run/systemd/generator/cloud-init.service": "|",
		"proc/cmdline":                             "nm-cloud-seed=\x1b[31m",
		"var/lib/cloud/data/instance-id":           "|",
		"etc/nm-cloud-seed.conf":                   "|",
	})
	s.view.Devices[0].Detail = "10.1.1.100/24 on \"\x1b[31mred\u202e\""
	s.version = "1\x1b[2J"
	s.routers[0].Err, s.routers[0].Taken = errors.New("\x1b[31m"), false
	var b strings.Builder
	if err := s.examine(t, true).Print(&b, 0, plain); err != nil {
		t.Fatal(err)
	}
	if out := b.String(); strings.ContainsAny(out, "\x1b\u202e") || !strings.Contains(out, "?[31mred") {
		t.Errorf("got this, want no control characters, and ?[31mred:\n%s", out)
	}
}
