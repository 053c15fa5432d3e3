package main

import (
	"fmt"
	"path"
	"slices"

	"github.com/nm-cloud-seed/nm-cloud-seed/datasource/cloudstack/vrtest"
)

// A run that is killed, times out or is never started does not cost the VM its
// identity.

// fault is what happens to the service in a boot.
type fault struct {
	setup  string // shell commands, before the boot
	says   string // what an operator reads about it
	result string // of the unit, as systemd has it; empty: the unit was not started
}

const (
	faultFile = "/etc/systemd/system/" + ours + ".d/fault.conf"
	killer    = "/usr/local/lib/boot-kill"
)

// killerText is the service's program, and what kills it: at once without an argument,
// otherwise when the state has this text.
const killerText = `#!/bin/sh
(
  until [ $# = 0 ] || grep -q "$1" /run/nm-cloud-seed/status.json 2>/dev/null; do sleep 0.01; done
  kill -9 $$
) &
exec /usr/bin/nm-cloud-seed run
`

func dropIn(text string) string {
	return "mkdir -p " + path.Dir(faultFile) + "\nprintf '%s\\n' " + text + " >" + faultFile + "\n"
}

var (
	noFault   = fault{setup: "rm -f " + faultFile + "\n"}
	atStart   = fault{dropIn(`'[Service]' ExecStart= ExecStart=` + killer), "nm-cloud-seed.service did not start|the run was killed while it was", "signal"}
	searching = fault{dropIn(`'[Service]' ExecStart= 'ExecStart=` + killer + ` "\"phase\": \"searching\""'`), "the run was killed while it was searching", "signal"}
	fetching  = fault{dropIn(`'[Service]' ExecStart= 'ExecStart=` + killer + ` "\"phase\": \"fetching\""'`), "the run was killed while it was fetching", "signal"}
	withSeed  = fault{dropIn(`'[Service]' ExecStart= 'ExecStart=` + killer + ` "\"instance-id\""'`), "the run was killed while it was fetching", "signal"}
	sandbox   = fault{dropIn(`'[Service]' ReadWritePaths=/nonexistent`), "nm-cloud-seed.service did not start", "exit-code"}
	noProgram = fault{dropIn(`'[Service]' ExecStart= ExecStart=/nonexistent`), "nm-cloud-seed.service did not start", "exit-code"}
	tooSlow   = fault{dropIn(`'[Service]' ExecStart= 'ExecStart=/bin/sleep infinity' TimeoutStartSec=2`), "nm-cloud-seed.service did not start", "timeout"}
	// slow is a machine on which the program begins late. It is no fault.
	slow       = fault{setup: dropIn(`'[Service]' ExecStart= "ExecStart=/bin/sh -c 'sleep 35; exec /usr/bin/nm-cloud-seed run'"`)}
	notStarted = fault{dropIn(`'[Unit]' ConditionPathExists=/nonexistent`), "nm-cloud-seed.service did not start", ""}
	// notExecutable is the program, so the generator as well.
	notExecutable = fault{setup: noFault.setup + "chmod 644 /usr/bin/nm-cloud-seed\n"}
)

// killed returns a scenario whose boots have these faults.
func killed(s scenario, faults ...fault) scenario {
	s.files = also(s.files, healing, "", killer, killerText, guestReport+"/who/first.password", passwords["first"])
	for n, f := range faults {
		s.boots[n].vm = serves("first", "")
		if n == 0 {
			s.setup += f.setup
		} else {
			s.files[fmt.Sprintf("%s/then-%d", guestReport, n)] = f.setup
		}
	}
	return s
}

// thenKilled is another order of the boot: its run is killed in the reboot. A service
// that did not find all in the first boot does not in the reboot. Further checks replace
// those of the same name.
func thenKilled(s scenario, more ...check) scenario {
	s.about += "; a run that is killed"
	checks := slices.DeleteFunc(keeps("", atStart).checks, func(c check) bool {
		return slices.ContainsFunc(more, func(m check) bool { return m.name == c.name })
	})
	checks = plus(checks, more...)
	if !slices.ContainsFunc(s.boots[0].checks, func(c check) bool { return c.name == "probes" }) {
		checks = but(checks, "probes")
	}
	s.boots[1] = boot{what: "killed at its start", outage: untilHealing(), checks: checks}
	return killed(s, noFault, atStart)
}

// untilHealing is an outage of all that the virtual router answers, or of some of it.
func untilHealing(faults ...vrtest.Fault) *outage { return &outage{faults: faults, end: backAgain} }

