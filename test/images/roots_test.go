package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nm-cloud-seed/nm-cloud-seed/test/debroot"
)

// make needs-images prepares the set, make test-images opens the roots that the
// page and the ways need.
func TestImagesSetHasToolsOfPage(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("../..", pageFile))
	if err != nil {
		t.Fatal(err)
	}
	p, err := parse(string(text))
	if err != nil {
		t.Fatal(err)
	}
	got, err := debroot.Set("images")
	if err != nil {
		t.Fatal(err)
	}
	want := []debroot.Root{debroot.Image(suite), debroot.System(suite, p.needs...)}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(debroot.Root{})); diff != "" {
		t.Errorf("the set images in test/debroot/sets.go (-want +got):\n%s", diff)
	}
}
