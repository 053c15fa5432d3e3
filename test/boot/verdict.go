package main

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// networkStage is cloud-init's unit, by its old and its new name.
var networkStage = []string{"cloud-init.service", "cloud-init-network.service"}

// judge says what is wrong with a boot. Of one that did not come to its end
// there is a journal at best.
func judge(r *report, checks []check) (wrong []error) {
	if !r.outcome.Cut && ends(r) != nil {
		checks = []check{{"ends", ends}, {"ordering", noCycle}, {"timeouts", noTimeout}}
	}
	for _, c := range checks {
		if err := c.judge(r); err != nil {
			wrong = append(wrong, fmt.Errorf("%s: %w", c.name, err))
		}
	}
	return wrong
}

var running = check{"running", func(r *report) error { return r.wants("state", "running") }}

// healthy is what every boot has to be, whatever cloud-init finds.
var healthy = []check{
	{"ends", ends},
	running,
	{"failed units", func(r *report) error { return r.wants("failed", "") }},
	{"jobs", func(r *report) error { return r.wants("jobs", "") }},
	{"ordering", noCycle},
	{"timeouts", noTimeout},
	{"stalls", stalls},
	{"shutdown", shutdown},
}

// instanceSeen is cloud-init with the right instance. None of it holds without
// the package, which TestBugFailsAsItShould and the boots without it show.
var instanceSeen = []check{
	{"datasource", datasource},
	{"cloud-id", func(r *report) error { return r.wants("cloud-id", "cloudstack") }},
	{"instance-id", func(r *report) error { return r.wants("instance-id", instance) }},
	{"hostname", func(r *report) error { return r.wants("hostname", hostname) }},
	{"FQDN", func(r *report) error { return r.wants("fqdn", fqdn) }},
	{"SSH key", sshKey},
	{"user-data", userDataOnce},
}

// works is a first boot that is as it should be. cloud-init's guarantee, that
// services start after it, is part of that.
var works = slices.Concat(healthy, instanceSeen, []check{{"probes", probes}, {"cloud-init log", complaints}})

// Messages of systemd and dbus-daemon, of the versions 252 to 262 and 1.14 to 1.16.
var (
	cycle   = regexp.MustCompile(`(?i)ordering cycle|unable to break cycle`)
	timeout = regexp.MustCompile(`(?i)\btimed out\b|timeout was reached`)
	unclean = regexp.MustCompile(`(?i)failed unmounting|failed to unmount|timed out stopping|stopping timed out|` +
		`state 'stop-.*' timed out|killing process|with signal SIGKILL|a stop job is running`)
)

func noCycle(r *report) error   { return r.silent(cycle) }
func noTimeout(r *report) error { return r.silent(timeout) }

// ends: the report is whole, and the system powered itself off.
func ends(r *report) error {
	if r.outcome.Error != "" {
		return errors.New(brief(r.outcome.Error))
	}
	if !r.has("complete") || r.has("units.stderr") {
		return fmt.Errorf("the report is incomplete: %s", cmp.Or(brief(r.text("units.stderr")), "it was cut off"))
	}
	return nil
}

// stallLimit is D-Bus' time for a service that cannot start, and usualLoading how long
// systemd takes on a quiet machine from its start until it has loaded the units.
const stallLimit, usualLoading = 25 * time.Second, 500 * time.Millisecond

// stalls finds what took longer to start than anything should in a container, at the
// pace of this boot. An emulated processor may need that long. At a slow pace it misses
// a single stall of D-Bus: dbus-daemon reports that one, and noTimeout finds the report.
func stalls(r *report) error {
	if r.outcome.Virtual {
		return nil
	}
	limit := time.Duration(float64(stallLimit) * r.pace())
	for name, u := range r.units {
		from := u.time("InactiveExitTimestampMonotonic")
		to := cmp.Or(u.time("ActiveEnterTimestampMonotonic"), u.time("InactiveEnterTimestampMonotonic")) // or it never was active
		if from > 0 && to-from >= limit {
			return fmt.Errorf("%s took %v to start, want less than %v", name, (to - from).Round(time.Millisecond), limit.Round(time.Second))
		}
	}
	return nil
}

