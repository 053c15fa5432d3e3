package main

import (
	"maps"
	"net/netip"
	"slices"

	"github.com/nm-cloud-seed/nm-cloud-seed/datasource/cloudstack/vrtest"
	"github.com/nm-cloud-seed/nm-cloud-seed/test/boot/qemu"
	"github.com/nm-cloud-seed/nm-cloud-seed/test/lab"
)

// variants are images that differ from a plain Debian, and networks from a plain
// one. Where the release makes no difference it is Debian 13.
func variants() []scenario {
	all := []scenario{
		{
			name: "trixie/dbus-broker", about: "dbus-broker instead of dbus-daemon; the installed time until the D-Bus API's process ends",
			suite: "trixie", packages: []string{"dbus-broker"}, files: also(inContainer, api, ""), storm: true, installedIdle: true,
			boots: []boot{
				{what: "first boot", checks: plus(plus(seeded, served(true)...), isActive("dbus-broker.service"))},
				{what: "reboot", checks: plus(again, isActive("dbus-broker.service"))},
			},
		},
		{
			// Debian's cloud-init conflicts with it since Debian 13.
			name: "bookworm/firewalld", about: "a firewall that has to be up before the network",
			suite: "bookworm", packages: []string{"firewalld", "netbase"}, files: inContainer,
			boots: firstAndAgain(isActive("firewalld.service"), before("firewalld.service", "NetworkManager.service"), firewalled),
		},
		{
			name: "trixie/resolved", about: "systemd-resolved, which NetworkManager tells the name servers",
			suite: "trixie", packages: []string{"systemd-resolved"}, files: inContainer,
			boots: firstAndAgain(isActive("systemd-resolved.service"), resolvedAnswers),
		},
		{
			name: "bookworm/dhclient", about: "NetworkManager with dhclient as its DHCP plugin; no domain",
			suite: "bookworm", packages: []string{"isc-dhcp-client"},
			files: also(inContainer, "/etc/NetworkManager/conf.d/dhclient.conf", "[main]\ndhcp=dhclient\n"),
			nics:  []lab.NIC{{NoDomain: true}},
			boots: withoutDomain(saidBy(`NetworkManager.*Using DHCP client 'dhclient'`)),
		},
		{
			// cloud-init wants a text. Its modules get to see that in the first boot, and its
			// network stage itself in the next one.
			name: "trixie/cloud-init-fails", about: "user-data, `hostname: 7`, with which cloud-init fails although there is a seed: modules, then the network stage",
			suite: "trixie", userData: "#cloud-config\nhostname: 7\n", files: also(inContainer, guestReport+"/then-1", outcomeProperty),
			boots: []boot{
				{what: "modules fail", checks: plus(failsWithSeed,
					spoiled("cloud-init's set_hostname failed in its network stage", "cloud-init's update_hostname failed in its network stage"),
					check{"D-Bus API", func(r *report) error { return r.wants("afterwards", `s "failed"`) }})},
				{what: "the network stage dies", checks: plus(failsWithSeed, sameInstance, spoiled("cloud-init's network stage failed"),
					failedEarlier("cloud-init's set_hostname failed at an earlier boot of this instance"))},
			},
		},
		{
			name: "bookworm/cloud-init-killed", about: "cloud-init is killed in its network stage, as the kernel does when memory is short",
			suite: "bookworm", extended: "TestOutcome", userData: "#cloud-config\nbootcmd: [\"kill -9 $PPID\"]\n", files: inContainer,
			boots: []boot{
				{what: "first boot", checks: plus(failsWithSeed, spoiled("cloud-init's network stage did not come to its end"))},
			},
		},
		{
			name: "trixie/etc", about: "the image has its own cloud-init-network.service in /etc",
			suite: "trixie", files: inContainer,
			setup: "cp /usr/lib/systemd/system/cloud-init-network.service /etc/systemd/system/",
			boots: firstAndAgain(generated("generator.early/cloud-init-network.service")),
		},
		{
			name: "trixie/static", about: "a static profile without a domain; only cloud-init's configuration names CloudStack",
			suite: "trixie",
			files: also(onlyListed,
				"/etc/cloud/cloud.cfg.d/97-no-network.cfg", "network: {config: disabled}\n",
				"/etc/NetworkManager/system-connections/static.nmconnection", staticProfile),
			boots: withoutDomain(connectedBy("static")),
		},
		{
			// cloud-init's network stage brings its profile up nevertheless: too
			// late for this stage, but not for another one.
			name: "trixie/unmanaged", about: "no network service runs the NIC: the run fails at once, and the doctor warns of it",
			suite: "trixie", doctor: []string{"problem NetworkManager.devices"}, userData: userData,
			files: also(impatient, healing, "", "/etc/NetworkManager/conf.d/unmanaged.conf", "[device]\nmatch-device=type:ethernet\nmanaged=0\n"),
			boots: []boot{{what: "first boot", checks: plus(but(healed, "before", "no instance before"), stages(true),
				saidBy("cannot get a lease: NetworkManager does not manage eth0, and no other network service runs it"))}},
		},
		{
			name: "trixie/first-nic", about: "two NICs, the virtual router on the first, whose domain option has two domains",
			suite: "trixie", files: inContainer,
			nics:  []lab.NIC{{NoDomain: true, DHCPOptions: []string{"option:domain-name,a.example b.example"}}, {NonDefault: true}},
			boots: withoutDomain(from("eth0")),
		},
		{
			name: "trixie/second-nic", about: "two NICs, the virtual router on the second; no domain",
			suite: "trixie", files: inContainer, nics: []lab.NIC{{NonDefault: true}, {NoDomain: true}}, router: 1,
			boots: withoutDomain(from("eth1")),
		},
	}
	// Debian 13 is the one whose cloud-init fails there when it is left to itself.
	for _, suite := range suites {
		all = append(all, beforeRelease(suite != "trixie", "trixie/no-domain, sid/no-dhcp-client", scenario{
			name: suite + "/no-domain", about: "a network without a domain",
			suite: suite, files: inContainer, nics: []lab.NIC{{NoDomain: true}}, boots: withoutDomain(),
		})...)
	}
	for _, suite := range []string{"bookworm", "trixie"} {
		early := []check{generated("generator/NetworkManager.service.d/nm-cloud-seed.conf"), before("NetworkManager.service", "sysinit.target")}
		s := scenario{
			name: suite + "/early", about: "ordering=early",
			suite: suite, files: map[string]string{ourConfig: "[main]\nplatform=cloudstack\nordering=early\n"},
			boots: firstAndAgain(early...),
		}
		if suite == "trixie" {
			s = thenKilled(s, early...)
		}
		all = append(all, s)
	}
	all = append(all, rhel("bookworm"), thenKilled(rhel("trixie"), onlyLinks, noDomain), installedLater, configured)
	for _, suite := range suites {
		all = append(all, beforeRelease(suite == "bookworm", asOthers, cleaned(suite))...)
		all = append(all, beforeRelease(suite == "trixie", asOthers, elsewhere(suite))...)
	}
	return append(all,
		scenario{
			name: "trixie/cycle", about: "units of the image that cannot be held back without a cycle",
			suite: "trixie", setup: "systemctl enable site-network.service",
			files: also(inContainer,
				"/etc/systemd/system/site-network.service", siteNetwork,
				// What people try, and what alone would only be a cycle.
				"/etc/systemd/system/cloud-init-network.service.d/wait.conf", "[Unit]\nAfter=NetworkManager-wait-online.service\n",
			),
			doctor: []string{"warning ordering.cycles", "warning ordering.not-held"},
			boots: []boot{{what: "first boot", checks: plus(seeded, isActive("site-network.service"),
				before("site-network.service", "cloud-init-network.service"))}},
		},
		scenario{
			// A container has no udev, which `netplan apply` needs.
			name: "qemu/trixie/netplan", extended: "nothing: it needs udev, and takes minutes", about: "netplan, with NetworkManager as its renderer; a second disk; on VMware",
			suite: "trixie", packages: []string{"netplan.io", "e2fsprogs"},
			virtual: &qemu.Machine{Manufacturer: "VMware, Inc.", Product: "VMware7,1", UUID: "4229d5c6-51d1-4e4e-9d39-9ba64ed5d1ba"},
			disk:    true, userData: userData + bootCommands + mountUserData,
			files: also(onlyListed, "/etc/netplan/01-network-manager-all.yaml", "network: {version: 2, renderer: NetworkManager}\n"),
			boots: firstAndAgain(saidBy(`policy: set 'netplan-`), mounted),
		},
		scenario{
			name: "qemu/bookworm/mounts", extended: "nothing: it needs a disk, and takes minutes", about: "user-data that makes a file system on a second disk and mounts it; on Xen",
			suite: "bookworm", files: onlyListed, disk: true,
			virtual:  &qemu.Machine{Manufacturer: "Xen", Product: "HVM domU", UUID: "5c1d9b5e-8f0b-6a43-9d2b-2f1f6c3a7e10"},
			userData: userData + bootCommands + mountUserData,
			boots:    firstAndAgain(mounted),
		},
	)
}

