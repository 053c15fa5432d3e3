package main

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// The verdicts on variants: that the image is what it should be, and what else
// it must come to.

// isActive: a unit is there and has not given up.
func isActive(name string) check {
	return check{name, func(r *report) error {
		if state := r.units[name]["ActiveState"]; state != "active" {
			return fmt.Errorf("it is %q, want active", state)
		}
		return nil
	}}
}

// before: one unit was done before another one started.
func before(first, second string) check {
	return check{first + " first", func(r *report) error {
		done, began := r.units[first].time("ActiveEnterTimestampMonotonic"), r.units[second].time("InactiveExitTimestampMonotonic")
		if done == 0 || began == 0 || done > began {
			return fmt.Errorf("%s was done at %v, %s started at %v", first, done, second, began)
		}
		return nil
	}}
}

// connectedBy: NetworkManager's profile of this name has eth0.
func connectedBy(profile string) check {
	pattern := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(profile) + ` +\S+ +eth0 +activated`)
	return check{"profile", func(r *report) error {
		if !pattern.MatchString(r.text("nmcli")) {
			return fmt.Errorf("no %s is active on eth0", profile)
		}
		return nil
	}}
}

// saidBy: the journal has this.
func saidBy(pattern string) check {
	compiled := regexp.MustCompile(pattern)
	return check{"journal", func(r *report) error {
		if len(r.said(compiled)) == 0 {
			return fmt.Errorf("there is no line with %s", pattern)
		}
		return nil
	}}
}

// generated: our generator has written a file.
func generated(name string) check {
	return check{"generated", func(r *report) error {
		if !strings.Contains(r.text(name), "nm-cloud-seed-generator") {
			return fmt.Errorf("there is no %s of ours", name)
		}
		return nil
	}}
}

// from: this NIC's virtual router was taken.
func from(device string) check {
	return check{"device", func(r *report) error {
		s, err := r.state()
		if err == nil && (s.Instance == nil || s.Instance.Device != device) {
			err = fmt.Errorf("the instance is not from %s", device)
		}
		return err
	}}
}

var (
	firewalled      = check{"firewall", func(r *report) error { return r.wants("firewall", "running") }}
	resolvedAnswers = check{"resolved", func(r *report) error {
		if !regexp.MustCompile(`Link \d+ \(eth0\): 10\.1\.1\.1\b`).MatchString(r.text("resolved")) || !strings.Contains(r.text("resolv.conf"), "127.0.0.53") {
			return errors.New("it does not know eth0's name server, or nobody asks it")
		}
		return nil
	}}
	// onlyLinks: where the order is right, our services are pulled in, and the order stays.
	onlyLinks = check{"only links", func(r *report) error {
		for _, dir := range []string{"generator/", "generator.early/"} {
			for _, stage := range networkStage {
				if r.has(dir + stage) {
					return fmt.Errorf("there is a %s%s", dir, stage)
				}
			}
		}
		if !r.has("generator/cloud-init.target.wants/" + ours) {
			return errors.New("nothing pulls our service in")
		}
		return nil
	}}
	// mounted: what the first boot made is there, on its disk.
	mounted = check{"mount", func(r *report) error {
		if got := strings.Fields(r.text("data")); !slices.Equal(got, []string{"/dev/vda", "ext4"}) {
			return fmt.Errorf("on /data is %q", got)
		}
		return r.wants("data-marker", "kept")
	}}
	// nothingLeft: what is of the instance is gone with `cloud-init clean`.
	nothingLeft = check{"clean", func(r *report) error {
		left := r.text("cleaned")
		switch {
		case !strings.HasPrefix(left, "/var/lib/cloud") || r.has("clean.stderr"):
			return fmt.Errorf("cloud-init clean failed: %s", brief(r.text("clean.stderr")))
		case strings.Contains(left, "nm-cloud-seed") || strings.Contains(left, "/seed/cs"):
			return errors.New("there is something left of ours")
		case !strings.Contains(r.text("nm-state"), ".lease <=="):
			return errors.New("there was no lease to be forgotten")
		case strings.Contains(left, ".lease"): // no other connection had one
			return errors.New("there is a lease of ours left")
		}
		return nil
	}}
	// unborn: cloud-init has found no instance, as it should be.
	unborn = check{"no instance", func(r *report) error { return r.wants("instance-id", "iid-datasource-none") }}
	// another: it is not the machine of the boot before.
	another = check{"another machine", func(r *report) error {
		if r.previous == nil {
			return errors.New("there is no boot before")
		}
		for _, name := range []string{"host-keys", "instance-id"} {
			if now := r.text(name); now == "" || now == r.previous.text(name) {
				return fmt.Errorf("%s is as before", name)
			}
		}
		return nil
	}}
)

// renewed is a first boot of otherVM on a used image. The probes would find what
// the first VM had.
var renewed = slices.Concat(
	but(seeded, "probes", "instance-id", "hostname", "FQDN", "SSH key", "user-data"),
	[]check{
		{"instance-id", func(r *report) error { return r.wants("instance-id", otherInstance) }},
		{"hostname", func(r *report) error { return r.wants("hostname", otherHostname) }},
		{"FQDN", func(r *report) error { return r.wants("fqdn", otherHostname+"."+domain) }},
		{"SSH key", func(r *report) error {
			if !strings.Contains(r.text("authorized-keys"), otherKey) {
				return errors.New("it is not the other VM's")
			}
			return nil
		}},
		// By each of the two.
		{"user-data", func(r *report) error { return r.wants("runcmd", "executed\nexecuted") }},
		another,
	},
)

func plus(checks []check, more ...check) []check { return append(slices.Clone(checks), more...) }

// but are checks without those of these names.
func but(checks []check, names ...string) []check {
	return slices.DeleteFunc(slices.Clone(checks), func(c check) bool { return slices.Contains(names, c.name) })
}
