package daemon

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nm-cloud-seed/nm-cloud-seed/internal/cloudinit"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/config"
)

const (
	seedID    = "i-1"
	allRan    = `"init-local":{"start":1,"finished":2},"modules-config":{"start":5,"finished":6},"modules-final":{"start":7,"finished":8}`
	goodBoot  = `{"v1":{"stage":null,"datasource":"DataSourceCloudStack","init":{"start":3,"finished":4,"errors":[]},` + allRan + `}}`
	deadBoot  = `{"v1":{"stage":null,"datasource":null,"init":{"start":3,"finished":4,"errors":["SECRET"]},` + allRan + `}}`
	emptyBoot = `{"v1":{"stage":null,"datasource":"DataSourceNone","init":{"start":3,"finished":4,"errors":[]},` + allRan + `}}`
	// A network stage that does not end, as nothing that follows begins.
	hungBoot = `{"v1":{"stage":"init","datasource":null,"init":{"start":3,"finished":null}}}`

	seedText = "seeded instance i-1 from 10.1.1.1 (DHCP server on eth0)"
	deadText = seedText + ", but cloud-init's network stage failed (see /var/log/cloud-init.log)"
)

// afterRun returns a machine after a run that was ready, with what cloud-init says.
func afterRun(t *testing.T, cloud string, change func(*State)) (root string) {
	t.Helper()
	files := map[string]string{"var/lib/cloud/data/instance-id": seedID, "dev/console": "", "run/issue.d/x": ""}
	if cloud != "" {
		files["run/cloud-init/status.json"] = cloud
	}
	if strings.Contains(cloud, `"stage":null`) {
		files["run/cloud-init/result.json"] = "{}"
	}
	ended := time.Now()
	s := State{Phase: Ready, Text: seedText, Started: ended, Ended: &ended, Instance: &Instance{ID: seedID, Source: VirtualRouter}}
	if change != nil {
		change(&s)
	}
	data, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	files[StatePath] = string(data)
	return machine(t, files)
}