// failsWithSeed is a boot in which our run succeeds and cloud-init fails.
var failsWithSeed = []check{
	{"ends", ends}, {"ordering", noCycle}, {"timeouts", noTimeout}, {"shutdown", shutdown}, {"not resident", gone}, nothingResident,
	{"compatibility lease", cleared}, nothingToHeal,
}

const outcomeProperty = "busctl get-property org.nmcloudseed1 /org/nmcloudseed1 org.nmcloudseed1.Seeder Outcome\n"

// onlyListed is an image for machines whose DMI has no word of CloudStack. The kernel
// command line says nothing, either: by that, cloud-init would add DataSourceNone.
var onlyListed = map[string]string{onlyListedFile: "datasource_list: [ CloudStack ]\n"}

const onlyListedFile = "/etc/cloud/cloud.cfg.d/99-cloudstack.cfg"

// noDomain: the FQDN is the host name alone.
var noDomain = check{"FQDN", func(r *report) error { return r.wants("fqdn", hostname) }}

// withoutDomain returns a first boot and a reboot whose FQDN is the host name alone.
func withoutDomain(more ...check) []boot {
	more = append(more, noDomain, nameOnly)
	return []boot{
		{what: "first boot", checks: plus(but(seeded, "FQDN"), more...)},
		{what: "reboot", checks: plus(but(again, "FQDN"), more...)},
	}
}

