package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/nm-cloud-seed/nm-cloud-seed/internal/daemon"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/doctor"
)

// The verdicts on what cloud-init made of the seed, and on what our service says of it.

// applied: our status says that cloud-init applied the seed.
var applied = check{"outcome", func(r *report) error {
	s, err := r.state()
	switch {
	case err != nil:
		return err
	case !s.Outcome.Good():
		return fmt.Errorf("the outcome is %+v, want a good one: %s", s.Outcome, s.Text)
	case s.Instance == nil || s.Outcome.Instance != s.Instance.ID:
		return fmt.Errorf("the outcome is of instance %q, and the seed is of %+v", s.Outcome.Instance, s.Instance)
	}
	return nil
}}

// spoiled: cloud-init failed with the seed, in these words, and all that an operator looks
// at says so: the status and its exit status, the doctor, the journal, the console, and
// the login prompt.
func spoiled(failures ...string) check {
	return check{"outcome", func(r *report) error {
		s, err := r.state()
		if err != nil {
			return err
		}
		switch {
		case s.Phase != daemon.Failed || !s.Outcome.Failed():
			return fmt.Errorf("the service is %s, and the outcome %+v, want both %s: %s", s.Phase, s.Outcome, daemon.Failed, s.Text)
		case !slices.Equal(s.Outcome.Failures, failures):
			return fmt.Errorf("the outcome has the failures %q, want %q", s.Outcome.Failures, failures)
		case !strings.Contains(s.Text, s.Outcome.Reason()):
			return fmt.Errorf("the status does not say %q", s.Outcome.Reason())
		case !strings.Contains(r.text("status.stderr"), "exit status 1"):
			return fmt.Errorf("the exit status of 'nm-cloud-seed status' is not 1: %q", r.text("status.stderr"))
		case strings.Contains(r.text("doctor"), "All is well"):
			return errors.New("the doctor says that all is well")
		}
		for name, text := range map[string]string{
			"the journal": r.text(journalFile), "the console": r.console(), "the login prompt": r.text("issue.d/nm-cloud-seed.issue"),
		} {
			if !strings.Contains(text, s.Text) {
				err = errors.Join(err, fmt.Errorf("%s does not say %q", name, s.Text))
			}
		}
		return errors.Join(err, isProblem(r.text(doctorJSON), "this-boot.cloud-init", failures))
	}}
}

// failedEarlier: what failed in an earlier boot, and does not run again, is still said.
func failedEarlier(failures ...string) check {
	return check{"earlier failures", func(r *report) error {
		s, err := r.state()
		if err == nil && (s.Outcome == nil || !slices.Equal(s.Outcome.Earlier, failures)) {
			err = fmt.Errorf("the outcome is %+v, want the earlier failures %q", s.Outcome, failures)
		}
		return err
	}}
}

// isProblem is an error unless a check of the doctor's is a problem with these items among
// others.
func isProblem(report, name string, items []string) error {
	checks, err := doctorChecks(report)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(checks, func(c doctor.Check) bool { return c.Name == name })
	if i < 0 || checks[i].State != doctor.Problem {
		return fmt.Errorf("the doctor finds no problem with %s", name)
	}
	for _, item := range items {
		if !slices.Contains(checks[i].Items, item) {
			return fmt.Errorf("the doctor does not say %q, but %q", item, checks[i].Items)
		}
	}
	return nil
}

// passwordUsable: a password of CloudStack's that was applied can be used, in this boot
// and in each one after it.
var passwordUsable = check{"password of the default user", func(r *report) error {
	now := passwordState(r)
	if set := r.has("ours/password.json"); set && now != "P" {
		return fmt.Errorf("a password was applied, and passwd says %q: %q", now, r.text("password"))
	}
	for _, before := range r.ofThisInstance() {
		if passwordState(before) == "P" && now != "P" {
			return fmt.Errorf("it was usable in an earlier boot, and passwd says %q by now", now)
		}
	}
	return nil
}}

// passwordState is P (usable), L (locked) or NP (none).
func passwordState(r *report) string {
	if f := strings.Fields(r.text("password")); len(f) > 1 && f[0] == "debian" {
		return f[1]
	}
	return ""
}

// ofThisInstance returns the earlier boots that were the same instance, the newest first.
func (r *report) ofThisInstance() (boots []*report) {
	for before := r.previous; before != nil; before = before.previous {
		if id := before.text("instance-id"); id != "" && id == r.text("instance-id") {
			boots = append(boots, before)
		}
	}
	return boots
}

// firstHostKeys: the host keys are those of the first boot that was this instance.
var firstHostKeys = check{"host keys of the first boot", func(r *report) error {
	boots := r.ofThisInstance()
	if len(boots) == 0 {
		return nil
	}
	if first := boots[len(boots)-1].text("host-keys"); first == "" || first != r.text("host-keys") {
		return fmt.Errorf("they are %q, and were %q", brief(r.text("host-keys")), brief(first))
	}
	return nil
}}

// sameInstance: it is the same instance, of which the boot before made nothing.
var sameInstance = check{"same machine", func(r *report) error {
	if r.previous == nil || r.text("instance-id") == "" || r.previous.text("instance-id") != r.text("instance-id") {
		return errors.New("instance-id changed over the reboot, or there is no boot before")
	}
	return nil
}}

// defaultUser: there is one, with a home.
var defaultUser = check{"default user", func(r *report) error {
	for line := range strings.Lines(r.text("users")) {
		if f := strings.Split(strings.TrimSpace(line), ":"); len(f) == 7 && f[0] == "debian" && f[5] == "/home/debian" {
			return nil
		}
	}
	return errors.New("there is no user debian")
}}
