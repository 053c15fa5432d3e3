package main

import (
	"strings"
	"testing"

	"github.com/nm-cloud-seed/nm-cloud-seed/internal/doctor"
)

func TestVerdictsOnOtherNetworkServicesFindEachDefect(t *testing.T) {
	t.Parallel()
	units := sample(t, "good", nil).text("units") + "\n\n"
	idle := nothingToDo("x")
	named := func(name string) check {
		for _, c := range idle {
			if c.name == name {
				return c
			}
		}
		t.Fatalf("got no check %q, want one", name)
		return check{}
	}
	const fine = `{"root":"/","checks":[{"name":"a","state":"info"}]}`
	bad := strings.ReplaceAll(fine, string(doctor.Info), string(doctor.Problem))
	for name, c := range map[string]struct {
		check check
		right map[string]string
		wrong []map[string]string
	}{
		"service": {named("service"), map[string]string{"status.json": `{"phase":"idle"}`}, []map[string]string{{"status.json": `{"phase":"failed"}`}, {"status.json": absent}}},
		"reason": {named("reason"), map[string]string{"status.json": `{"text":"nothing to do: x"}`},
			[]map[string]string{{"status.json": `{"text":"nothing to do: y"}`}, {"status.json": absent}}},
		"no connection": {named("no connection"), map[string]string{"nmcli": "NAME TYPE\n"}, []map[string]string{{"nmcli": "nm-cloud-seed eth0\n"}, {"nmcli": absent}}},
		"not needed": {notNeeded("why"), map[string]string{
			"status.stderr": "the service has not run since the system started: why\n", "doctor": "it has not run: why\n", doctorJSON: fine, "doctor-nobody.json": fine,
		}, []map[string]string{{"status.stderr": "the service has not run since the system started\n"}, {"doctor": "All is well.\n"}, {doctorJSON: bad}, {"doctor-nobody.json": bad}}},
		"purged": {purgedNow, map[string]string{"status": absent, "units": strings.ReplaceAll(units, ours, "other.service")},
			[]map[string]string{{"status": "state idle\n"}, {"status.stderr": "exit status 4\n"}, {"units": units}}},
	} {
		finds(t, name, c.check, c.right, c.wrong)
	}
}
