package cloudinit

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// statusOf returns a status.json of a boot: times of the stages, then more of it.
func statusOf(local, network, config, final, more string) string {
	text := `{"v1":{"stage":null,"datasource":"DataSourceCloudStack"`
	for i, times := range []string{local, network, config, final} {
		if times != "" {
			text += fmt.Sprintf(`,%q:{%s}`, named[i].key, times)
		}
	}
	return text + more + `}}`
}

const (
	ran    = `"errors":[],"start":1,"finished":2`
	notYet = `"errors":[],"start":null,"finished":null`
	killed = `"errors":[],"start":1,"finished":null`
)

func TestOutcome(t *testing.T) {
	const seed = "i-1"
	fails := func(errors string) string { return `"start":1,"finished":2,"errors":[` + errors + `]` }
	warns := func(text string) string {
		return `"start":1,"finished":2,"errors":[],"recoverable_errors":{"WARNING":["x","` + text + `"]}`
	}
	failed := func(failures ...string) Outcome {
		return Outcome{State: OutcomeFailed, Instance: seed, Failures: failures}
	}
	is := func(state OutcomeState) Outcome { return Outcome{State: state, Instance: seed} }
	for _, tt := range []struct {
		name, status string
		done, ended  bool
		instance     string
		want         Outcome
	}{
		{"good", statusOf(ran, ran, ran, ran, ""), true, false, seed, is(OutcomeGood)},
		{"good, and recorded", statusOf(ran, ran, ran, ran, ""), true, true, seed, is(OutcomeGood)},
		{"good, after healing", statusOf(notYet, ran, ran, ran, ""), true, true, seed, is(OutcomeGood)},
		{"at its start", statusOf(ran, notYet, notYet, notYet, ""), false, false, "", is(OutcomeRunning)},
		{"in the network stage", `{"v1":{"stage":"init","datasource":null,"init-local":{` + ran + `},"init":{` + killed + `}}}`, false, false, "", is(OutcomeRunning)},
		{"before the last stage", statusOf(ran, ran, ran, notYet, ""), false, false, seed, is(OutcomeRunning)},
		{"run again by hand", `{"v1":{"stage":"init","datasource":"DataSourceCloudStack","init-local":{` + ran + `},"init":{` + ran + `},"modules-config":{` + ran + `},"modules-final":{` + ran + `}}}`, true, false, "other", is(OutcomeRunning)},

		{"the network stage died", statusOf(ran, fails(`""`), ran, ran, ""), true, false, seed, failed("cloud-init's network stage failed")},
		{"it died, and the others are at work", statusOf(ran, fails(`"SECRET"`), killed, notYet, ""), false, false, seed, failed("cloud-init's network stage failed")},
		{"the network stage was killed", statusOf(ran, killed, ran, ran, ""), true, false, seed, failed("cloud-init's network stage did not come to its end")},
		{"it was killed with all that follows", `{"v1":{"stage":"init","datasource":null,"init-local":{` + ran + `},"init":{` + killed + `}}}`, false, true, "", failed(
			"cloud-init's network stage did not come to its end", "cloud-init's config stage did not run", "cloud-init's final stage did not run")},
		{"it was killed, and the next is at work", statusOf(ran, killed, killed, notYet, ""), false, false, "", failed("cloud-init's network stage did not come to its end")},
		{"it was killed, and is run again by hand", `{"v1":{"stage":"init","datasource":null,"init":{` + killed + `},"modules-config":{` + ran + `},"modules-final":{` + ran + `}}}`, true, false, "", is(OutcomeRunning)},
		{"systemd left the network stage out", statusOf(ran, notYet, ran, ran, ""), true, false, seed, failed("cloud-init's network stage did not run")},
		{"it was left out, and the next is at work", statusOf(ran, notYet, killed, notYet, ""), false, false, seed, failed("cloud-init's network stage did not run")},
		{"the last stage was killed", statusOf(ran, ran, ran, killed, ""), false, true, seed, failed("cloud-init's final stage did not come to its end")},
		{"the local stage died", statusOf(fails(`"x"`), ran, ran, ran, ""), true, false, seed, failed("cloud-init's local stage failed")},

		{"users", statusOf(ran, fails(`"('users-groups', E('SECRET'))"`), ran, ran, ""), true, false, seed, failed("cloud-init's users_groups failed in its network stage")},
		{"password and host name", statusOf(ran, fails(`"('cc_set_hostname.py', E())"`), fails(`"('set_passwords', E('SECRET'))"`), ran, ""), true, false, seed,
			failed("cloud-init's set_hostname failed in its network stage", "cloud-init's set_passwords failed in its config stage")},
		{"twice", statusOf(ran, fails(`"('ssh', E())","('ssh', E())"`), ran, ran, ""), true, false, seed, failed("cloud-init's ssh failed in its network stage")},
		{"keys not written", statusOf(ran, warns("Applying SSH credentials failed!"), ran, ran, ""), true, false, seed, failed("cloud-init's ssh could not write the keys")},
		{"keys not written, in two lists", statusOf(ran, warns("Applying SSH credentials failed!"), ran, warns("Applying SSH credentials failed!"), ""), true, false, seed, failed("cloud-init's ssh could not write the keys")},
		{"no default user", statusOf(ran, ran, warns("No default or defined user to change password for."), ran, ""), true, false, seed, failed("cloud-init knows no default user")},
		{"the user's own", statusOf(ran, ran, fails(`"('runcmd', E('SECRET'))"`), fails(`"('scripts_user', E())"`), ""), true, false, seed,
			Outcome{State: OutcomeGood, Instance: seed, Complaints: []string{"runcmd in the config stage", "scripts_user in the final stage"}}},
		{"other warnings", statusOf(ran, warns("SECRET"), ran, ran, ""), true, false, seed, is(OutcomeGood)},

		{"no datasource", statusOf(ran, ran, ran, ran, `,"datasource":null`), true, false, seed, Outcome{State: OutcomeFailed, Instance: seed, Identity: "cloud-init found no datasource"}},
		{"none", statusOf(ran, ran, ran, ran, `,"datasource":"DataSourceNone"`), true, false, "iid-datasource-none", Outcome{State: OutcomeFailed, Instance: seed, Identity: "cloud-init found no datasource"}},
		{"another datasource", statusOf(ran, ran, ran, ran, `,"datasource":"DataSourceNoCloudNet [x]"`), true, false, seed, Outcome{State: OutcomeFailed, Instance: seed, Identity: "cloud-init has its data from DataSourceNoCloudNet"}},
		{"the local datasource", statusOf(ran, ran, ran, ran, `,"datasource":"DataSourceCloudStackLocal"`), true, false, seed, is(OutcomeGood)},
		{"another instance", statusOf(ran, ran, ran, ran, ""), true, false, "i-2\x1b", Outcome{State: OutcomeFailed, Instance: seed, Identity: "cloud-init set the VM up as instance i-2?"}},
		{"no instance", statusOf(ran, ran, ran, ran, ""), true, false, "", Outcome{State: OutcomeFailed, Instance: seed, Identity: "cloud-init has no instance"}},
		{"another instance, while it is at work", statusOf(ran, ran, killed, notYet, ""), false, false, "i-2", Outcome{State: OutcomeFailed, Instance: seed, Identity: "cloud-init set the VM up as instance i-2"}},

		{"odd", `{"v1":{"stage":7,"init":"x","modules-config":{"errors":{}}}}`, false, true, seed, failed(
			"cloud-init's network stage did not run", "cloud-init's config stage did not run", "cloud-init's final stage did not run")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			root := t.TempDir()
			put(t, root, statusFile, tt.status)
			if tt.done {
				put(t, root, resultFile, "{}")
			}
			put(t, root, instanceFile, tt.instance+"\n")
			got, err := Files{Root: root}.Outcome(seed, tt.ended)
			if err != nil {
				t.Fatal(err)
			}
			got.Modules = nil // see TestOutcomeNamesModules
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if strings.Contains(fmt.Sprintf("%+v", got), "SECRET") {
				t.Errorf("got %+v, want nothing of cloud-init's errors", got)
			}
		})
	}
}

