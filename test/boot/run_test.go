package main

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestParseReadsOptions(t *testing.T) {
	t.Parallel()
	o, err := parse([]string{"-run", "^sid/", "-parallel", "1", "x.deb"})
	if err != nil || o.run == nil || !o.run.MatchString("sid/with") || o.run.MatchString("qemu/sid") || o.parallel != 1 || !filepath.IsAbs(o.pkg) {
		t.Errorf("%+v, %v", o, err)
	}
	for _, bad := range [][]string{{"-run", "("}, {"a.deb", "b.deb"}} {
		if _, err := parse(bad); err == nil {
			t.Errorf("%q: no error", bad)
		}
	}
}

func TestScenariosAreWhole(t *testing.T) {
	t.Parallel()
	seen := make(map[string]bool)
	for _, s := range scenarios() {
		if seen[s.name] || s.about == "" || len(s.boots) == 0 || !slices.Contains(suites, s.suite) {
			t.Errorf("%+v", s)
		}
		seen[s.name] = true
		for _, other := range scenarios() {
			if strings.HasPrefix(other.name, s.name+"/") {
				t.Errorf("what %s leaves would be in the directory of %s", other.name, s.name)
			}
		}
		if found, err := find(s.name); err != nil || found.name != s.name {
			t.Errorf("cannot find %s: %v", s.name, err)
		}
		lived := false // it has come to the end of a boot
		for _, b := range s.boots {
			names := make(map[string]bool)
			for _, c := range b.checks {
				if names[c.name] {
					t.Errorf("%s, %s: there are two checks %q", s.name, b.what, c.name)
				}
				names[c.name] = true
			}
			if lived && b.cut == nil && names["same machine"] == names["another machine"] {
				t.Errorf("%s, %s: nobody looks whether it is still the same machine, or another", s.name, b.what)
			}
			lived = lived || b.cut == nil
		}
	}
	if _, err := find("nowhere"); err == nil {
		t.Error("found what is not there")
	}
}

