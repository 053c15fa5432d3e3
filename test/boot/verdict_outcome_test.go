package main

import (
	"maps"
	"strings"
	"testing"
)

// failedStatus is a boot in which cloud-init failed with the seed, and all say so.
func failedStatus() map[string]string {
	const text = "seeded instance x from 10.1.1.1, but cloud-init's network stage failed (see /var/log/cloud-init.log)"
	return map[string]string{
		"status.json": `{"phase":"failed","text":"` + text + `","instance":{"instance-id":"x"},
			"outcome":{"state":"failed","instance-id":"x","failures":["cloud-init's network stage failed"]}}`,
		"status.stderr": "exit status 1\n", "doctor": "2 problems\n",
		doctorJSON:  `{"checks":[{"name":"this-boot.cloud-init","state":"problem","items":["cloud-init's network stage failed","more"]}]}`,
		journalFile: text, consoleFile: text, "issue.d/nm-cloud-seed.issue": "nm-cloud-seed: " + text,
	}
}

func TestSpoiledFindsWhoeverSaysNothing(t *testing.T) {
	t.Parallel()
	verdict := spoiled("cloud-init's network stage failed")
	if err := verdict.judge(sample(t, "good", failedStatus())); err != nil {
		t.Error(err)
	}
	right := failedStatus()
	for name, change := range map[string]map[string]string{
		"ready":             {"status.json": strings.Replace(right["status.json"], `"phase":"failed"`, `"phase":"ready"`, 1)},
		"no outcome":        {"status.json": `{"phase":"failed","text":"silent","error":"silent"}`},
		"another failure":   {"status.json": strings.ReplaceAll(right["status.json"], "network stage", "local stage")},
		"not in the text":   {"status.json": strings.Replace(right["status.json"], ", but cloud-init's network stage failed", "", 1)},
		"exit status":       {"status.stderr": absent},
		"the doctor":        {"doctor": "All is well.\n"},
		"doctor's check":    {doctorJSON: `{"checks":[{"name":"this-boot.cloud-init","state":"ok"}]}`},
		"doctor's items":    {doctorJSON: `{"checks":[{"name":"this-boot.cloud-init","state":"problem","items":["x"]}]}`},
		"no doctor":         {doctorJSON: absent},
		"the journal":       {journalFile: "x\n"},
		"the console":       {consoleFile: "x\n"},
		"the login prompt":  {"issue.d/nm-cloud-seed.issue": absent},
		"no status at all":  {"status.json": absent},
		"a damaged message": {"issue.d/nm-cloud-seed.issue": "nm-cloud-seed: seeded\n"},
	} {
		changes := failedStatus()
		maps.Copy(changes, change)
		if verdict.judge(sample(t, "good", changes)) == nil {
			t.Errorf("%s: nothing found", name)
		}
	}
}

func TestFailedEarlierFindsWhatIsForgotten(t *testing.T) {
	t.Parallel()
	verdict := failedEarlier("x")
	for status, right := range map[string]bool{
		`{"phase":"failed","outcome":{"state":"failed","earlier-failures":["x"]}}`: true,
		`{"phase":"failed","outcome":{"state":"failed"}}`:                          false, `{"phase":"ready"}`: false, "": false,
	} {
		if err := verdict.judge(sample(t, "good", map[string]string{"status.json": status})); (err == nil) != right {
			t.Errorf("%s: got %v", status, err)
		}
	}
}

// With an identity that is lost for a boot, as by a run that died, what was there at first
// has to be there again.
func TestWhatWasThereInTheFirstBootOfAnInstance(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		check       check
		first, now  map[string]string
		between     string // the instance of the boot between
		right       bool
		withoutPast bool
	}{
		"the same host keys":           {check: firstHostKeys, right: true},
		"no boot before":               {check: firstHostKeys, now: map[string]string{"host-keys": "new\n"}, withoutPast: true, right: true},
		"new host keys":                {check: firstHostKeys, now: map[string]string{"host-keys": "new\n"}},
		"new ones, since another boot": {check: firstHostKeys, now: map[string]string{"host-keys": "new\n"}, between: "iid-datasource-none\n"},
		"another instance's":           {check: firstHostKeys, first: map[string]string{"instance-id": otherInstance}, now: map[string]string{"host-keys": "new\n"}, between: otherInstance, right: true},
		"none at first":                {check: firstHostKeys, first: map[string]string{"host-keys": absent}},
		"no password":                  {check: passwordUsable, now: map[string]string{"password": "debian L x\n"}, right: true},
		"a password":                   {check: passwordUsable, now: map[string]string{"password": "debian P x\n", "ours/password.json": "{}"}, right: true},
		"a locked one":                 {check: passwordUsable, now: map[string]string{"password": "debian L x\n", "ours/password.json": "{}"}},
		"locked since": {check: passwordUsable, first: map[string]string{"password": "debian P x\n"},
			now: map[string]string{"password": "debian L x\n"}, between: "iid-datasource-none\n"},
		"as before": {check: passwordUsable, first: map[string]string{"password": "debian P x\n"}, now: map[string]string{"password": "debian P x\n"}, right: true},
		"not seen":  {check: passwordUsable, now: map[string]string{"ours/password.json": "{}"}},
		"same":      {check: sameInstance, right: true},
		"not same":  {check: sameInstance, between: otherInstance},
		"alone":     {check: sameInstance, withoutPast: true},
	} {
		r := sample(t, "good", tt.now)
		if !tt.withoutPast {
			between := map[string]string{"host-keys": "between\n", "password": "debian L x\n"}
			if tt.between == "" {
				between = tt.first
			} else {
				between["instance-id"] = tt.between
			}
			r.previous = sample(t, "good", between)
			r.previous.previous = sample(t, "good", tt.first)
		}
		if err := tt.check.judge(r); (err == nil) != tt.right {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestHealedFindsUnitsThatStayFailed(t *testing.T) {
	t.Parallel()
	failed := check{}
	for _, c := range healed {
		if c.name == "failed units" {
			failed = c
		}
	}
	for text, right := range map[string]bool{
		"": true, "NetworkManager-wait-online.service loaded failed failed x\n": true,
		"cloud-init-main.service loaded failed failed x\n": false, "● cloud-final.service loaded failed failed x\n": false,
		"nm-cloud-seed.service loaded failed failed x\n": false,
	} {
		if err := failed.judge(sample(t, "good", map[string]string{"failed": text})); (err == nil) != right {
			t.Errorf("%q: got %v", text, err)
		}
		// As it has to be before.
		err := unitsFailedBefore.judge(sample(t, "good", map[string]string{"before/failed": text}))
		if cloud := strings.Contains(text, "cloud-init") || strings.Contains(text, "cloud-final"); (err == nil) != cloud {
			t.Errorf("before, %q: got %v", text, err)
		}
	}
}