func stateOf(t *testing.T, root string) State {
	t.Helper()
	s, err := ReadState(root)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func conclude(t *testing.T, root string) *cloudinit.Outcome {
	t.Helper()
	t.Setenv("INVOCATION_ID", "x")
	d, _ := newDaemon(root, config.Default())
	o, err := d.Conclude()
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func contentOf(root, name string) string {
	data, _ := os.ReadFile(filepath.Join(root, name))
	return string(data)
}

func TestReadStateJudges(t *testing.T) {
	for name, tt := range map[string]struct {
		cloud       string
		change      func(*State)
		phase       Phase
		text, error string
		outcome     cloudinit.OutcomeState // "": none
	}{
		"good":              {goodBoot, nil, Ready, seedText, "", cloudinit.OutcomeGood},
		"the stage died":    {deadBoot, nil, Failed, deadText, "cloud-init's network stage failed (see /var/log/cloud-init.log)", cloudinit.OutcomeFailed},
		"no datasource":     {emptyBoot, nil, Failed, seedText + ", but cloud-init found no datasource (see /var/log/cloud-init.log)", "cloud-init found no datasource (see /var/log/cloud-init.log)", cloudinit.OutcomeFailed},
		"at work":           {hungBoot, nil, Ready, seedText, "", cloudinit.OutcomeRunning},
		"not begun":         {"", nil, Ready, seedText, "", cloudinit.OutcomeRunning},
		"damaged":           {"[", nil, Ready, seedText, "", ""},
		"from cached data":  {deadBoot, func(s *State) { s.Error, s.Instance.Source = "silent", LastBoot }, Failed, deadText, "silent", cloudinit.OutcomeFailed},
		"waiting, likewise": {deadBoot, func(s *State) { s.Healing, s.Instance.Source = &Healing{}, LastBoot }, Failed, deadText, "cloud-init's network stage failed (see /var/log/cloud-init.log)", cloudinit.OutcomeFailed},
		"run again":         {emptyBoot, func(s *State) { s.Healing = &Healing{Stages: true} }, Ready, seedText, "", cloudinit.OutcomeRunning},
		// Only the cached data is missing: the run was killed after the seed.
		"waiting, seeded":   {deadBoot, func(s *State) { s.Healing = &Healing{} }, Failed, deadText, "cloud-init's network stage failed (see /var/log/cloud-init.log)", cloudinit.OutcomeFailed},
		"nothing to do":     {emptyBoot, func(s *State) { s.Phase, s.Instance = Idle, nil }, Idle, seedText, "", ""},
		"no seed":           {deadBoot, func(s *State) { s.Phase, s.Text, s.Error, s.Instance = Failed, "silent", "silent", nil }, Failed, "silent", "silent", ""},
		"for the next boot": {deadBoot, func(s *State) { s.Phase, s.Text = Failed, "next" }, Failed, "next", "", ""},
	} {
		s := stateOf(t, afterRun(t, tt.cloud, tt.change))
		outcome := cloudinit.OutcomeState("")
		if s.Outcome != nil {
			outcome = s.Outcome.State
		}
		if s.Phase != tt.phase || s.Text != tt.text || s.Error != tt.error || outcome != tt.outcome {
			t.Errorf("%s: got %s, %q, error %q, outcome %q", name, s.Phase, s.Text, s.Error, outcome)
		}
		if text := s.SeedText(); tt.outcome == cloudinit.OutcomeFailed && text != seedText {
			t.Errorf("%s: got the seed's text %q", name, text)
		}
	}
}

func TestConcludeRecordsAndProclaims(t *testing.T) {
	for name, tt := range map[string]struct {
		cloud string
		want  string // above the login prompt and on the console; "": nothing
	}{
		"good":           {goodBoot, ""},
		"the stage died": {deadBoot, deadText},
		"it was killed":  {hungBoot, seedText + ", but cloud-init's network stage did not come to its end, cloud-init's config stage did not run, cloud-init's final stage did not run (see /var/log/cloud-init.log)"},
		"not begun":      {"", seedText + ", but cloud-init did not run (see /var/log/cloud-init.log)"},
	} {
		root := afterRun(t, tt.cloud, nil)
		before := contentOf(root, StatePath)
		o := conclude(t, root)
		if o.Failed() != (tt.want != "") || o.Good() == o.Failed() {
			t.Errorf("%s: got %+v", name, o)
		}
		if contentOf(root, StatePath) != before {
			t.Errorf("%s: it wrote to %s, which is the run's", name, StatePath)
		}
		issue, console := "", ""
		if tt.want != "" {
			issue, console = "nm-cloud-seed: "+tt.want+"\n\n", "\r\nnm-cloud-seed: "+tt.want+"\r\n"
		}
		if got := contentOf(root, issuePath); got != issue {
			t.Errorf("%s: got the issue %q, want %q", name, got, issue)
		}
		if got := contentOf(root, "dev/console"); got != console {
			t.Errorf("%s: the console got %q, want %q", name, got, console)
		}
		if info, err := os.Stat(filepath.Join(root, outcomePath)); err != nil || info.Mode().Perm() != 0o644 {
			t.Errorf("%s: got %v, %v, want a file that all may read", name, info, err)
		}
		// From now on it is known, also when cloud-init's own status goes (cloud-init clean).
		want := stateOf(t, root).Text
		if err := os.RemoveAll(filepath.Join(root, "run/cloud-init")); err != nil {
			t.Fatal(err)
		}
		if s := stateOf(t, root); s.Outcome == nil || s.Outcome.State != o.State || s.Text != want {
			t.Errorf("%s: after 'cloud-init clean' got %+v, %q, want %q", name, s.Outcome, s.Text, want)
		}
		if strings.Contains(contentOf(root, outcomePath)+contentOf(root, issuePath), "SECRET") {
			t.Errorf("%s: cloud-init's error is repeated", name)
		}
	}
}

// cloud-init does not run a module again that has failed: the next boot has no error to
// show.
func TestFailureOfAnEarlierBoot(t *testing.T) {
	const failing = `{"v1":{"stage":null,"datasource":"DataSourceCloudStack","init":{"start":3,"finished":4,"errors":["('users_groups', E('SECRET'))","('update_hostname', E())"]},` + allRan + `}}`
	const earlier = "cloud-init's users_groups failed at an earlier boot of this instance"
	root := afterRun(t, failing, nil)
	put := func(name, text string) {
		t.Helper()
		path := filepath.Join(root, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	semaphore := "var/lib/cloud/instances/" + seedID + "/sem/config_users_groups" // update_hostname has none: it runs at each boot
	put(semaphore, "")
	put(stateDir+"/x", "")
	reboot := func(cloud string) {
		put("run/cloud-init/status.json", cloud)
		if err := os.Remove(filepath.Join(root, outcomePath)); err != nil {
			t.Fatal(err)
		}
	}
	if o := conclude(t, root); len(o.Failures) != 2 || len(o.Earlier) > 0 {
		t.Errorf("at first: got %+v", o)
	}
	for range 2 {
		reboot(goodBoot)
		if s := stateOf(t, root); s.Phase != Ready {
			t.Errorf("before Conclude: got %s", s.Phase)
		}
		o := conclude(t, root)
		if !o.Failed() || len(o.Failures) > 0 || !slices.Equal(o.Earlier, []string{earlier}) {
			t.Errorf("at the next boot: got %+v", o)
		}
		if s := stateOf(t, root); s.Phase != Failed || !strings.Contains(s.Text, earlier) {
			t.Errorf("at the next boot: got %s, %q", s.Phase, s.Text)
		}
	}
	// It ran again.
	later := time.Now().Add(time.Hour)
	if err := os.Chtimes(filepath.Join(root, semaphore), later, later); err != nil {
		t.Fatal(err)
	}
	reboot(goodBoot)
	if o := conclude(t, root); !o.Good() || contentOf(root, stateDir+"/"+failedFile) != "" {
		t.Errorf("after it ran again: got %+v, %s", o, contentOf(root, stateDir+"/"+failedFile))
	}
	// Another instance's.
	put(stateDir+"/"+failedFile, `{"instance-id":"i-2","modules":{"users_groups":"2026-11-29T10:00:00Z"}}`)
	reboot(goodBoot)
	if o := conclude(t, root); !o.Good() || contentOf(root, stateDir+"/"+failedFile) != "" {
		t.Errorf("of another instance: got %+v", o)
	}
	put(stateDir+"/"+failedFile, "[")
	reboot(goodBoot)
	if o := conclude(t, root); !o.Good() {
		t.Errorf("of a damaged record: got %+v", o)
	}
}

// set_passwords sets the password and fails after that, at an earlier boot. It does not
// run again, as the password is known to be applied: its failure is no longer one.
func TestAppliedPasswordEndsAnEarlierFailure(t *testing.T) {
	v := newVM(t)
	v.serves = "secret"
	v.boot()
	for _, step := range v.steps()[:4] {
		step.do()
	}
	at := time.Now().Add(-time.Hour).Truncate(time.Second)
	sem := filepath.Join(v.root, "var/lib/cloud/instances/i/sem")
	v.must(os.MkdirAll(sem, 0o755))
	for _, module := range []string{"set_passwords", "ssh"} {
		v.must(os.WriteFile(filepath.Join(sem, "config_"+module), nil, 0o644))
		v.must(os.Chtimes(filepath.Join(sem, "config_"+module), at, at))
	}
	record := filepath.Join(v.root, stateDir, failedFile)
	text, err := json.Marshal(failedModules{Instance: "i", Modules: map[string]time.Time{"set_passwords": at, "ssh": at}})
	v.must(err)
	v.must(os.WriteFile(record, text, 0o600))
	v.boot()
	v.asks()
	o := cloudinit.Outcome{State: cloudinit.OutcomeGood, Instance: "i"}
	v.must(v.hand.remember(&o))
	if want := []string{"cloud-init's ssh failed at an earlier boot of this instance"}; !slices.Equal(o.Earlier, want) || !v.hand.password.Server.IsValid() {
		v.Errorf("got %q, acknowledged to %v, want %q, and acknowledged", o.Earlier, v.hand.password.Server, want)
	}

	// Another instance's, a damaged one, and none.
	for _, text := range []string{`{"instance-id":"clone","modules":{"set_passwords":"2026-11-29T10:00:00Z"}}`, "[", "{}"} {
		v.must(os.WriteFile(record, []byte(text), 0o600))
		if err := v.hand.forgetFailure("i"); err != nil || contentOf(v.root, stateDir+"/"+failedFile) != text {
			v.Errorf("%s: got error %v, %s, want it left alone", text, err, contentOf(v.root, stateDir+"/"+failedFile))
		}
	}
	v.must(os.Remove(record))
	v.must(v.hand.forgetFailure("i"))
	v.must(os.WriteFile(record, []byte(`{"instance-id":"i","modules":{"set_passwords":"2026-11-29T10:00:00Z"}}`), 0o600))
	v.must(v.hand.forgetFailure("i"))
	if text := contentOf(v.root, stateDir+"/"+failedFile); text != "" {
		v.Errorf("got the record %s, want none without a module", text)
	}
}

func TestConcludeWithoutSeed(t *testing.T) {
	root := afterRun(t, emptyBoot, func(s *State) { s.Phase, s.Text, s.Instance = Failed, "silent", nil })
	if err := os.WriteFile(filepath.Join(root, outcomePath), []byte(`{"state":"good"}`), 0o644); err != nil {
		t.Fatal(err)
	}
	if o := conclude(t, root); o != nil || contentOf(root, outcomePath) != "" || contentOf(root, issuePath) != "" {
		t.Errorf("got %+v, want no outcome, and no word of it", o)
	}
	if o := conclude(t, machine(t, nil)); o != nil {
		t.Errorf("without a run: got %+v", o)
	}
}

// TestOutcomeIsNotWrittenToTheState holds that a state which is written again lacks what
// cloud-init made of the seed: that may become good.
func TestOutcomeIsNotWrittenToTheState(t *testing.T) {
	root := afterRun(t, deadBoot, func(s *State) { s.Kept = []string{"eth0"} })
	if _, err := Keep(root, func() ([]string, error) { return []string{"eth0"}, nil }); err != nil {
		t.Fatal(err)
	}
	if got := contentOf(root, StatePath); strings.Contains(got, "outcome") || !strings.Contains(got, `"ready"`) || strings.Contains(got, "but cloud-init") {
		t.Errorf("got %s", got)
	}
	if s := stateOf(t, root); s.Phase != Failed || len(s.Kept) > 0 {
		t.Errorf("got %s, kept %q", s.Phase, s.Kept)
	}
	s := stateOf(t, root)
	if err := s.write(root); err != nil || strings.Contains(contentOf(root, StatePath), "outcome") {
		t.Errorf("got %v, %s", err, contentOf(root, StatePath))
	}
}

func TestConcludedAfterHealing(t *testing.T) {
	for cloud, want := range map[string]Phase{goodBoot: Ready, deadBoot: Failed, hungBoot: Ready} {
		d, _ := newDaemon(afterRun(t, cloud, nil), config.Default())
		d.state, _ = readState(d.Root)
		d.state.Healing = &Healing{Stages: true}
		if s := d.concluded(); s.Phase != want || d.state.Phase != Ready {
			t.Errorf("%s: got %s, and the run is %s", cloud, s.Phase, d.state.Phase)
		}
	}
}

func TestDevicesAfterTheEnd(t *testing.T) {
	for phase, want := range map[Phase]int{Ready: 0, Failed: 1} {
		d, _ := newDaemon(machine(t, map[string]string{RunDir + "/x": ""}), config.Default())
		d.tell(func(s *State) { s.Phase, s.Devices = phase, []Device{{Name: "eth0"}} })
		d.ended()
		if s := stateOf(t, d.Root); len(s.Devices) != want {
			t.Errorf("%s: got %d devices, want %d", phase, len(s.Devices), want)
		}
	}
}
