package main

import (
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/nm-cloud-seed/nm-cloud-seed/datasource/cloudstack/vrtest"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/daemon"
	"github.com/nm-cloud-seed/nm-cloud-seed/test/boot/qemu"
	"github.com/nm-cloud-seed/nm-cloud-seed/test/lab"
)

// A VM keeps its identity when the virtual router is down, gets it once that is
// back, and does not take it along when its disk becomes another VM's.

// healing makes boot-report wait until the VM has healed. It says so on the
// console: what it had looked at before is from the outage.
const healing = guestReport + "/heal"

var backAgain = &moment{console: "boot-report: waiting for nm-cloud-seed-heal.service"}

func identities() (all []scenario) {
	for _, suite := range suites {
		all = append(all, beforeRelease(suite == "trixie", asOthers, outages(suite), heals(suite))...)
		all = append(all, beforeRelease(suite == "bookworm", asOthers, clone(suite, nil))...)
	}
	return append(all,
		beforeRelease(true, "the clone scenarios, by the MAC address", clone("trixie", cloudStack))[0], // the release makes no difference to the firmware
		scenario{
			name: "trixie/heal-network", about: "a first boot whose network comes later, and has no domain",
			suite: "trixie", files: also(impatient, healing, ""), userData: userData, nics: []lab.NIC{{NoDomain: true}},
			boots: []boot{
				{what: "no network", outage: &outage{network: true, end: backAgain}, checks: plus(but(healed, "FQDN"), noDomain, nameOnly, stages(true), usualProfile)},
				{what: "reboot", checks: plus(but(again, "FQDN"), noDomain, nameOnly, undisturbed, fresh, nothingToHeal, usualProfile)},
			},
		},
		scenario{
			name: "trixie/heal-temporary", about: "the same with no other connection than our temporary one",
			suite: "trixie", files: also(onlyOurs, ourConfig, impatient[ourConfig], healing, ""), userData: userData,
			boots: []boot{
				{what: "no network", outage: &outage{network: true, end: backAgain}, checks: plus(healed, stages(true), stays, ourProfile)},
				{what: "reboot", checks: plus(again, undisturbed, fresh, nothingToHeal, stays, ourProfile)},
			},
		},
		scenario{
			name: "trixie/hook", about: "the link comes up later, and the dispatcher's hook asks for what is missing",
			suite: "trixie", files: also(impatient, healing, "systemctl stop nm-cloud-seed-heal.service\n"), userData: userData,
			boots: []boot{
				{what: "no link", outage: &outage{unplugged: true, end: backAgain}, checks: plus(healed, stages(true), usualProfile, byTheHook)},
				{what: "reboot", checks: plus(again, undisturbed, fresh, nothingToHeal, usualProfile, unasked)},
			},
		},
		scenario{
			name: "trixie/heal-off", about: "heal=no: the seed is for the next boot",
			suite: "trixie", files: also(impatient, healing, "", ourConfig, impatient[ourConfig]+"heal=no\n"),
			boots: []boot{
				{what: "virtual router down", outage: &outage{end: backAgain}, checks: plus(laidOnly, unborn, stages(false))},
				{what: "reboot", checks: plus(seeded, undisturbed, another, fresh, nothingToHeal)},
			},
		},
		scenario{
			name: "trixie/heal-never", about: "a VM that has been an instance, and has lost its copy",
			suite: "trixie", files: also(impatient, healing, "", guestReport+"/then-1", "rm -rf /var/lib/nm-cloud-seed"),
			boots: []boot{
				{what: "first boot", checks: plus(seeded, undisturbed, fresh, nothingToHeal)},
				{what: "virtual router down", outage: &outage{end: backAgain}, checks: plus(laidOnly, unborn, another, stages(false))},
				// The boot in between has made host keys of its own.
				{what: "reboot", checks: plus(but(seeded, firstHostKeys.name), undisturbed, asAtFirst, fresh, nothingToHeal)},
			},
		},
		scenario{
			name: "trixie/clone-silent", about: "a clone whose virtual router is down",
			suite: "trixie", files: also(onlyOurs, ourConfig, impatient[ourConfig], traces, tracesOf), machines: true, nics: make([]lab.NIC, 2),
			boots: []boot{
				{what: "first boot", vm: original, checks: plus(seeded, undisturbed, stays, ourProfile, traced(true))},
				{what: "another VM", on: 1, vm: otherVM, outage: &outage{}, checks: plus(nobodys, unborn, another, ourProfile, traced(false), forgotten)},
			},
		},
		scenario{
			name: "qemu/trixie/another-vm", extended: "test/lab, without DMI", about: "a virtual router that takes the VM for another one",
			suite:   "trixie",
			virtual: &qemu.Machine{Manufacturer: cloudStack.Manufacturer, Product: cloudStack.Product, UUID: otherInstance},
			files: map[string]string{
				ourConfig:               "[main]\ndeadline=10\n",
				guestReport + "/then-1": "echo check-instance-id=no >>" + ourConfig,
			},
			boots: []boot{
				{what: "refused", checks: plus(goesOn, namesBoth)},
				{what: "accepted", checks: plus(seeded, another, warnsOfBoth)},
			},
		},
	)
}

