package main

import (
	"strings"
	"testing"
)

func TestVerdictsOnKilledRunsFindEachDefect(t *testing.T) {
	t.Parallel()
	const (
		why    = "the run was killed while it was searching"
		reset  = "Id=nm-cloud-seed.service\nActiveState=inactive\nResult=success\n"
		failed = "Id=nm-cloud-seed.service\nActiveState=failed\nResult=signal\n"
		word   = "nm-cloud-seed: " + why + "\n"
		ended  = "systemd[1]: nm-cloud-seed.service: Failed with result 'signal'.\n"

		killedOnce = "[    1.0] systemd[1]: nm-cloud-seed-heal.service: Main process exited, code=killed, status=9/KILL\n"
	)
	status := func(phase, source, why string) string {
		return `{"phase":"` + phase + `","error":"` + why + `","ended":"` + late + `","instance":{"instance-id":"` + instance + `","source":"` + source + `"}}`
	}
	told := func(before string) map[string]string {
		return map[string]string{
			"before/status.json": before, "before/status": why, "before/wanting": "/run/x\n", "before/issue.d/nm-cloud-seed.issue": word,
			"before/failed": "nm-cloud-seed.service failed\n", journalFile: word + ended, consoleFile: word, "units": reset,
		}
	}
	nowhere := []map[string]string{
		{"before/status": "x"}, {"before/wanting": absent}, {"before/issue.d/nm-cloud-seed.issue": absent}, {journalFile: "x\n"}, {consoleFile: "x\n"}, {"before/status.json": absent},
	}
	const last, vr = "copy of the last boot", "virtual router"
	for name, c := range map[string]struct {
		check check
		right map[string]string
		wrong []map[string]string
	}{
		"went on": {wentOn(searching), told(status("ready", last, why)), append([]map[string]string{
			{"before/status.json": status("failed", last, why)}, {"before/status.json": status("ready", vr, why)}, {"before/status.json": status("ready", last, "silent")},
			{"before/status.json": strings.Replace(status("ready", last, why), late, "", 1)},
			{journalFile: word + strings.Replace(ended, "signal", "timeout", 1)}, {journalFile: word}, {"units": failed},
		}, nowhere...)},
		"never started": {wentOn(fault{says: why}), changed(told(status("ready", last, why)), "units", "Id=nm-cloud-seed.service\nActiveState=inactive\nConditionResult=no\n"),
			[]map[string]string{{"units": failed}, {"units": "Id=nm-cloud-seed.service\nActiveState=inactive\nConditionResult=yes\n"}}},
		"went without": {wentWithout(searching), told(status("failed", "", why)), append([]map[string]string{
			{"before/failed": "x.service failed\n"}, {"before/status.json": status("failed", "", "silent")},
		}, nowhere...)},
		"kept the seed": {keptSeed(searching), changed(told(""), "status.json", status("ready", vr, why)), []map[string]string{
			{"status.json": status("ready", vr, "")}, {"status.json": absent}, {"units": failed}, {journalFile: word}, {journalFile: ended}, {consoleFile: "x\n"},
		}},
		"healing was killed": {healWasKilled, map[string]string{journalFile: killedOnce}, []map[string]string{
			{journalFile: "x\n"}, {journalFile: killedOnce + strings.Replace(killedOnce, "1.0", "2.0", 1)}}},
		"password": {hasPassword, map[string]string{"who-gets-in": "first: right, by SSH in\n"},
			[]map[string]string{{"who-gets-in": "first: wrong, by SSH refused\n"}, {"who-gets-in": absent}}},
	} {
		finds(t, name, c.check, c.right, c.wrong)
	}
}

func changed(files map[string]string, name, text string) map[string]string {
	files[name] = text
	return files
}
