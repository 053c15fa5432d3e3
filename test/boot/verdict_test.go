package main

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// wrong are the names of the checks that find something.
func wrong(r *report, checks []check) (names []string) {
	for _, c := range checks {
		if c.judge(r) != nil {
			names = append(names, c.name)
		}
	}
	return names
}

func TestSamplesAreAsExpected(t *testing.T) {
	t.Parallel()
	for name, checks := range map[string][]check{
		"good": seeded, "bug": bug, "silent": goesOn, "temporary": append(slices.Clone(seeded), stays),
	} {
		r := sample(t, name, nil)
		for _, c := range checks {
			if err := c.judge(r); err != nil {
				t.Errorf("%s: %s: %v", name, c.name, err)
			}
		}
	}
}

// Each check of a good boot finds what it is there for, and no other one does.
func TestEachCheckCanFail(t *testing.T) {
	t.Parallel()
	journal := sample(t, "good", nil).text(journalFile) + "\n"
	stopped := strings.ReplaceAll(journal, "poweroff.target", "reboot.target")
	for name, changes := range map[string]map[string]string{
		"ends":                {"complete": absent},
		"running":             {"state": "degraded\n"},
		"failed units":        {"failed": "x.service loaded failed failed X\n"},
		"jobs":                {"jobs": "12 x.service start running\n"},
		"ordering":            {journalFile: journal + "[1.0] systemd[1]: basic.target: Found ordering cycle on cloud-init.service/start\n"},
		"timeouts":            {journalFile: journal + "[1.0] dbus-daemon[9]: Failed to activate service 'org.x': timed out (service_start_timeout=25000ms)\n"},
		"stalls":              {"units": sample(t, "good", nil).text("units") + "\n\nId=x.service\nInactiveExitTimestampMonotonic=1000000\nActiveEnterTimestampMonotonic=26000000\n"},
		"shutdown":            {journalFile: stopped, consoleFile: "power cut\n"},
		"datasource":          {"datasource": "DataSourceNone: DataSourceNone\n"},
		"cloud-id":            {"cloud-id": "none\n"},
		"instance-id":         {"instance-id": "iid-datasource-none\n"},
		"hostname":            {"hostname": "localhost\n"},
		"FQDN":                {"fqdn": "web-1\n"},
		"SSH key":             {"authorized-keys": absent},
		"user-data":           {"runcmd": "executed\nexecuted\n"},
		"probes":              {"probe/cron": "no user\nno host key\n"},
		"cloud-init log":      {"cloud-init.log": "x.py[WARNING]: something\n"},
		"service":             {"status.json": `{"phase":"failed","instance":{"instance-id":"x"},"outcome":{"state":"good","instance-id":"x"}}`},
		"outcome":             {"status.json": `{"phase":"ready","instance":{"instance-id":"x"},"outcome":{"state":"running","instance-id":"x"}}`},
		"default user":        {"users": "root:x:0:0:root:/root:/bin/bash\n"},
		"plot":                {"plot.svg": strings.Replace(sample(t, "good", nil).text("plot.svg"), "</svg>", "", 1)},
		"compatibility lease": {"netif/leases/2": "SERVER_ADDRESS=10.1.1.1\n"},
		"not resident":        {"units": strings.ReplaceAll(sample(t, "good", nil).text("units"), "SubState=exited", "SubState=running")},
	} {
		if got := wrong(sample(t, "good", changes), seeded); !slices.Equal(got, []string{name}) {
			t.Errorf("%s: %q found something", name, got)
		}
	}
	never := sample(t, "good", nil).text("units") + "\n\nId=x.service\nInactiveExitTimestampMonotonic=1000000\nActiveEnterTimestampMonotonic=0\nInactiveEnterTimestampMonotonic=26000000\n"
	if got := wrong(sample(t, "good", map[string]string{"units": never}), seeded); !slices.Equal(got, []string{"stalls"}) {
		t.Errorf("a unit that took long to fail: %q found something", got)
	}
	slow := map[string]string{"units": never, "manager": "UserspaceTimestampMonotonic=1000000\nUnitsLoadFinishTimestampMonotonic=2500000\n"}
	if got := wrong(sample(t, "good", slow), []check{{"stalls", stalls}}); len(got) > 0 {
		t.Errorf("got %q of 25 s in a boot three times slower than usual, want nothing", got)
	}
	if got := wrong(sample(t, "good", map[string]string{"units.stderr": "exit status 124\n"}), seeded); !slices.Equal(got, []string{"ends"}) {
		t.Errorf("a cut report: %q found something", got)
	}
	if got := wrong(sample(t, "good", map[string]string{"ours/password.json": "{}", "password": "debian L 2026-11-29 0 99999 7 -1\n"}), seeded); !slices.Equal(got, []string{passwordUsable.name}) {
		t.Errorf("a locked password: %q found something", got)
	}
	if n := len(seeded); n != 25 { // the host keys' is in verdict_outcome_test.go
		t.Errorf("there are %d checks of a good boot: a new one needs a line above", n)
	}
}

