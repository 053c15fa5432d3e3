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

func TestParse(t *testing.T) {
	t.Parallel()
	o, err := parse([]string{"-run", "^sid/", "-parallel", "1", "x.deb"})
	if err != nil || !o.run.MatchString("sid/with") || o.run.MatchString("qemu/sid") || o.parallel != 1 || !filepath.IsAbs(o.pkg) {
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

func TestTable(t *testing.T) {
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
func TestFinish(t *testing.T) {
	for name, c := range map[string]struct {
		wrong []error
		o     options
		left  bool
	}{
		"good":                              {nil, options{}, false},
		"good, kept":                        {nil, options{keep: true}, true},
		"good, in a directory of one's own": {nil, options{artifacts: "x"}, true},
		"bad":                               {[]error{errors.New("x")}, options{}, true},
	} {
		artifacts := filepath.Join(t.TempDir(), "artifacts")
		dir := filepath.Join(artifacts, "sid", "with", "1-first-boot")
		if err := os.CopyFS(dir, sample(t, "good", nil).files); err != nil {
			t.Fatal(err)
		}
		var said strings.Builder
		r := result{scenario: "sid/with", boot: "first boot", report: readReport(os.DirFS(dir), nil), wrong: c.wrong, dir: dir}
		err := finish(&said, [][]result{{r}}, artifacts, c.o)
		if !strings.Contains(said.String(), " 0.6  ") {
			t.Errorf("%s: the table lacks the seed's time:\n%s", name, said.String())
		}
		if (err != nil) != (c.wrong != nil) {
			t.Errorf("%s: %v", name, err)
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
func TestNothingLeft(t *testing.T) {
	t.Parallel()
	r := readReport(os.DirFS(t.TempDir()), nil)
	for _, c := range seeded {
		if c.name == "failed units" || c.name == "jobs" || c.name == "ordering" || c.name == "timeouts" || c.name == "stalls" || c.name == "cloud-init log" || c.name == "compatibility lease" {
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
