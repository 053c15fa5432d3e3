package main

import (
	"errors"
	"fmt"
	"strings"
)

// The verdicts on the D-Bus API and the dispatcher's hook. What boot-api saw is in
// the directory dbus.

const busUnit = "nm-cloud-seed-bus.service"

// served: anybody reads, root refreshes, and nothing stays.
var served = []check{
	{"D-Bus API", readable},
	{"D-Bus API's Refresh", refreshes},
	{"D-Bus storm", oneFetch},
	{"storms of events", fewFetches},
	{"D-Bus API's end", busEnds},
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

// oneFetch: the boot asks once, a refresh once, the storm once, and the command.
func oneFetch(r *report) error {
	if text := r.text("dbus/storm"); !strings.HasPrefix(text, "1000 of 1000\n") {
		return fmt.Errorf("the storm: %s %s", brief(text), brief(r.text("dbus/storm.stderr")))
	}
	if crawls, _ := r.crawls(); crawls != 4 {
		return fmt.Errorf("the virtual router was asked %d times, not 4", crawls)
	}
	return nil
}

// fewFetches: of two hundred events with a reason, one fetch each two seconds, and one
// after the last of them.
func fewFetches(r *report) error {
	const event = "asking the virtual router again: the lease of eth0 is from another DHCP server: 10.1.1.9"
	if asked := strings.Count(r.text("dbus/events"), event); asked != 200 {
		return fmt.Errorf("the hook has asked %d times, not 200: %s", asked, brief(r.text("dbus/events")))
	}
	if _, crawls := r.crawls(); crawls < 2 || crawls > 20 {
		return fmt.Errorf("the virtual router was asked %d times", crawls)
	}
	return nil
}

// crawls is how often the virtual router was asked for all, before boot-api's marker
// and after it.
func (r *report) crawls() (before, after int) {
	count := &before
	for _, request := range r.outcome.Requests {
		switch {
		case strings.Contains(request, " GET /marker "):
			count = &after
		case strings.Contains(request, " GET /latest/user-data "):
			*count++
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