// Without the package, all that is about the instance is missing.
func TestBugFailsAsItShould(t *testing.T) {
	t.Parallel()
	want := []string{"datasource", "cloud-id", "instance-id", "hostname", "FQDN", "SSH key", "user-data", "probes", "cloud-init log", "service", "outcome", "not resident", "plot"}
	if got := wrong(sample(t, "bug", nil), seeded); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	got := wrong(sample(t, "good", nil), bug)
	for _, name := range []string{"no datasource", "no hostname", "no probes", "the bug"} {
		if !slices.Contains(got, name) {
			t.Errorf("a good boot passes for the bug's: %s", name)
		}
	}
}

// A container has no word of the generator's.
func TestNamedFindsTheGeneratorsMessage(t *testing.T) {
	t.Parallel()
	const said = "[3.3] nm-cloud-seed-generator: not held until cloud-init's network stage is done: dbus.service NetworkManager.service x.service\n"
	if len(wrong(sample(t, "good", nil), []check{named})) == 0 {
		t.Error("it finds a word that is not there")
	}
	if got := wrong(sample(t, "good", map[string]string{journalFile: said}), []check{named}); len(got) > 0 {
		t.Errorf("%q found something", got)
	}
}

func TestEachCheckOfABootThatGoesOnCanFail(t *testing.T) {
	t.Parallel()
	units := sample(t, "silent", nil).text("units")
	log := sample(t, "silent", nil).text("cloud-init.log")
	for name, c := range map[string]struct {
		changes map[string]string
		want    string
	}{
		"console": {map[string]string{consoleFile: "login:\n"}, "word of it"},
		"issue":   {map[string]string{"issue.d/nm-cloud-seed.issue": absent}, "word of it"},
		"journal": {map[string]string{journalFile: "Reached target poweroff.target\n"}, "word of it"},
		"others":  {map[string]string{"failed": "nm-cloud-seed.service x\nssh.service x\n"}, "word of it"},
		"heal":    {map[string]string{journalFile: "[1.0] systemd[1]: nm-cloud-seed-heal.service: Failed with result 'exit-code'.\n"}, "heal unit"},
		"early":   {map[string]string{"units": strings.ReplaceAll(units, "ActiveEnterTimestampMonotonic=15619517645", "ActiveEnterTimestampMonotonic=15608517645")}, "deadline"},
		"no log":  {map[string]string{"cloud-init.log": absent}, "deadline"},
		"search":  {map[string]string{"cloud-init.log": log + "\nx - url_helper.py[DEBUG]: [0/1] open 'http://10.1.1.1/latest/meta-data/instance-id' with {}\n"}, "deadline"},
	} {
		if got := wrong(sample(t, "silent", c.changes), goesOn); !slices.Contains(got, c.want) {
			t.Errorf("%s: %q found something, want %s", name, got, c.want)
		}
	}
}

