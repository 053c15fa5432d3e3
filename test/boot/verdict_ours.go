package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/nm-cloud-seed/nm-cloud-seed/internal/daemon"
)

// The verdicts on the package itself.

const ours = "nm-cloud-seed.service"

// state is what our service said of itself, in the end.
func (r *report) state() (s daemon.State, err error) {
	if err = json.Unmarshal([]byte(r.text("status.json")), &s); err != nil {
		return s, fmt.Errorf("cannot read our status: %w", err)
	}
	return s, nil
}

// seeded is when our service had laid the seed, 0 for never.
func (r *report) seeded() time.Duration {
	s, err := r.state()
	started := r.units[ours].time("ExecMainStartTimestampMonotonic")
	i := slices.IndexFunc(s.Steps, func(s daemon.Step) bool { return s.Name == "seed" })
	if err != nil || started == 0 || i < 0 {
		return 0
	}
	return started - r.started + time.Duration(s.Steps[i].At*float64(time.Millisecond))
}

// phase: our service's run ended like one of these.
func phase(want ...daemon.Phase) check {
	return check{"service", func(r *report) error {
		s, err := r.state()
		if err == nil && !slices.Contains(want, s.Phase) {
			return fmt.Errorf("the service is %s, want %s: %s", s.Phase, want, s.Text)
		}
		return err
	}}
}

// gone: nothing of ours stays in memory.
func gone(r *report) error {
	if state := r.units[ours]["SubState"]; state != "dead" && state != "exited" {
		return fmt.Errorf("the service is %s", state)
	}
	return nil
}

// cleared: what stood in systemd-networkd's place is gone with cloud-init's last
// stage. That it was there is what Debian 12 and 13 find their datasource by.
func cleared(r *report) error {
	left, err := fs.ReadDir(r.files, "netif/leases")
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if len(left) > 0 {
		return fmt.Errorf("there are still leases of systemd-networkd: %v", left)
	}
	return err
}

// temporaryStays: our connection is the only one. It stays when the service has
// gone, and the status says so.
func temporaryStays(r *report) error {
	s, err := r.state()
	if err != nil {
		return err
	}
	if len(s.Kept) != 1 {
		return fmt.Errorf("the status names %q as kept", s.Kept)
	}
	if !strings.Contains(r.text("nmcli"), "nm-cloud-seed "+s.Kept[0]) {
		return errors.New("there is no connection of ours")
	}
	return nil
}

// isPermanent: the connection is an ordinary profile, on disk, and there is no other
// of ours.
func isPermanent(r *report) error {
	s, err := r.state()
	if err != nil {
		return err
	}
	if len(s.Kept)+len(s.Temporary) > 0 {
		return fmt.Errorf("the status names %q as kept", append(s.Kept, s.Temporary...))
	}
	profiles := regexp.MustCompile(`(?m)^nm-cloud-seed .*$`).FindAllString(r.text("nmcli"), -1)
	if len(profiles) != 1 || !strings.Contains(profiles[0], "activated  /etc/NetworkManager/system-connections/nm-cloud-seed ") {
		return fmt.Errorf("the profiles of ours are %q", profiles)
	}
	return nil
}

// saysWhy: an operator learns the reason from the unit, the journal, the
// console, and above the login prompt.
func saysWhy(r *report) error {
	s, err := r.state()
	if err != nil {
		return err
	}
	why := s.Error
	switch {
	case why == "":
		return errors.New("the status gives no reason")
	case r.units[ours]["ActiveState"] != "failed":
		return fmt.Errorf("the unit is %s", r.units[ours]["ActiveState"])
	case len(otherFailures(r)) > 0:
		return fmt.Errorf("there are other failed units: %s", strings.Join(otherFailures(r), ", "))
	case !strings.Contains(r.text(journalFile), why):
		return errors.New("the journal does not say why")
	case !strings.Contains(r.console(), why):
		return errors.New("the console does not say why")
	case !strings.Contains(r.text("issue.d/nm-cloud-seed.issue"), why):
		return errors.New("/run/issue.d does not say why")
	}
	return nil
}

// otherFailures are failed units but ours, and the one of NetworkManager that
// fails wherever there is no lease.
func otherFailures(r *report) (names []string) {
	for line := range strings.Lines(r.text("failed")) {
		if name, _, _ := strings.Cut(strings.TrimLeft(line, "● "), " "); name != ours && name != "NetworkManager-wait-online.service" {
			names = append(names, name)
		}
	}
	return names
}

// ownSearch matches what cloud-init logs when it asks a virtual router itself: each
// request, and the end of its search two minutes later. cloudinit/url_helper.py
var ownSearch = regexp.MustCompile(`open 'http://|Calling 'http://|Giving up on waiting for the metadata`)

// noOwnSearch: after our deadline cloud-init's network stage goes on at once, without a
// search of its own for another two minutes.
func noOwnSearch(r *report) error {
	began, done := r.units[ours].time("ExecMainStartTimestampMonotonic")-r.started, r.active(networkStage...)
	if began < 0 || done == 0 {
		return errors.New("the service or cloud-init's network stage did not run")
	}
	if took := done - began; took < silentDeadline {
		return fmt.Errorf("cloud-init's network stage was done after %v, before our deadline of %v", took, silentDeadline)
	}
	log := r.cloudInitLog()
	if log == "" {
		return errors.New("there is no log of cloud-init")
	}
	for line := range strings.Lines(log) {
		if ownSearch.MatchString(line) {
			return fmt.Errorf("cloud-init has searched itself: %s", brief(strings.TrimSpace(line)))
		}
	}
	return nil
}
