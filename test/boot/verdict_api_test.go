package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// Each verdict on the D-Bus API and the hook finds what it is there for.
func TestVerdictsOnTheAPIFindEachDefect(t *testing.T) {
	t.Parallel()
	asked := func(before, after int, apart ...string) string {
		const crawl = ":80 GET /latest/user-data 200"
		o := outcome{Requests: slices.Concat(slices.Repeat([]string{"11:00:00.000 " + crawl}, before), []string{"11:00:00.000 :80 GET /marker 404"})}
		for i := range after {
			o.Requests = append(o.Requests, fmt.Sprintf("11:00:%02d.000 %s", 3*i, crawl))
		}
		for _, at := range apart {
			o.Requests = append(o.Requests, at+" "+crawl)
		}
		text, err := json.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	events := func(times int) string {
		return strings.Repeat("nm-cloud-seed: asking the virtual router again: the lease of eth0 is from another DHCP server: 10.1.1.9\n", times)
	}
	const members = ".Refresh .Steps .FetchedAt .PropertiesChanged\n"
	right := map[string]string{
		"dbus/nobody-State": `s "ready"`, "dbus/nobody-InstanceId": `s "` + instance + `"`, "dbus/nobody-VirtualRouter": `s "10.1.1.1"`,
		"dbus/nobody-Source": `s "virtual router"`, "dbus/introspect": members, "dbus/nobody-introspect": members,
		"dbus/nobody-refresh.stderr": "Call failed: Access denied\nexit status 1\n", "dbus/nobody-command.stderr": "only root may\nexit status 1\n",
		"dbus/nobody-name.stderr": "Call failed\nexit status 1\n", "dbus/refresh": "as 0\n", "dbus/command": `{"changed":[]}`,
		"dbus/storm": "1000 of 1000\nwithin 1s\n", outcomeFile: asked(4, 3), "dbus/events": events(200), "dbus/unit": "Result=success\nSubState=dead\n", "dbus/resident": "",
	}
	for check, changes := range map[string][]map[string]string{
		"D-Bus API": {
			{"dbus/nobody-State": `s "failed"`}, {"dbus/nobody-InstanceId": absent}, {"dbus/nobody-Source": `s "copy of the last boot"`},
			{"dbus/introspect": ".Refresh\n"}, {"dbus/nobody-introspect": absent},
		},
		"D-Bus API's Refresh": {
			{"dbus/nobody-refresh.stderr": absent}, {"dbus/nobody-refresh.stderr": "Call failed: Busy\nexit status 1\n"}, {"dbus/nobody-name.stderr": absent},
			{"dbus/nobody-command.stderr": "it hangs\nexit status 124\n"}, {"dbus/refresh": "as 1 \"token\"\n"}, {"dbus/command": absent},
		},
		"D-Bus storm":      {{"dbus/storm": "999 of 1000\n"}, {"dbus/storm": absent}, {outcomeFile: asked(5, 3)}, {outcomeFile: asked(3, 3)}, {"dbus/storm": "1000 of 1000\nwithin 2.1s\n", outcomeFile: asked(6, 3)}},
		"storms of events": {{outcomeFile: asked(4, 1)}, {outcomeFile: asked(4, 1, "11:00:00.900")}, {"dbus/events": events(199)}, {"dbus/events": absent}},
		"D-Bus API's end":  {{"dbus/unit": "Result=success\nSubState=running\n"}, {"dbus/unit": "Result=exit-code\nSubState=dead\n"}, {"dbus/unit": absent}, {"dbus/resident": "nm-cloud-seed bus \n"}},
	} {
		slow := maps.Clone(right)
		slow["dbus/storm"], slow[outcomeFile] = "1000 of 1000\nwithin 2.1s\n", asked(5, 15)
		for _, good := range []map[string]string{right, slow} {
			if got := wrong(sample(t, "good", good), served(true)); len(got) > 0 {
				t.Fatalf("got %q of a good boot, want nothing", got)
			}
		}
		for _, change := range changes {
			with := maps.Clone(right)
			maps.Copy(with, change)
			if got := wrong(sample(t, "good", with), served(true)); !slices.Equal(got, []string{check}) {
				t.Errorf("%v: %q found something, want %q", change, got, check)
			}
		}
	}
}

func TestVerdictsOnTheHookFindEachDefect(t *testing.T) {
	t.Parallel()
	const stopped, asked, runs = "systemd[1]: Stopped nm-cloud-seed-heal.service - X.\n", "nm-dispatcher: nm-cloud-seed: " + hookWord + "\n", "systemd[1]: Starting nm-cloud-seed-bus.service - X\nsystemd[1]: Started nm-cloud-seed-bus.service - X.\n"
	for journal, want := range map[string]bool{
		stopped + asked + runs: true,
		asked + runs:           false,
		asked + stopped + runs: false,
		stopped + runs:         false,
		stopped + asked:        false,
		runs + stopped + asked: false,
	} {
		r := sample(t, "good", map[string]string{journalFile: journal})
		if got := byTheHook.judge(r) == nil; got != want {
			t.Errorf("%q: %t, want %t", journal, got, want)
		}
		if unasked.judge(r) == nil {
			t.Errorf("%q: nobody has called?", journal)
		}
	}
	if err := unasked.judge(sample(t, "good", map[string]string{journalFile: strings.TrimSuffix(stopped, "\n")})); err != nil {
		t.Error(err)
	}
}
