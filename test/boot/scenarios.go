package main

import (
	"fmt"
	"slices"
	"time"

	"github.com/nm-cloud-seed/nm-cloud-seed/datasource/cloudstack/vrtest"
	"github.com/nm-cloud-seed/nm-cloud-seed/test/boot/qemu"
	"github.com/nm-cloud-seed/nm-cloud-seed/test/lab"
)

// inContainer is what a container's image says by configuration or command line
// where others have DMI. ci.ds is what cloud-init takes for it.
var inContainer = map[string]string{ourConfig: "[main]\nplatform=cloudstack\n"}

// silentDeadline is the shortest that can be configured.
const silentDeadline = 10 * time.Second

// impatient gives up soon.
var impatient = map[string]string{
	ourConfig: fmt.Sprintf("[main]\nplatform=cloudstack\ndeadline=%.0f\n", silentDeadline.Seconds()),
}

const ourConfig = "/etc/nm-cloud-seed.conf.d/boot-test.conf"

const onlyCloudStack = "ci.ds=CloudStack"

// dataServer is an /etc/hosts with the virtual router's name.
const dataServer = "127.0.0.1 localhost\n10.1.1.1 data-server\n"

var suites = []string{"bookworm", "trixie", "sid"}

func scenarios() []scenario {
	var all []scenario
	for _, suite := range suites {
		all = append(all, without(suite), with(suite))
	}
	for _, suite := range suites {
		all = append(all, beforeRelease(suite == "trixie", asOthers, temporary(suite))...)
	}
	all = append(all,
		scenario{
			name: "sid/no-dhcp-client", about: "an image without any DHCP client, a network without a domain",
			suite: "sid", remove: []string{"dhcpcd-base"}, files: inContainer,
			nics: []lab.NIC{{NoDomain: true}}, boots: withoutDomain(),
		},
		scenario{
			name: "trixie/presets", about: "an uninitialized machine-id: systemd enables units after the generators",
			suite: "trixie", files: map[string]string{
				ourConfig:         inContainer[ourConfig],
				"/etc/machine-id": "uninitialized\n",
				// Debian's presets enable it, beside NetworkManager. Empty is masked.
				"/etc/systemd/system/systemd-networkd.service":             "",
				"/etc/systemd/system/systemd-networkd-wait-online.service": "",
			},
			boots: []boot{{what: "first boot", checks: append(slices.Clone(seeded), preset)}},
		},
		// 26.2's own way: dhcpcd in the local stage, and the server's name.
		scenario{
			name: "sid/stock", about: "without the package: what cloud-init promises to services where it succeeds by itself",
			suite: "sid", bare: true, extended: "a look at cloud-init alone", doctor: noPackage, files: map[string]string{"/etc/hosts": dataServer},
			boots: []boot{{what: "first boot", checks: worksAlone}},
		},
		scenario{
			name: "sid/own", about: "cloud-init 26.2, which could succeed by itself, leaves the search to the package; dhcpcd, no domain",
			suite: "sid", files: map[string]string{"/etc/hosts": dataServer, ourConfig: "[main]\nplatform=cloudstack\n"},
			nics:  []lab.NIC{{NoDomain: true}},
			boots: []boot{{what: "first boot", checks: plus(but(seeded, "FQDN"), noDomain, nameOnly)}},
		},
	)
	for _, suite := range suites {
		all = append(all, beforeRelease(suite == "trixie", asOthers, scenario{
			name: suite + "/silent", about: "a virtual router that never answers: boot goes on, and says why",
			suite: suite, files: impatient,
			vr:    func(vr *vrtest.VR) { vr.SetFaults(vrtest.Fault{Hang: true}) },
			boots: []boot{{what: "first boot", checks: goesOn}},
		})...)
	}
	all = append(all, scenario{
		name: "trixie/no-lease", about: "no DHCP server ever answers: boot goes on, and says why",
		suite: "trixie", files: impatient, nics: []lab.NIC{{NoDHCP: true}},
		boots: []boot{{what: "first boot", checks: goesOn}},
	})
	all = append(all,
		scenario{
			name: "qemu/bookworm/other-cloud", about: "another cloud's firmware: the package changes nothing",
			suite: "bookworm", extended: "the elsewhere scenarios, whose container has no DMI", virtual: &qemu.Machine{Manufacturer: "QEMU", Product: "Standard PC (Q35 + ICH9, 2009)"},
			files: purged,
			boots: []boot{{what: "first boot", checks: slices.Concat(healthy, inert)}},
		},
		scenario{
			name: "sid/off", about: "nm-cloud-seed=off on the kernel command line: the upstream bug is back",
			suite: "sid", files: also(inContainer, guestReport+"/purge", ""),
			boots: []boot{{what: "first boot: the bug", cmdline: []string{"nm-cloud-seed=off"}, checks: slices.Concat(bug, inert)}},
		},
	)
	for _, suite := range suites {
		all = append(all, beforeRelease(suite == "trixie", asOthers, credentials(suite))...)
	}
	for _, suite := range suites {
		all = append(all, beforeRelease(suite != "bookworm", asOthers, killedCredentials(suite))...)
	}
	all = append(all, credentialVariants()...)
	all = append(all, powerCuts()...)
	all = append(all, identities()...)
	all = append(all, kills()...)
	all = append(all, harmless()...)
	return append(all, variants()...)
}

