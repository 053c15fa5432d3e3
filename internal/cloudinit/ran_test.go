package cloudinit

import (
	"strings"
	"testing"
)

// Those of TestApplyAgreesWithRealCloudInit are cloud-init's own.
func TestStageRanAndItsFailures(t *testing.T) {
	const module = "cloud-init's set_passwords failed in its init stage (see /var/log/cloud-init.log)"
	const stage = "cloud-init's init stage failed (see /var/log/cloud-init.log)"
	ended := func(rest string) string { return `{"v1":{"stage":null,"init":{"start":1,"finished":2` + rest + `}}}` }
	for _, tt := range []struct {
		name, data   string
		begun, ended bool
		err          string
	}{
		{"well", ended(`,"errors":[]`), true, true, ""},
		{"nothing but times", ended(""), true, true, ""},
		{"not yet", `{"v1":{"init":{"start":null,"finished":null}}}`, false, false, ""},
		{"under way", `{"v1":{"stage":"init","init":{"start":1,"finished":null}}}`, true, false, ""},
		{"killed", `{"v1":{"stage":null,"init":{"start":1,"finished":null}}}`, true, false, ""},
		{"run again", `{"v1":{"stage":"init","init":{"start":9,"finished":2}}}`, true, false, ""},
		{"the clock was set back", `{"v1":{"stage":null,"init":{"start":9,"finished":2}}}`, true, true, ""},
		{"the next is under way", `{"v1":{"stage":"modules-config","init":{"start":1,"finished":2}}}`, true, true, ""},
		{"other stages do not count", `{"v1":{"init-local":{"start":1,"finished":2},"modules-config":{"start":1,"finished":2}}}`, false, false, ""},
		{"at 0", `{"v1":{"init":{"start":0,"finished":0.0}}}`, true, true, ""},

		{"failed", ended(`,"errors":["('set_passwords', ProcessExecutionError('SECRET'))"]`), true, true, module},
		{"in other words", ended(`,"errors":["('cc_set-passwords.py', ValueError())"]`), true, true, module},
		{"double quotes", ended(`,"errors":["(\"set-passwords\", OSError(\"SECRET\"))"]`), true, true, module},
		{"others", ended(`,"errors":["('ssh', OSError('set_passwords'))", "('set_passwords_x', X())"]`), true, true, ""},
		{"among others", ended(`,"errors":["('ssh', X())","('set-passwords', X())"]`), true, true, module},
		{"the stage failed", ended(`,"errors":["No instance datasource found."]`), true, true, stage},
		{"it exited", ended(`,"errors":["sys.exit(1) called"]`), true, true, stage},
		{"an error that is no text", ended(`,"errors":[{"a":1}]`), true, true, stage},
		{"no default user", ended(`,"recoverable_errors":{"WARNING":["x","No default or defined user to change password for."]}`), true, true, "cloud-init knows no default user"},
		{"other warnings", ended(`,"recoverable_errors":{"WARNING":["set_passwords", 7, "Applying SSH credentials failed!"],"DEPRECATED":[]}`), true, true, ""},

		{"empty", "", false, false, ""},
		{"cut off", ended("")[:40], false, false, ""},
		{"no object", "[]", false, false, ""},
		{"null", `{"v1":null}`, false, false, ""},
		{"the stage is null", `{"v1":{"init":null}}`, false, false, ""},
		{"the stage is a text", `{"v1":{"init":"x"}}`, false, false, ""},
		{"times are no numbers", `{"v1":{"init":{"start":"1","finished":"2"}}}`, false, false, ""},
		{"errors are no list", ended(`,"errors":"x"`), false, false, ""},
		{"deep", ended(`,"errors":` + strings.Repeat("[", 100000)), false, false, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			root := t.TempDir()
			put(t, root, statusFile, tt.data)
			files := Files{Root: root}
			if got := files.Begun("init"); got != tt.begun {
				t.Errorf("got begun %v, want %v", got, tt.begun)
			}
			if ended, err := files.Ran("init", "set_passwords"); ended != tt.ended || text(err) != tt.err {
				t.Errorf("got ended %v, %v, want %v, %q", ended, err, tt.ended, tt.err)
			}
		})
	}
	for _, root := range []string{t.TempDir(), "/missing"} {
		files := Files{Root: root}
		if ended, err := files.Ran("init", "ssh"); ended || err != nil || files.Begun("init") {
			t.Errorf("no file: got %v, %v, want false, no error", ended, err)
		}
	}
}

func FuzzOutcome(f *testing.F) {
	f.Add([]byte(`{"v1":{"stage":null,"init":{"start":1,"finished":2,"errors":["('ssh', X('SECRET'))"]}}}`))
	f.Add([]byte(`{"v1":{"init":{"recoverable_errors":{"WARNING":["Applying SSH credentials failed!"]}}}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		o, _ := parseOutcome(data, "init")
		switch got := text(o.failure("init", "ssh")); got {
		case "", "cloud-init's init stage failed (see " + logFile + ")", "cloud-init's ssh failed in its init stage (see " + logFile + ")",
			"cloud-init's ssh could not write the keys (see " + logFile + ")":
		default:
			t.Errorf("got %q, want an error of ours", got)
		}
	})
}