func TestTableHasALinePerBoot(t *testing.T) {
	t.Parallel()
	results := []result{
		{scenario: "bookworm/with", boot: "first boot", report: sample(t, "good", nil)},
		{scenario: "sid/without", boot: "first boot", report: sample(t, "bug", nil), wrong: []error{errors.New("x"), errors.New("y")}},
	}
	want := strings.TrimPrefix(`
boot                       seed  network stage  multi-user  in all  verdict
bookworm/with, first boot   0.6            1.6         1.6     3.0       ok
sid/without, first boot       -            1.4         1.5     6.0  2 wrong
`, "\n")
	if diff := cmp.Diff(want, table(results, false)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	coloured := table(results, true)
	if !strings.Contains(coloured, "\x1b[32mbookworm") || !strings.Contains(coloured, "\x1b[31msid") {
		t.Errorf("got %q", coloured)
	}
}

// Of good boots nothing stays, unless it was asked for; of bad ones, all.
func TestFinishKeepsWhatBadBootsLeft(t *testing.T) {
	for name, c := range map[string]struct {
		wrong []error
		o     options
		left  bool
	}{
		"good":       {nil, options{}, false},
		"good, kept": {nil, options{keep: true}, true},
		"bad":        {[]error{errors.New("x")}, options{}, true},
	} {
		artifacts := filepath.Join(t.TempDir(), "artifacts")
		dir := filepath.Join(artifacts, "sid", "with", "1-first-boot")
		if err := os.CopyFS(dir, sample(t, "good", nil).files); err != nil {
			t.Fatal(err)
		}
		var said strings.Builder
		r := result{scenario: "sid/with", boot: "first boot", report: readReport(os.DirFS(dir), nil), wrong: c.wrong, dir: dir}
		err := finish(&said, []outcomeOf{{[]result{r}, time.Second}}, 2*time.Second, artifacts, c.o)
		if !strings.Contains(said.String(), " 0.6  ") {
			t.Errorf("%s: the table lacks the seed's time:\n%s", name, said.String())
		}
		if (err != nil) != (c.wrong != nil) {
			t.Errorf("%s: got %v, want an error if something is wrong", name, err)
		}
		if short := strings.HasSuffix(said.String(), "\nin short:\nsid/with, first boot\n  x\n"); short != (c.wrong != nil) {
			t.Errorf("%s: got %q, want what is wrong at the end", name, said.String())
		}
		_, err = os.Stat(dir)
		if there := err == nil; there != c.left {
			t.Errorf("%s: the boot's directory is there: %v", name, there)
		}
		_, err = os.Stat(artifacts)
		if there := err == nil; there != c.left {
			t.Errorf("%s: the artifacts' directory is there: %v", name, there)
		}
	}
}

// A boot that was not done, or hung, is no good one.
func TestBootThatWasNotDoneIsNotGood(t *testing.T) {
	t.Parallel()
	r := readReport(os.DirFS(t.TempDir()), nil)
	for _, c := range seeded {
		if c.name == "failed units" || c.name == "jobs" || c.name == "ordering" || c.name == "timeouts" || c.name == "stalls" || c.name == "cloud-init log" || c.name == "compatibility lease" || c.name == passwordUsable.name || c.name == firstHostKeys.name {
			continue // they only find what is there
		}
		if c.judge(r) == nil {
			t.Errorf("%s finds nothing wrong", c.name)
		}
	}
	if got := seconds(r.outcome.Took); got != "-" {
		t.Errorf("it took %s", got)
	}
	if got := seconds(1234 * time.Millisecond); got != "1.2" {
		t.Errorf("got %s", got)
	}
}

func TestBootDir(t *testing.T) {
	t.Parallel()
	if got := bootDir(1, boot{what: "Second boot, VR gone"}); got != "2-second-boot-vr-gone" {
		t.Errorf("got %s", got)
	}
}

func TestExtendedScenariosAreOnlyChosenWhenAskedFor(t *testing.T) {
	t.Parallel()
	all := []scenario{{name: "a/usual"}, {name: "a/slow", extended: "as a/usual"}}
	for args, want := range map[string]string{
		"":               "a/usual",
		"-all":           "a/usual a/slow",
		"-run slow":      "a/slow",
		"-run ^a/":       "a/usual a/slow",
		"-run none":      "",
		"-all -run slow": "a/slow",
	} {
		o, err := parse(strings.Fields(args))
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, s := range choose(all, o) {
			got = append(got, s.name)
		}
		if got := strings.Join(got, " "); got != want {
			t.Errorf("%q: got %q, want %q", args, got, want)
		}
	}
	if got, want := list(all), "(only with -all: as a/usual)\n"; strings.Count(got, want) != 1 || !strings.HasSuffix(got, want) {
		t.Errorf("got %q, want a note at the extended scenario alone", got)
	}
}

func TestAFailedBootIsShownInExcerpts(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a console line\n", 100) + "the last one\n"
	r := sample(t, "good", map[string]string{
		consoleFile: long, journalFile: "[1.0] systemd[1]: Started x\n[1.1] nm-cloud-seed[9]: no lease\n[1.2] systemd[1]: y.service: Failed with result\n", "status": "state  failed",
	})
	var out strings.Builder
	writeExcerpts(&out, r)
	got := out.String()
	for _, want := range []string{"    the last one\n", "nm-cloud-seed[9]: no lease", "y.service: Failed", "state  failed"} {
		if !strings.Contains(got, want) {
			t.Errorf("got no %q in %q, want it", want, got)
		}
	}
	if strings.Contains(got, "Started x") || strings.Count(got, "a console line") != excerptLines-1 {
		t.Errorf("got %q, want %d lines of the console and only telling ones of the journal", got, excerptLines)
	}
}

func TestTheSlowestScenariosComeFirst(t *testing.T) {
	t.Parallel()
	boots := func(name string) []result { return []result{{scenario: name}} }
	got := slowest([]outcomeOf{{boots("quick"), time.Second}, {boots("slow"), 3 * time.Second}}, 3*time.Second)
	want := "   3.0 s  1  slow\n   1.0 s  1  quick\n   3.0 s  for 2 boots of 2 scenarios, side by side (4.0 s one after the other); load "
	if !strings.HasPrefix(got, want) {
		t.Errorf("got %q, want it to begin with %q", got, want)
	}
}