// firstAndAgain are a first boot and a reboot, with further checks.
func firstAndAgain(more ...check) []boot {
	return []boot{
		{what: "first boot", checks: plus(seeded, more...)},
		{what: "reboot", checks: plus(again, more...)},
	}
}

// also adds files, by name and text.
func also(files map[string]string, more ...string) map[string]string {
	files = maps.Clone(files)
	for pair := range slices.Chunk(more, 2) {
		files[pair[0]] = pair[1]
	}
	return files
}

const staticProfile = `[connection]
id=static
type=ethernet
interface-name=eth0
[ipv4]
method=manual
address1=10.1.1.100/24,10.1.1.1
dns=10.1.1.1;
[ipv6]
method=disabled
`

// siteNetwork has an order of its own in mind: who holds network.target until
// cloud-init is done turns it round.
const siteNetwork = `[Unit]
Description=What a site does to its network before cloud-init uses it
After=network.target
Before=cloud-init-network.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/bin/true

[Install]
WantedBy=multi-user.target
`

const mountUserData = `fs_setup:
- {label: data, filesystem: ext4, device: /dev/vda, partition: none}
mounts:
- [/dev/vda, /data]
`

// foreignGateway is a shared network whose gateway is a router of the site's, and
// whose DNS is, too.
var foreignGateway = lab.NIC{
	Router:      netip.MustParseAddr("10.1.1.254"),
	ExtraAddrs:  []netip.Prefix{netip.MustParsePrefix("10.1.1.254/24")},
	HostRecords: records(0),
	DNS:         []netip.Addr{netip.MustParseAddr("10.1.1.1")},
}

// rhel has cloud-init's units as the RHEL family has them: cloud-init's
// templates in systemd/, rendered for rhel. The network stage is no longer before
// sysinit.target, so services that do not wait for it see nothing of it, with us
// or without. The gateway is not the virtual router: where it is, cloud-init
// needs nobody there.
//
// Its configuration makes the FQDN the host name: the VM gets the name that the
// virtual router gives, without the network's domain.
// On Debian 13, the network has none.
func rhel(suite string) scenario {
	network := foreignGateway
	network.NoDomain = suite == "trixie"
	return scenario{
		name: suite + "/rhel", about: "cloud-init's units and preference of the FQDN as in the RHEL family, a gateway that is not the virtual router",
		suite: suite, files: also(inContainer, preferFQDN...),
		setup: rhelUnits(suite),
		nics:  []lab.NIC{network}, userData: userData,
		boots: []boot{
			{what: "first boot", checks: plus(but(seeded, "probes", "FQDN"), onlyLinks, noDomain)},
			{what: "reboot", checks: plus(but(again, "probes", "FQDN"), onlyLinks, noDomain)},
		},
	}
}

// configured is a NIC that something else has configured before NetworkManager starts.
var configured = scenario{
	name: "trixie/configured", about: "a unit of the image gives the NIC an address before NetworkManager; no domain",
	suite: "trixie", nics: []lab.NIC{{NoDomain: true}}, files: also(inContainer,
		"/etc/cloud/cloud.cfg.d/97-no-network.cfg", "network: {config: disabled}\n",
		"/etc/systemd/system/address.service", addressUnit, "/etc/systemd/system/sysinit.target.wants/address.service", addressUnit),
	boots: []boot{{what: "first boot", checks: plus(but(seeded, "FQDN"), noDomain, nameOnly)}},
}