func TestOutcomeNamesModules(t *testing.T) {
	root := t.TempDir()
	put(t, root, statusFile, statusOf(ran, `"start":1,"finished":2,"errors":["('users-groups', E())","('runcmd', E())","died"],"recoverable_errors":{"WARNING":["Applying SSH credentials failed!"]}`,
		`"start":1,"finished":2,"errors":["('cc_set_passwords.py', E())","('users_groups', E())"]`, ran, ""))
	got, err := Files{Root: root}.Outcome("i-1", true)
	if want := []string{"users_groups", "ssh", "set_passwords"}; err != nil || !cmp.Equal(got.Modules, want) {
		t.Errorf("got %q, %v, want %q", got.Modules, err, want)
	}
}

// An image may mask a stage that applies none of our data.
func TestOutcomeOfAMaskedStage(t *testing.T) {
	const lists = "cloud_init_modules: [ssh, set_hostname, users_groups]\ncloud_config_modules: [set-passwords]\ncloud_final_modules: [scripts_user]\n"
	for name, tt := range map[string]struct {
		status string
		want   OutcomeState
	}{
		"final":  {statusOf(ran, ran, ran, notYet, ""), OutcomeGood},
		"config": {statusOf(ran, ran, notYet, ran, ""), OutcomeFailed},
	} {
		root := t.TempDir()
		put(t, root, configFile, lists)
		put(t, root, statusFile, tt.status)
		put(t, root, instanceFile, "i-1")
		got, err := Files{Root: root}.Outcome("i-1", true)
		if err != nil || got.State != tt.want || len(got.Complaints)+len(got.Failures) != 1 {
			t.Errorf("%s: got %+v, %v, want %s, and the stage named", name, got, err, tt.want)
		}
	}
}

