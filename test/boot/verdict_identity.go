package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/nm-cloud-seed/nm-cloud-seed/internal/daemon"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/lastboot"
)

// The verdicts on a VM's identity. What boot-report saw while the virtual router
// was down is in the directory before.

const (
	healService = "nm-cloud-seed-heal.service"
	stagesUnit  = "nm-cloud-seed-stages.service"
	// A boot waits so long before it goes on with the cached data of the last one; a
	// busy machine adds to that, but not as much as the service's own deadline of 120 s.
	cachedAfter, cachedBefore = 15 * time.Second, time.Minute
)

func stateIn(r *report, name string) (s daemon.State, err error) {
	if err = json.Unmarshal([]byte(r.text(name)), &s); err != nil {
		return s, fmt.Errorf("cannot read our status (%s): %w", name, err)
	}
	return s, nil
}

// copied is the copy of the boot's data.
func (r *report) copied() (c lastboot.Copy, err error) {
	if err = json.Unmarshal([]byte(r.text("ours/last-boot.json")), &c); err == nil && c.Instance == nil {
		err = errors.New("no instance")
	}
	if err != nil {
		return c, fmt.Errorf("cannot read the copy of the boot's data: %w", err)
	}
	return c, nil
}

// fresh: in the end the VM has the virtual router's data, for this boot or the
// next one, and wants nothing.
var fresh = check{"fresh data", func(r *report) error {
	s, err := r.state()
	if err != nil {
		return err
	}
	c, err := r.copied()
	switch {
	case err != nil:
		return err
	case s.Instance == nil || s.Instance.Source != daemon.VirtualRouter:
		return errors.New("the status does not say that the data is from the virtual router")
	case c.Instance.ID != s.Instance.ID || !c.Fetched.Equal(s.Instance.Fetched):
		return fmt.Errorf("the copy is of %s, fetched at %v; the status says %v", c.Instance.ID, c.Fetched, s.Instance.Fetched)
	case !strings.Contains(r.text("cs/meta-data"), s.Instance.ID):
		return fmt.Errorf("the seed is not of %s", s.Instance.ID)
	case strings.Contains(r.text("seed"), "wanting"):
		return errors.New("there is still /run/nm-cloud-seed/wanting")
	case r.has("issue.d/nm-cloud-seed.issue") != (s.Phase == daemon.Failed):
		return errors.New("the word above the login prompt is missing, or still there")
	}
	if r.previous != nil && r.previous.has("ours/last-boot.json") {
		if before, err := r.previous.copied(); err != nil || !c.Fetched.After(before.Fetched) {
			return fmt.Errorf("the copy is as old as before: %v, %v (%w)", before.Fetched, c.Fetched, err)
		}
	}
	return nil
}}

// fromCopy: the boot went on with the data of the last one, in time, and says so
// wherever an operator looks.
var fromCopy = check{"copy of the last boot", func(r *report) error {
	s, err := stateIn(r, "before/status.json")
	if err != nil {
		return err
	}
	const word = "data of the last boot"
	u := r.units[ours]
	took := u.time("ActiveEnterTimestampMonotonic") - u.time("ExecMainStartTimestampMonotonic")
	switch {
	case s.Phase != daemon.Ready || s.Instance == nil || s.Instance.Source != daemon.LastBoot:
		return fmt.Errorf("the service was %s, and the status does not say %q", s.Phase, daemon.LastBoot)
	case !s.Outcome.Good():
		return fmt.Errorf("the outcome was %+v", s.Outcome)
	case took < cachedAfter || took > cachedBefore:
		return fmt.Errorf("the service was ready after %v, want %v and a little more", took, cachedAfter)
	case r.text("before/wanting") == "":
		return errors.New("there was no /run/nm-cloud-seed/wanting")
	case !strings.Contains(r.text("before/status"), daemon.LastBoot):
		return errors.New("nm-cloud-seed status did not say so")
	case !strings.Contains(r.text(journalFile), word):
		return errors.New("the journal does not say so")
	case !strings.Contains(r.console(), word):
		return errors.New("the console does not say so")
	case !strings.Contains(r.text("before/issue.d/nm-cloud-seed.issue"), word):
		return errors.New("/run/issue.d did not say so")
	}
	return nil
}}