// keeps is a reboot with a fault, while the virtual router is down, or does not answer
// some requests.
func keeps(what string, f fault, faults ...vrtest.Fault) boot {
	return boot{what: what, outage: untilHealing(faults...), checks: plus(keptIdentity, wentOn(f), same, hasPassword)}
}

// While these hang, the run is fetching, and has written the seed.
var (
	userDataHangs       = vrtest.Fault{Match: vrtest.Path("/latest/user-data"), Hang: true}
	passwordServerHangs = vrtest.Fault{Port: vrtest.PasswordPort, Hang: true}
)

// healKiller is a program for nm-cloud-seed-heal.service: it is killed once, while
// cloud-init runs its stages again.
const healKiller = `#!/bin/sh
if mkdir /run/nm-cloud-seed/killed-once; then (
  until grep -q '"stage": "init"' /run/cloud-init/status.json && [ "$(systemctl is-active nm-cloud-seed-stages.service)" = activating ]; do sleep 0.01; done
  kill -9 $$
) & fi
exec /usr/bin/nm-cloud-seed heal
`

// healsKilled are files of an image whose healing is killed once.
var healsKilled = map[string]string{
	"/usr/local/lib/boot-kill-heal":                               healKiller,
	"/etc/systemd/system/nm-cloud-seed-heal.service.d/fault.conf": "[Service]\nExecStart=\nExecStart=/usr/local/lib/boot-kill-heal\nRestartSec=1\n",
}

func kills() []scenario {
	usual := func(checks []check) []check { return plus(checks, undisturbed, fresh, nothingToHeal, hasPassword) }
	var all []scenario
	for _, suite := range suites {
		all = append(all, killed(scenario{
			name: suite + "/killed-first", about: "a first boot whose run is killed while it searches heals; killed while it fetches, and with its seed",
			suite: suite, files: inContainer, extended: "the killed scenarios, which kill at each moment on some suite",
			boots: []boot{
				{what: "first boot, killed while it searches", outage: untilHealing(), checks: plus(healed, stages(true), usualProfile, wentWithout(searching), hasPassword)},
				keeps("killed while it fetches", fetching, userDataHangs),
				{what: "killed with its seed", outage: untilHealing(passwordServerHangs), checks: plus(keptIdentity, keptSeed(withSeed), same, hasPassword)},
				{what: "reboot", checks: usual(again)},
			},
		}, searching, fetching, withSeed, noFault))
	}
	return append(all,
		killed(scenario{
			name: "trixie/killed", about: "runs that are killed, time out, or are never started, after a boot as usual; a program that cannot be executed costs the identity",
			suite: "trixie", files: inContainer,
			boots: []boot{
				{what: "first boot", checks: usual(seeded)},
				keeps("killed at its start", atStart),
				keeps("killed while it searches", searching),
				keeps("its program is missing", noProgram),
				keeps("its sandbox fails", sandbox),
				keeps("its start times out", tooSlow),
				keeps("it is never started", notStarted),
				{what: "reboot", checks: usual(again)},
				{what: "its program cannot be executed", checks: plus(healthy, unborn, another, inert[0])},
			},
		}, noFault, atStart, searching, noProgram, sandbox, tooSlow, notStarted, noFault, notExecutable),
		killed(scenario{
			name: "bookworm/killed", about: "a first boot whose run is killed heals, and later ones keep what that made; a program that begins late",
			suite: "bookworm", files: inContainer,
			boots: []boot{
				{what: "first boot, killed at its start", outage: untilHealing(), checks: plus(healed, stages(true), usualProfile, wentWithout(atStart), hasPassword)},
				keeps("killed while it searches", searching),
				keeps("killed while it fetches", fetching, userDataHangs),
				keeps("killed at its start", atStart),
				// Once the unit had 30 s.
				{what: "reboot, its program begins after 35 s", checks: usual(but(again, "stalls"))},
			},
		}, atStart, searching, fetching, atStart, slow),
		killed(scenario{
			name: "sid/killed", about: "a first boot whose run is killed while it fetches, and a reboot whose run has written the seed",
			suite: "sid", files: inContainer,
			boots: []boot{
				{what: "first boot, killed while it fetches", outage: untilHealing(userDataHangs), checks: plus(healed, stages(true), usualProfile, wentWithout(fetching), hasPassword)},
				keeps("killed at its start", atStart),
				keeps("killed while it searches", searching),
				{what: "killed with its seed", outage: untilHealing(passwordServerHangs), checks: plus(keptIdentity, keptSeed(withSeed), same, hasPassword)},
				{what: "reboot", checks: usual(again)},
			},
		}, fetching, atStart, searching, withSeed, noFault),
	)
}