// The words of systemd 252, 257 and 262 and of dbus-daemon.
func TestPatternsMatchMessagesOfSystemdAndDBus(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]*regexp.Regexp{
		"systemd[1]: sysinit.target: Found ordering cycle on cloud-init.service/start":                                          cycle,
		"systemd[1]: sysinit.target: Job cloud-init.service/start deleted to break ordering cycle starting with sysinit.target": cycle,
		"systemd[1]: x.target: Unable to break cycle starting with x.target/start":                                              cycle,
		"[ SKIP ] Ordering cycle found, skipping Cloud-init: Network Stage":                                                     cycle,
		"systemd[1]: dev-vdb.device: Job dev-vdb.device/start timed out.":                                                       timeout,
		"[ TIME ] Timed out waiting for device /dev/vdb.":                                                                       timeout,
		"systemd[1]: x.service: start operation timed out. Terminating.":                                                        timeout,
		"dbus-daemon[1]: Failed to activate service 'org.freedesktop.hostname1': timed out (service_start_timeout=25000ms)":     timeout,
		"cloud-init[9]: Error: Timeout was reached":                                                                             timeout,
		"systemd[1]: Failed unmounting boot.mount - /boot.":                                                                     unclean,
		"systemd-shutdown[1]: Failed to unmount /oldroot: Device or resource busy":                                              unclean,
		"systemd[1]: x.service: State 'stop-sigterm' timed out. Killing.":                                                       unclean,
		"systemd[1]: x.service: Killing process 9 (x) with signal SIGKILL.":                                                     unclean,
		"systemd-shutdown[1]: Sending SIGKILL to remaining processes...":                                                        nil,
		"NetworkManager[9]: dhcp4 (eth0): activation: beginning transaction (timeout in 45 seconds)":                            nil,
		"systemd[1]: Reached target poweroff.target - System Power Off.":                                                        nil,
	} {
		for _, pattern := range []*regexp.Regexp{cycle, timeout, unclean} {
			// Some of what is unclean at shutdown timed out, too.
			if match := pattern.MatchString(line); match != (pattern == want) && want != unclean {
				t.Errorf("%v matches %q: %v", pattern, line, match)
			}
		}
		if want != nil && !want.MatchString(line) {
			t.Errorf("%v does not match %q", want, line)
		}
	}
}

func TestOnlyThisBootsComplaints(t *testing.T) {
	t.Parallel()
	const before = "running 'init-local'\nx[WARNING]: of the first boot\n"
	for log, bad := range map[string]bool{
		before + "running 'init-local'\nx[DEBUG]: fine\n":                                        false,
		before + "running 'init-local'\nx[ERROR]: not fine\n":                                    true,
		"running 'init-local'\nTraceback (most recent call last):\n":                             true,
		"running 'init-local'\nD.py[WARNING]: Unable to obtain a DHCP lease on eth0\n":           false,
		"running 'init-local'\ne.py[ERROR]: Failed to bring up EphemeralIPNetwork. Datasource":   false,
		"running 'init-local'\nd[WARNING]: Did not find a fallback interface on distro: debian.": true, // a container has its NIC
	} {
		if err := complaints(sample(t, "good", map[string]string{"cloud-init.log": log})); (err != nil) != bad {
			t.Errorf("%q: %v", log, err)
		}
	}
}

// An emulated machine may have no NIC yet in cloud-init's local stage.
func TestMissingNICIsForgivenInAnEmulatedMachine(t *testing.T) {
	t.Parallel()
	r := sample(t, "good", map[string]string{
		outcomeFile:      `{"Virtual": true}`,
		"cloud-init.log": "running 'init-local'\nd[WARNING]: Did not find a fallback interface on distro: debian.",
	})
	if err := complaints(r); err != nil {
		t.Error(err)
	}
}