// healUnit: the service that waits for the virtual router ran, or had nothing to
// wait for; it is gone in either case.
func healUnit(want bool) check {
	return check{"heal unit", func(r *report) error {
		u := r.units[healService]
		if u["LoadState"] != "loaded" || u["ActiveState"] != "inactive" {
			return fmt.Errorf("the unit is %s, %s", u["LoadState"], u["ActiveState"])
		}
		if ran := u.time("InactiveExitTimestampMonotonic") > 0; ran != want || u["Result"] != "success" {
			return fmt.Errorf("the unit ran: %t, want %t; its result is %s", ran, want, u["Result"])
		}
		return nil
	}}
}

// endsQuietly: at shutdown the service that still waits is no failure.
var endsQuietly = check{"heal unit", func(r *report) error { return r.silent(healFailed) }}

var healFailed = regexp.MustCompile(`nm-cloud-seed-heal\.service: Failed with result`)

var nothingToHeal = healUnit(false)

// stages: cloud-init's stages ran again, or did not.
func stages(want bool) check {
	return check{"stages", func(r *report) error {
		ran := false
		for line := range strings.Lines(r.text(journalFile)) {
			ran = ran || strings.Contains(line, "systemd[1]:") && strings.Contains(line, stagesUnit)
		}
		if ran != want {
			return fmt.Errorf("cloud-init's stages ran again: %t, want %t", ran, want)
		}
		return nil
	}}
}

// beforeIs: how our service's run ended while the virtual router was down.
func beforeIs(phase daemon.Phase) func(*report) error {
	return func(r *report) error {
		s, err := stateIn(r, "before/status.json")
		if err == nil && s.Phase != phase {
			err = fmt.Errorf("the service was %s, want %s", s.Phase, phase)
		}
		return err
	}
}

var nothingResident = check{"no process", func(r *report) error {
	if text := r.text("resident"); text != "" || !r.has("resident") {
		return fmt.Errorf("there is still %q", brief(text))
	}
	return nil
}}

// endsWell is a boot in which our service fails, and nothing else.
var endsWell = []check{
	{"ends", ends},
	{"jobs", func(r *report) error { return r.wants("jobs", "") }},
	{"ordering", noCycle},
	{"shutdown", shutdown},
	{"other failed units", func(r *report) error {
		if others := otherFailures(r); len(others) > 0 {
			return fmt.Errorf("there are %s", strings.Join(others, ", "))
		}
		return nil
	}},
	{"cloud-init status", func(r *report) error {
		if text := r.text("cloud-init-status"); !strings.Contains(text, "status: done") {
			return errors.New(brief(text))
		}
		return nil
	}},
}

// healed is a first boot without data that became one with all of it. The probes
// had started before.
var healed = slices.Concat(endsWell, instanceSeen, []check{
	{"before", beforeIs(daemon.Failed)},
	{"no instance before", func(r *report) error {
		if got := r.text("before/instance-id"); got != "" && got != "iid-datasource-none" {
			return fmt.Errorf("before, it was instance %q", got)
		}
		return nil
	}},
	{"failed units", func(r *report) error {
		for line := range strings.Lines(r.text("failed")) {
			if cloudUnit.MatchString(line) || strings.Contains(line, ours) {
				return errors.New(brief(line))
			}
		}
		return nil
	}},
	phase(daemon.Ready), applied, defaultUser, passwordUsable, nothingResident, {"compatibility lease", cleared}, fresh, healUnit(true), sshdKey,
})

var cloudUnit = regexp.MustCompile(`(?m)^[● ]*cloud-`)

// unitsFailedBefore: without data, units of cloud-init's had failed, so that there was
// something to reset.
var unitsFailedBefore = check{"failed units before", func(r *report) error {
	if !cloudUnit.MatchString(r.text("before/failed")) {
		return fmt.Errorf("none of cloud-init's: %q", brief(r.text("before/failed")))
	}
	return nil
}}