// pace returns how many times longer than usual this boot's start took, 1 if it took
// less or did not say.
func (r *report) pace() float64 {
	loaded := r.manager.time("UnitsLoadFinishTimestampMonotonic") - r.started
	return max(1, float64(loaded)/float64(usualLoading))
}

var poweredOff = regexp.MustCompile(`Reached target (poweroff\.target|System Power Off)`)

func shutdown(r *report) error {
	if len(r.said(poweredOff)) == 0 {
		return errors.New("it did not reach poweroff.target")
	}
	return r.silent(unclean)
}

// datasource: CloudStack's, in the network stage or (since 25.2) the local one.
func datasource(r *report) error {
	if got := r.text("datasource"); !strings.HasPrefix(got, "DataSourceCloudStack") {
		return fmt.Errorf("the datasource is %q", brief(got))
	}
	return nil
}

func sshKey(r *report) error {
	if keys := r.text("authorized-keys"); !strings.Contains(keys, publicKey()) {
		return fmt.Errorf("authorized_keys is %q", brief(keys))
	}
	return nil
}

// userDataOnce: its commands were executed by now, once in the instance's life.
func userDataOnce(r *report) error { return r.wants("runcmd", "executed") }

// probes: each of them found all that it looked for.
func probes(r *report) error {
	var errs []error
	for _, name := range []string{"plain", "network", "cron", "timer", "path", "socket"} {
		switch text := r.text("probe/" + name); {
		case !r.has("probe/" + name):
			errs = append(errs, fmt.Errorf("%s did not run", name))
		case text != "":
			errs = append(errs, fmt.Errorf("%s found %s", name, strings.ReplaceAll(text, "\n", ", ")))
		}
	}
	return errors.Join(errs...)
}

var (
	complaint = regexp.MustCompile(`\[(WARNING|ERROR|CRITICAL)\]|Traceback`)
	// 26.2 starts a DHCP client itself in the local stage. There may be none;
	// with dhcpcd it gets a lease, ends dhcpcd, and then asks it for the lease.
	trials = regexp.MustCompile(`Unable to obtain a DHCP lease|Failed to bring up EphemeralIPNetwork`)
	// Its local stage does not wait for udev, which loads the NIC's driver in a
	// machine without an initrd: an emulated one may have no NIC yet.
	noNIC = regexp.MustCompile(`Did not find a fallback interface`)
)

// harmless reports whether a complaint of cloud-init's is nobody's fault here.
func (r *report) harmless(line string) bool {
	return trials.MatchString(line) || r.outcome.Virtual && noNIC.MatchString(line)
}

// cloudInitLog is what cloud-init logged in this boot.
func (r *report) cloudInitLog() string {
	log := r.text("cloud-init.log")
	return log[max(0, strings.LastIndex(log, "running 'init-local'")):]
}

// complaints finds the first thing that cloud-init did not like.
func complaints(r *report) error {
	for line := range strings.Lines(r.cloudInitLog()) {
		if complaint.MatchString(line) && !r.harmless(line) {
			return errors.New(brief(strings.TrimSpace(line)))
		}
	}
	return nil
}

// sameMachine: nothing changed that only a new instance may change.
func sameMachine(r *report) error {
	if r.previous == nil {
		return errors.New("there is no boot before")
	}
	for _, name := range []string{"host-keys", "instance-id", "authorized-keys", "users"} {
		if before := r.previous.text(name); before == "" || before != r.text(name) {
			return fmt.Errorf("%s changed over the reboot", name)
		}
	}
	return nil
}

// not is the opposite of checks: each must find something wrong, or it proves
// nothing where it finds nothing.
func not(checks ...check) (opposite []check) {
	for _, c := range checks {
		opposite = append(opposite, check{"no " + c.name, func(r *report) error {
			if c.judge(r) == nil {
				return fmt.Errorf("the check of the %s finds nothing wrong", c.name)
			}
			return nil
		}})
	}
	return opposite
}