func TestDrawnFindsEachDefectOfThePicture(t *testing.T) {
	t.Parallel()
	picture := sample(t, "good", nil).text("plot.svg")
	row := func(name string) string { return `<text class="name">` + name + "</text>\n" }
	for name, bad := range map[string]string{
		"none":               "",
		"cut off":            picture[:len(picture)/2],
		"no NetworkManager":  strings.Replace(picture, row("NetworkManager.service"), "", 1),
		"no network stage":   strings.Replace(picture, row("cloud-init.service"), "", 1),
		"a stage before us":  strings.Replace(strings.Replace(picture, row("cloud-final.service"), "", 1), row(ours), row("cloud-final.service")+row(ours), 1),
		"no step":            strings.Replace(picture, row("lease"), "", 1),
		"steps out of order": strings.Replace(picture, row("lease")+row("virtual router"), row("virtual router")+row("lease"), 1),
	} {
		if bad == picture {
			t.Errorf("%s: nothing has changed", name)
		}
		if drawn(sample(t, "good", map[string]string{"plot.svg": bad, "plot-nobody.svg": bad})) == nil {
			t.Errorf("%s: no complaint", name)
		}
		if drawn(sample(t, "good", map[string]string{"plot-nobody.svg": bad})) == nil {
			t.Errorf("%s, for nobody: no complaint", name)
		}
	}
}

func TestSameMachineFindsEachChange(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"", "host-keys", "instance-id", "authorized-keys", "users"} {
		changes := map[string]string{}
		if name != "" {
			changes[name] = "another\n"
		}
		r := sample(t, "good", changes)
		r.previous = sample(t, "good", nil)
		if err := sameMachine(r); (err == nil) != (name == "") {
			t.Errorf("%q changed: %v", name, err)
		}
	}
	if sameMachine(sample(t, "good", nil)) == nil {
		t.Error("there was no boot before, and no complaint")
	}
}

func TestInertFindsWhatThePackageChanges(t *testing.T) {
	t.Parallel()
	good := map[string]string{
		"units":                    "Id=a.service\nAfter=b.mount c.target gone.service\nActiveState=active\n\nId=gone.service\nAfter=a.service\n\nId=b.mount\n\nId=c.target\n",
		"units-purged":             "Id=a.service\nAfter=c.target  b.mount new.service\nActiveState=failed\n\nId=b.mount\n\nId=c.target\n\nId=new.service\n",
		"generator/x.wants/y":      "-> /y\n",
		"generator.early/z.target": "[Unit]\n",
	}
	for name, c := range map[string]struct {
		file, text string
		want       []string
	}{
		"as it should be":   {"other", "", nil},
		"a link":            {"generator/x.wants/nm-cloud-seed.service", "-> /x\n", []string{"nothing generated"}},
		"a unit's text":     {"generator.early/cloud-init.service", "After=nm-cloud-seed.service\n", []string{"nothing generated"}},
		"not at one moment": {"units-purged", "Id=a.service\nAfter=b.mount\n\nId=b.mount\n\nId=c.target\nBefore=a.service\n", nil},
		"a unit":            {"units", "Id=nm-cloud-seed.service\n", []string{"nothing generated"}},
		"another order":     {"units-purged", "Id=a.service\nAfter=b.mount\n\nId=b.mount\n\nId=c.target\n", []string{"as without the package"}},
		"not looked again":  {"units-purged", "", []string{"as without the package"}},
		"another unit file": {"units", "Id=a.service\nFragmentPath=/x\nAfter=b.mount c.target\n\nId=b.mount\n\nId=c.target\n", []string{"as without the package"}},
	} {
		changes := maps.Clone(good)
		changes[c.file] = c.text
		if got := wrong(sample(t, "bug", changes), inert); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q found something, want %q", name, got, c.want)
		}
	}
}

func TestNotFailsWhereTheCheckPasses(t *testing.T) {
	t.Parallel()
	got := wrong(sample(t, "good", map[string]string{"hostname": "other\n"}), not(instanceSeen...))
	if slices.Contains(got, "no hostname") || !slices.Contains(got, "no cloud-id") {
		t.Errorf("got %q", got)
	}
}