// outages are reboots of a VM that the virtual router knows, while that is down.
func outages(suite string) scenario {
	return scenario{
		name: suite + "/outage", about: "reboots while the virtual router is down",
		suite: suite, files: also(inContainer, healing, ""),
		boots: []boot{
			{what: "first boot", checks: plus(seeded, undisturbed, fresh, nothingToHeal)},
			{what: "virtual router down", outage: &outage{end: backAgain},
				checks: plus(again, undisturbed, fromCopy, fresh, stages(false), healUnit(true), usualProfile)},
			{what: "down for five seconds", outage: &outage{end: &moment{times: 1, after: 5 * time.Second}},
				checks: plus(again, undisturbed, fresh, nothingToHeal, usualProfile)},
		},
	}
}

// heals is a VM whose very first boot finds no virtual router.
func heals(suite string) scenario {
	files := also(impatient, healing, "")
	maps.Copy(files, who())
	maps.Copy(files, onlyListed) // without a seed, cloud-init's units fail
	maps.Copy(files, healsKilled)
	in := getsIn(keys(asDebian, nobody, nobody), "first", "in")
	whenHealed := plus(healed, running, stages(true), usualProfile, takenAway, in, passwordRequests(true, 1), healWasKilled)
	if suite != "bookworm" { // whose ds-identify adds DataSourceNone to the list: no unit fails
		whenHealed = append(whenHealed, unitsFailedBefore)
	}
	return scenario{
		name: suite + "/heal", about: "a first boot without a virtual router, which comes back; only CloudStack is listed, healing is killed once, and the VM ends healthy",
		suite: suite, files: files, userData: userData,
		boots: []boot{
			{what: "virtual router down", vm: serves("first", "old"), outage: &outage{end: backAgain},
				checks: whenHealed},
			{what: "reboot", checks: plus(again, undisturbed, usualProfile, takenAway, fresh, nothingToHeal, in, passwordRequests(true, 0), healthyHere)},
		},
	}
}

// asks is whoever else has leases: cloud-init's own DHCP client in its local stage,
// which on a clone asks for the original's address, for 40 s.
var asks = map[string][]string{"sid": {"dhcpcd-base"}}

// clone is a VM whose disk becomes another one's. A container has no DMI: there
// the MAC address is what tells them apart. Only our temporary connection has a
// network, so every lease that NetworkManager keeps is ours.
func clone(suite string, machine *qemu.Machine) scenario {
	s := scenario{
		name: suite + "/clone", about: "a disk that becomes another VM's, by its MAC address",
		suite: suite, remove: asks[suite], virtual: machine, machines: true, nics: make([]lab.NIC, 2),
		files: also(onlyOurs, traces, tracesOf),
		boots: []boot{
			{what: "first boot", vm: original, checks: plus(seeded, undisturbed, stays, ourProfile, traced(true))},
			{what: "another VM", on: 1, vm: otherVM, checks: plus(renewed, undisturbed, stays, ourProfile, traced(false))},
		},
	}
	if machine != nil {
		s.name, s.about = "qemu/"+s.name, "a disk that becomes another VM's, by its DMI"
	} else {
		maps.Copy(s.files, inContainer)
	}
	return s
}

// traces has what a clone must not know of the original any more, a line for each.
const traces = guestReport + "/traces"

const secretWord = "xyzzy-of-the-original"

const originalAddr = "10.1.1.100"

var tracesOf = instance + "\n" + secretWord + "\n" + publicKey() + "\n" + originalAddr + "\n"

func original(vm *vrtest.VM) {
	vm.Password = passwords["first"]
	vm.UserData = append(vm.UserData, "# "+secretWord+"\n"...)
}

// laidOnly is a boot without an instance, after which the seed is in place for
// the next one.
var laidOnly = plus(endsWell, check{"before", beforeIs(daemon.Failed)}, phase(daemon.Failed), nothingResident, fresh, healUnit(true),
	check{"what to do", func(r *report) error {
		for _, text := range []string{r.text("status"), r.text("issue.d/nm-cloud-seed.issue"), r.text(journalFile), r.console()} {
			if !strings.Contains(text, "counts from the next boot on") || !strings.Contains(text, "reboot to apply it") {
				return fmt.Errorf("%q does not say it", brief(text))
			}
		}
		return nil
	}})