func TestOutcomeOfNothing(t *testing.T) {
	root := t.TempDir()
	got, err := Files{Root: root}.Outcome("i-1", false)
	if !errors.Is(err, fs.ErrNotExist) || got.State != OutcomeRunning {
		t.Errorf("got %+v, %v, want running, and that there is no status.json", got, err)
	}
	put(t, root, statusFile, "[")
	if _, err = (Files{Root: root}).Outcome("i-1", true); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("of a damaged status: got error %v", err)
	}
}

func TestOutcomeReason(t *testing.T) {
	for want, o := range map[string]*Outcome{
		"": {State: OutcomeGood, Complaints: []string{"x"}},
		"cloud-init's network stage failed, cloud-init has no instance (see /var/log/cloud-init.log)": {
			State: OutcomeFailed, Failures: []string{"cloud-init's network stage failed"}, Identity: "cloud-init has no instance"},
	} {
		if got := o.Reason(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	var none *Outcome
	if none.Reason() != "" || none.Good() || none.Failed() || none.Running() {
		t.Errorf("no outcome: got a verdict")
	}
}

// The list of complaints is the user's to make.
func TestOutcomeIsBounded(t *testing.T) {
	root := t.TempDir()
	var all []string
	for i := range 1000 {
		all = append(all, fmt.Sprintf(`"('m%d%s', E())"`, i, strings.Repeat("x", 90)))
	}
	put(t, root, statusFile, statusOf(ran, `"start":1,"finished":2,"errors":[`+strings.Join(all, ",")+`]`, ran, ran, ""))
	put(t, root, resultFile, "{}")
	put(t, root, instanceFile, "i-1")
	got, err := Files{Root: root}.Outcome("i-1", false)
	if text := strings.Join(got.Complaints, ""); err != nil || len(got.Complaints) != maxComplaints || len(text) > 100*maxComplaints {
		t.Errorf("got %d complaints of %d bytes, %v", len(got.Complaints), len(text), err)
	}
}

func TestReadOutcome(t *testing.T) {
	for data, want := range map[string]bool{
		`{"state":"good","instance-id":"i-1"}`: true, `{"state":"failed"}`: true, `{"state":"running"}`: false, `{}`: false, `[`: false, "": false,
	} {
		if _, ok := ReadOutcome([]byte(data)); ok != want {
			t.Errorf("%s: got %v, want %v", data, ok, want)
		}
	}
}