const addressUnit = `[Unit]
DefaultDependencies=no
After=systemd-remount-fs.service
Before=network-pre.target NetworkManager.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -ec 'ip link set eth0 up; ip addr add 10.1.1.100/24 dev eth0; ip route add default via 10.1.1.1'
`

// preferFQDN is a file of an image that makes the FQDN the host name.
var preferFQDN = []string{"/etc/cloud/cloud.cfg.d/96-prefer-fqdn.cfg", "prefer_fqdn_over_hostname: true\n"}

// installedLater is a VM that cloud-init has set up by itself, which it can in the RHEL
// family's order. There is no domain in its record.
var installedLater = scenario{
	name: "bookworm/installed-later", about: "the package is installed on a running VM of the RHEL family: the doctor is content, and its names stay",
	suite: "bookworm", files: also(inContainer, append(preferFQDN, guestReport+"/then-1", install)...),
	setup: rhelUnits("bookworm"), userData: userData, later: true, doctor: []string{"problem nm-cloud-seed.installed"},
	boots: []boot{
		{what: "without the package", checks: slices.Concat(healthy, but(instanceSeen, "FQDN"), []check{noDomain, contentWhenInstalled})},
		{what: "with the package", checks: plus(but(again, "probes", "FQDN"), noDomain)},
	},
}

// install installs the package at the end of the first boot, and asks the doctor.
const install = "dpkg --install " + packageFile + "\nrm " + packageFile + "\n" +
	"nm-cloud-seed doctor --json >" + guestReport + "/1/doctor-installed.json\n"

// contentWhenInstalled: the doctor finds nothing wrong after the installation, before
// the reboot.
var contentWhenInstalled = check{"doctor after the installation", func(r *report) error {
	return agrees(r.text("doctor-installed.json"), nil)
}}

func rhelUnits(suite string) string {
	const units = "cd /usr/lib/systemd/system; " +
		`sed -i -e '/^DefaultDependencies=no$/d' -e '/^Before=\(sysinit\|shutdown\)\.target$/d' -e '/^Conflicts=shutdown\.target$/d' ` +
		`-e 's/^After=networking\.service$/After=NetworkManager.service\nAfter=NetworkManager-wait-online.service/' $STAGE; ` +
		`sed -i -e 's/^Before=sysinit\.target$/Before=firewalld.target/' cloud-init-local.service; ` +
		`! [ -e cloud-init-main.service ] || sed -i -e 's/^DefaultDependencies=no$/&\nRequires=dbus.socket\nAfter=dbus.socket/' cloud-init-main.service`
	stage := map[string]string{"bookworm": "cloud-init.service", "trixie": "cloud-init-network.service"}[suite]
	return "STAGE=" + stage + "; " + units + "\n"
}

// cleaned is a VM that becomes a template, and the first VM made of that.
func cleaned(suite string) scenario {
	return scenario{
		name: suite + "/clean", about: "a used image, cleaned, becomes another VM",
		suite: suite, files: also(onlyOurs, ourConfig, inContainer[ourConfig], guestReport+"/clean", ""),
		boots: []boot{
			{what: "first boot", checks: plus(seeded, stays, nothingLeft)},
			{what: "another VM", vm: otherVM, checks: plus(renewed, stays)},
		},
	}
}

// elsewhere is an image that was booted off CloudStack, for instance where it
// was made: cloud-init has a datasource there that says nothing.
func elsewhere(suite string) scenario {
	return scenario{
		name: suite + "/elsewhere", about: "an image that was booted off CloudStack, then on it",
		suite: suite,
		boots: []boot{
			{what: "off CloudStack", cmdline: []string{noDatasource}, checks: plus(healthy, unborn, inert[0])},
			{what: "on CloudStack", cmdline: force, checks: plus(seeded, another)},
		},
	}
}

const noDatasource = "ci.ds=None"

// What CloudStack says of another VM.
const (
	otherInstance = "0b1c7f6e-6b0f-4a53-8a3c-8f9f0c6b1d77"
	otherHostname = "db-1"
	otherKey      = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFb6d8ZCoV0DCnvyMLOKk1cBTqfVTFsMxkfx5RrE5yAJ other@example.org"
)

func otherVM(vm *vrtest.VM) {
	for key, value := range map[string]string{
		"instance-id": otherInstance, "vm-id": otherInstance, "local-hostname": otherHostname, "public-keys": otherKey,
	} {
		vm.Set(key, value)
	}
}
