package main

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/nm-cloud-seed/nm-cloud-seed/internal/daemon"
)

// The verdicts on boots whose run was killed, timed out, or never started.

// keptIdentity is a boot whose run did not come to its end, of a VM that has all that
// an instance has.
var keptIdentity = slices.Concat(endsWell, instanceSeen, []check{
	{"probes", probes}, {"cloud-init log", complaints}, phase(daemon.Ready), nothingResident,
	{"compatibility lease", cleared}, fresh, stages(false), healUnit(true), usualProfile,
	applied, defaultUser, passwordUsable, firstHostKeys, running,
})

// hadFault returns an error unless the fault has happened to the service.
func (r *report) hadFault(f fault) error {
	u := r.units[ours]
	switch {
	case f.result == "" && (u["ActiveState"] != "inactive" || u["ConditionResult"] != "no"):
		return fmt.Errorf("the service is %s, as if it had been started", u["ActiveState"])
	case f.result != "" && !strings.Contains(r.text(journalFile), ours+": Failed with result '"+f.result+"'"):
		return fmt.Errorf("the service did not fail with the result %s", f.result)
	case u["ActiveState"] == "failed": // the end of healing resets that
		return errors.New("the service is still failed")
	}
	return nil
}

// in returns an error unless the text has one of what a fault says.
func (f fault) in(name, text string) error {
	if !slices.ContainsFunc(strings.Split(f.says, "|"), func(one string) bool { return strings.Contains(text, one) }) {
		return fmt.Errorf("%s does not say %q, but %s", name, f.says, brief(text))
	}
	return nil
}

// toldBefore returns an error unless an operator could read of the fault while the
// virtual router was down.
func (r *report) toldBefore(f fault) error {
	err := errors.Join(
		f.in("the journal", r.text(journalFile)), f.in("the console", r.console()),
		f.in("/run/issue.d", r.text("before/issue.d/nm-cloud-seed.issue")), f.in("nm-cloud-seed status", r.text("before/status")))
	if r.text("before/wanting") == "" {
		err = errors.Join(err, errors.New("there was no /run/nm-cloud-seed/wanting"))
	}
	return err
}

// wentOn: the fault has happened, and the boot went on with the data of the last one.
func wentOn(f fault) check {
	return check{"went on", func(r *report) error {
		s, err := stateIn(r, "before/status.json")
		if err == nil && (s.Phase != daemon.Ready || s.Instance == nil || s.Instance.Source != daemon.LastBoot || s.Ended == nil) {
			err = fmt.Errorf("the service was %s, and the status does not say %q", s.Phase, daemon.LastBoot)
		}
		return errors.Join(err, r.hadFault(f), f.in("the status", s.Error), r.toldBefore(f))
	}}
}

// wentWithout: the fault has happened, in a first boot, and said so. That is over when
// the VM has healed, and the service no failed unit any more.
func wentWithout(f fault) check {
	return check{"went without", func(r *report) error {
		s, err := stateIn(r, "before/status.json")
		if !strings.Contains(r.text("before/failed"), ours) {
			err = errors.Join(err, errors.New("the service had not failed"))
		}
		return errors.Join(err, f.in("the status", s.Error), r.toldBefore(f))
	}}
}

// keptSeed: the fault has happened when the seed was in place, and the boot kept it. The
// virtual router answers, so healing may have ended before anybody looks.
func keptSeed(f fault) check {
	return check{"kept the seed", func(r *report) error {
		s, err := r.state()
		return errors.Join(err, r.hadFault(f), f.in("the status", s.Error), f.in("the journal", r.text(journalFile)), f.in("the console", r.console()))
	}}
}

var killedHeal = regexp.MustCompile(`nm-cloud-seed-heal\.service: Main process exited, code=killed, status=9/KILL`)

// healWasKilled: healing was killed once, and ended well.
var healWasKilled = check{"healing was killed", func(r *report) error {
	if n := len(r.said(killedHeal)); n != 1 {
		return fmt.Errorf("it was killed %d times, want once", n)
	}
	return nil
}}

// hasPassword: the password of the first boot is still the default user's.
var hasPassword = check{"password", func(r *report) error { return r.wants("who-gets-in", "first: right, by SSH in") }}
