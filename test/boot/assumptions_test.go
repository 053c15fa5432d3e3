package main

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestEachAssumptionIsBrokenByAScenarioOfTestBoot(t *testing.T) {
	t.Parallel()
	all := choose(scenarios(), options{})
	for _, a := range assumptions() {
		if !slices.ContainsFunc(all, a.isBrokenBy) {
			t.Errorf("%s: got no scenario of make test-boot that breaks it, want one or more", a.what)
		}
		if !slices.ContainsFunc(all, func(s scenario) bool { return !a.isBrokenBy(s) }) {
			t.Errorf("%s: got each scenario breaking it, want it to hold in some: it is no assumption", a.what)
		}
	}
}

// UPDATE_GOLDEN=1 writes the tables anew.
func TestREADMEHasTheTablesOfAssumptionsAndScenarios(t *testing.T) {
	t.Parallel()
	const file = "README.md"
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	want := text
	for name, table := range map[string]string{
		"assumptions": assumptionTable(choose(scenarios(), options{})),
		"scenarios":   scenarioTable(scenarios()),
	} {
		begin, end := "<!-- "+name+" -->\n", "<!-- end of "+name+" -->\n"
		before, rest, found := strings.Cut(want, begin)
		_, after, foundEnd := strings.Cut(rest, end)
		if !found || !foundEnd {
			t.Fatalf("got no table between %q and %q in %s, want one", begin, end, file)
		}
		want = before + begin + table + end + after
	}
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want, text); diff != "" {
		t.Errorf("%s is out of date: run UPDATE_GOLDEN=1 go test ./test/boot (-want +got):\n%s", file, diff)
	}
}
