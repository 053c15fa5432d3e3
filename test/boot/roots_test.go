package main

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nm-cloud-seed/nm-cloud-seed/test/debroot"
)

// make needs-boot prepares the set, make test-boot opens the scenarios' roots.
func TestBootSetHasRootsOfAllScenarios(t *testing.T) {
	t.Parallel()
	set, err := debroot.Set("boot")
	if err != nil {
		t.Fatal(err)
	}
	var got, want []string
	for _, r := range set {
		got = append(got, r.String())
	}
	for _, s := range scenarios() {
		want = append(want, s.root().String())
	}
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(slices.Compact(want), slices.Compact(got)); diff != "" {
		t.Errorf("the set boot in test/debroot/sets.go (-want +got):\n%s", diff)
	}
}