// sshdKey: sshd shows the host key that is on the disk by now.
var sshdKey = check{"sshd's host key", func(r *report) error {
	for line := range strings.Lines(r.text("sshd-key")) {
		if f := strings.Fields(line); len(f) == 3 && strings.Contains(r.text("host-keys"), f[1]+" "+f[2]) {
			return nil
		}
	}
	return fmt.Errorf("sshd has %q, and that is not on the disk", brief(r.text("sshd-key")))
}}

// asAtFirst: after a boot as nobody it is the instance of the boot before that.
var asAtFirst = check{"same machine", func(r *report) error {
	if r.previous == nil || r.previous.previous == nil {
		return errors.New("there are no two boots before")
	}
	for _, name := range []string{"instance-id", "hostname", "users", "authorized-keys"} {
		if first := r.previous.previous.text(name); first == "" || first != r.text(name) {
			return fmt.Errorf("%s is not as at first", name)
		}
	}
	return nil
}}

// nobodys is a boot of a clone that finds no virtual router.
var nobodys = []check{
	{"ends", ends}, {"ordering", noCycle}, {"shutdown", shutdown},
	{"cloud-id", func(r *report) error { return r.wants("cloud-id", "none") }},
	phase(daemon.Failed), {"word of it", saysWhy}, {"deadline", noOwnSearch}, endsQuietly,
}

// traced: there is something of the original in our files and in what the DHCP
// server was asked for, or there is not.
func traced(want bool) check {
	return check{"traces", func(r *report) error {
		found := r.text("traces")
		if !r.has("traces") || r.has("traces.stderr") || (found != "") != want {
			return fmt.Errorf("of the original there is something in %q: want that: %t", found, want)
		}
		if is := r.has("ours/password.json"); is != want {
			return fmt.Errorf("there is a record of the original's password: %t, want %t", is, want)
		}
		if asked := r.text(dhcpFile); asked == "" || strings.Contains(asked, originalAddr) != want {
			return fmt.Errorf("the DHCP server was asked for the original's address: %t, want %t", !want, want)
		}
		return nil
	}}
}

// forgotten: it says that it has forgotten the original.
var forgotten = saidBy(`nm-cloud-seed\[.*another machine.*(forgotten|deleted|removed)`)

// profile: of all connections of NetworkManager's this is the only one of a NIC,
// and the name of the NIC is its last word.
func profile(name string) check {
	row := regexp.MustCompile(`^(.*\S) +ethernet +(\S+) +(\S+)`)
	return check{"connections", func(r *report) error {
		var got []string
		for line := range strings.Lines(r.text("nmcli")) {
			if f := row.FindStringSubmatch(line); f != nil {
				got = append(got, strings.TrimSuffix(f[1], f[2])+f[3])
			}
		}
		if !slices.Equal(got, []string{name + " activated"}) {
			return fmt.Errorf("they are %q, want only %q, activated", got, name)
		}
		return nil
	}}
}

var usualProfile, ourProfile = profile("cloud-init"), profile("nm-cloud-seed")

// bothNamed: a text has the VM's id and the one that the virtual router serves.
func bothNamed(name, text string) error {
	if !strings.Contains(text, instance) || !strings.Contains(text, otherInstance) {
		return fmt.Errorf("%s does not name both ids: %s", name, brief(text))
	}
	return nil
}

var (
	namesBoth = check{"both ids", func(r *report) error {
		s, err := r.state()
		return errors.Join(err, bothNamed("the status", s.Error)) // which the journal and the console have, too: saysWhy
	}}
	warnsOfBoth = check{"both ids", func(r *report) error {
		s, err := r.state()
		if err != nil || s.Instance == nil {
			return errors.Join(err, errors.New("there is no instance"))
		}
		for _, warning := range s.Instance.Warnings {
			if !strings.Contains(r.text(journalFile), warning) {
				err = errors.New("the journal does not say what the status warns of")
			}
		}
		return errors.Join(err, bothNamed("the status", strings.Join(s.Instance.Warnings, "\n")))
	}}
)
