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
	noFault    = fault{setup: "rm -f " + faultFile + "\n"}
	atStart    = fault{dropIn(`'[Service]' ExecStart= ExecStart=` + killer), "nm-cloud-seed.service did not start|the run was killed while it was", "signal"}
	searching  = fault{dropIn(`'[Service]' ExecStart= 'ExecStart=` + killer + ` "\"phase\": \"searching\""'`), "the run was killed while it was searching", "signal"}
	withSeed   = fault{dropIn(`'[Service]' ExecStart= 'ExecStart=` + killer + ` "\"instance-id\""'`), "the run was killed while it was fetching", "signal"}
	sandbox    = fault{dropIn(`'[Service]' ReadWritePaths=/nonexistent`), "nm-cloud-seed.service did not start", "exit-code"}
	noProgram  = fault{dropIn(`'[Service]' ExecStart= ExecStart=/nonexistent`), "nm-cloud-seed.service did not start", "exit-code"}
	tooSlow    = fault{dropIn(`'[Service]' ExecStart= 'ExecStart=/bin/sleep infinity' TimeoutStartSec=2`), "nm-cloud-seed.service did not start", "timeout"}
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

func untilHealing() *outage { return &outage{end: backAgain} }

// keeps is a reboot with a fault, while the virtual router is down.
func keeps(what string, f fault) boot {
	return boot{what: what, outage: untilHealing(), checks: plus(keptIdentity, wentOn(f), same, hasPassword)}
}

func kills() []scenario {
	usual := func(checks []check) []check { return plus(checks, undisturbed, fresh, nothingToHeal, hasPassword) }
	return []scenario{
		killed(scenario{
			name: "trixie/killed", about: "runs that are killed, time out, or are never started, after a boot as usual",
			suite: "trixie", files: inContainer,
			boots: []boot{
				{what: "first boot", checks: usual(seeded)},
				keeps("killed at its start", atStart),
				keeps("killed while it searches", searching),
				keeps("its sandbox fails", sandbox),
				keeps("its start times out", tooSlow),
				keeps("it is never started", notStarted),
				{what: "reboot", checks: usual(again)},
				{what: "its program cannot be executed", checks: plus(healthy, unborn, another, inert[0])},
			},
		}, noFault, atStart, searching, sandbox, tooSlow, notStarted, noFault, notExecutable),
		killed(scenario{
			name: "bookworm/killed", about: "a first boot whose run is killed heals, and later ones keep what that made",
			suite: "bookworm", files: inContainer,
			boots: []boot{
				{what: "first boot, killed at its start", outage: untilHealing(), checks: plus(healed, stages(true), usualProfile, wentWithout(atStart), hasPassword)},
				keeps("killed while it searches", searching),
				keeps("its program is missing", noProgram),
				{what: "reboot", checks: usual(again)},
			},
		}, atStart, searching, noProgram, noFault),
		killed(scenario{
			name: "sid/killed", about: "a first boot whose run is killed when it has written the seed",
			suite: "sid", files: inContainer,
			// While the password server is asked, the seed is in place. The first outage
			// ends that.
			vr: func(vr *vrtest.VR) { vr.SetFaults(vrtest.Fault{Port: vrtest.PasswordPort, Hang: true}) },
			boots: []boot{
				{what: "first boot, killed with its seed", checks: plus(keptIdentity, keptSeed(withSeed))},
				{what: "killed while it searches", outage: untilHealing(), checks: plus(keptIdentity, wentOn(searching), same)},
				{what: "reboot", checks: usual(again)},
			},
		}, withSeed, searching, noFault),
	}
}