// noPackage is what the doctor says of an image without the package.
var noPackage = []string{"problem nm-cloud-seed.installed", "problem ordering.deadlock"}

// purged makes boot-report purge the package in the end, and look again.
var purged = map[string]string{guestReport + "/purge": ""}

// cloudStack is what CloudStack's DMI says on KVM. The UUID is the instance's.
var cloudStack = &qemu.Machine{Manufacturer: "Apache Software Foundation", Product: "CloudStack KVM Hypervisor", UUID: instance}

func without(suite string) scenario {
	return scenario{
		name: suite + "/without", about: "without the package: the upstream bug",
		suite: suite, bare: true, doctor: noPackage,
		boots: []boot{{what: "first boot: the bug", checks: bug}},
	}
}

func with(suite string) scenario {
	return scenario{
		name: suite + "/with", about: "the usual case: all of the instance's data, and the D-Bus API",
		suite: suite, files: also(inContainer, api, ""), storm: suite == "trixie",
		boots: []boot{
			{what: "first boot", checks: plus(plus(seeded, served(suite == "trixie")...), healthyHere)},
			{what: "reboot", checks: plus(again, unasked, healthyHere)},
		},
	}
}

// api makes boot-report use the D-Bus API in the first boot.
const api = guestReport + "/api-1"

// onlyOurs is an image with nothing that would bring the network up, but us.
var onlyOurs = map[string]string{
	"/etc/cloud/cloud.cfg.d/97-no-network.cfg":        "network: {config: disabled}\n",
	"/etc/NetworkManager/conf.d/no-auto-default.conf": "[main]\nno-auto-default=*\n",
}

// temporary is such an image.
func temporary(suite string) scenario {
	return scenario{
		name: suite + "/temporary", about: "no profile in the image: the temporary connection, and `keep`",
		suite: suite, files: also(onlyOurs, guestReport+"/then-2", "nm-cloud-seed keep\n"),
		boots: []boot{
			{what: "first boot", cmdline: force, checks: append(slices.Clone(seeded), stays)},
			{what: "reboot", cmdline: force, checks: append(slices.Clone(again), stays)},
			{what: "kept for good", cmdline: force, checks: append(slices.Clone(again), check{"permanent profile", isPermanent})},
		},
	}
}

var force = []string{"nm-cloud-seed=force"}

// beforeRelease marks scenarios as extended on a condition, and says why.
func beforeRelease(extended bool, why string, all ...scenario) []scenario {
	for i := range all {
		if extended {
			all[i].extended = why
		}
	}
	return all
}

// asOthers: where a scenario is there for each suite, two suites prove it in each run.
const asOthers = "the same on the other suites"

func find(name string) (scenario, error) {
	for _, s := range scenarios() {
		if s.name == name {
			return s, nil
		}
	}
	return scenario{}, fmt.Errorf("there is no scenario %q", name)
}
