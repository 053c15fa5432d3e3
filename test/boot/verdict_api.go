package main

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// The verdicts on the D-Bus API and the dispatcher's hook. What boot-api saw is in
// the directory dbus.

const busUnit = "nm-cloud-seed-bus.service"

// served returns the verdicts on the D-Bus API: anybody reads, root refreshes, and no
// process stays. storm is about a thousand calls at once, where the image makes them.
func served(storm bool) []check {
	all := []check{
		{"D-Bus API", readable},
		{"D-Bus API's Refresh", refreshes},
		{"storms of events", fewFetches},
		{"D-Bus API's end", busEnds},
	}
	if storm {
		all = append(all, check{"D-Bus storm", oneFetch})
	}
	return all
}

func readable(r *report) error {
	for name, want := range map[string]string{
		"nobody-State": `s "ready"`, "nobody-InstanceId": `s "` + instance + `"`,
		"nobody-VirtualRouter": `s "10.1.1.1"`, "nobody-Source": `s "virtual router"`,
	} {
		if err := r.wants("dbus/"+name, want); err != nil {
			return err
		}
	}
	for _, name := range []string{"dbus/introspect", "dbus/nobody-introspect"} {
		for _, want := range []string{".Refresh", ".Steps", ".FetchedAt", "PropertiesChanged"} {
			if !strings.Contains(r.text(name), want) {
				return fmt.Errorf("%s has no %s: %s", name, want, brief(r.text(name+".stderr")))
			}
		}
	}
	return nil
}

// refreshes: for root, and for nobody else. Nothing has changed since the boot.
func refreshes(r *report) error {
	for name, says := range map[string]string{
		"dbus/nobody-refresh.stderr": "denied", "dbus/nobody-command.stderr": "only root may", "dbus/nobody-name.stderr": "",
	} {
		text := strings.ToLower(r.text(name))
		if !strings.Contains(text, "exit status 1") || !strings.Contains(text, says) {
			return fmt.Errorf("%s is %q", name, brief(text))
		}
	}
	if err := r.wants("dbus/refresh", "as 0"); err != nil {
		return err
	}
	return r.wants("dbus/command", `{"changed":[]}`)
}

// fetchShared is how long after its end a fetch is the answer to further calls, and so
// the least time between two fetches.
const fetchShared = 2 * time.Second

// oneFetch: a thousand calls at once are one fetch, beside that of the boot, of a refresh
// and of the command. On a busy machine the calls take longer than a fetch is shared.
func oneFetch(r *report) error {
	text := r.text("dbus/storm")
	within, err := time.ParseDuration(strings.TrimPrefix(text, "1000 of 1000\nwithin "))
	if err != nil {
		return fmt.Errorf("the storm: got %q, want 1000 of 1000: %s", brief(text), brief(r.text("dbus/storm.stderr")))
	}
	least, most := 4, 4+int(within/fetchShared)
	if before, _ := r.crawls(); len(before) < least || len(before) > most {
		return fmt.Errorf("the virtual router was asked %d times, want %d to %d", len(before), least, most)
	}
	return nil
}

// fewFetches: two hundred events with a reason are one fetch each two seconds, and one
// after the last of them.
func fewFetches(r *report) error {
	const event = "asking the virtual router again: the lease of eth0 is from another DHCP server: 10.1.1.9"
	const events = 200
	if asked := strings.Count(r.text("dbus/events"), event); asked != events {
		return fmt.Errorf("the hook has asked %d times, want %d: %s", asked, events, brief(r.text("dbus/events")))
	}
	_, after := r.crawls()
	if len(after) < 2 {
		return fmt.Errorf("the virtual router was asked %d times, want 2 or more", len(after))
	}
	for i := range after[1:] {
		// A fetch begins with other requests than this one.
		if apart := after[i+1].Sub(after[i]); apart >= 0 && apart < fetchShared/2 { // not at midnight
			return fmt.Errorf("the virtual router was asked again after %v, want %v or more", apart, fetchShared)
		}
	}
	return nil
}

// crawls returns when the virtual router was asked for all, before boot-api's marker
// and after it. The times have no date.
func (r *report) crawls() (before, after []time.Time) {
	crawls := &before
	for _, request := range r.outcome.Requests {
		clock, _, _ := strings.Cut(request, " ")
		at, _ := time.Parse(requestTime, clock) // our own format
		switch {
		case strings.Contains(request, " GET /marker "):
			crawls = &after
		case strings.Contains(request, " GET /latest/user-data "):
			*crawls = append(*crawls, at)
		}
	}
	return before, after
}

func busEnds(r *report) error {
	u := parseUnits(r.text("dbus/unit"))[""]
	switch {
	case u["SubState"] != "dead" || u["Result"] != "success":
		return fmt.Errorf("%s is %s, %s", busUnit, u["SubState"], u["Result"])
	case r.text("dbus/resident") != "":
		return fmt.Errorf("there is still %q", r.text("dbus/resident"))
	}
	return nil
}

const hookWord = "asking the virtual router again: this boot has no data from the virtual router"

// byTheHook: nobody waited any more, and the hook had it done.
var byTheHook = check{"hook", func(r *report) error {
	journal := r.text(journalFile)
	stopped := strings.Index(journal, "Stopped nm-cloud-seed-heal.service")
	asked := strings.Index(journal, hookWord)
	switch {
	case stopped < 0:
		return errors.New("the service that waits was not stopped")
	case asked < stopped:
		return errors.New("the hook has not asked after that")
	case !strings.Contains(journal[asked:], "Started "+busUnit):
		return fmt.Errorf("%s has not run for that", busUnit)
	}
	return nil
}}

// unasked: nobody has called in this boot, and so nothing of ours ran for that.
var unasked = check{"hook", func(r *report) error {
	for _, word := range []string{"asking the virtual router again", "Starting " + busUnit} {
		if strings.Contains(r.text(journalFile), word) {
			return fmt.Errorf("%q, where there is nothing to ask for", word)
		}
	}
	return nil
}}
