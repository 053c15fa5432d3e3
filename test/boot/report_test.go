package main

import (
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
)

// sample is a recorded boot from testdata, with some files replaced.
func sample(t *testing.T, name string, changes map[string]string) *report {
	t.Helper()
	archive, err := txtar.ParseFile(filepath.Join("testdata", name+".txtar"))
	if err != nil {
		t.Fatal(err)
	}
	files := make(fstest.MapFS)
	for _, f := range archive.Files {
		files[f.Name] = &fstest.MapFile{Data: f.Data}
	}
	for name, text := range changes {
		files[name] = &fstest.MapFile{Data: []byte(text)}
		if text == absent {
			delete(files, name)
		}
	}
	return readReport(files, nil)
}

const absent = "\x00"

func TestParseUnits(t *testing.T) {
	t.Parallel()
	got := parseUnits("Id=a.service\nAfter=b c\n\nBefore=x=y\nId=b.service\n\n\nnoise\n")
	want := map[string]unit{
		"a.service": {"Id": "a.service", "After": "b c"},
		"b.service": {"Id": "b.service", "Before": "x=y"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestTimesCountFromTheFirstProcess(t *testing.T) {
	t.Parallel()
	r := sample(t, "good", nil)
	for name, c := range map[string]struct{ got, want time.Duration }{
		"seed":          {r.seeded(), 573 * time.Millisecond},
		"network stage": {r.active(networkStage...), 1572 * time.Millisecond},
		"multi-user":    {r.active("multi-user.target"), 1645 * time.Millisecond},
		"never":         {r.active("no.service"), 0},
		"no seed":       {sample(t, "bug", nil).seeded(), 0},
	} {
		if c.got.Round(time.Millisecond) != c.want.Round(time.Millisecond) {
			t.Errorf("%s: %v, want %v", name, c.got, c.want)
		}
	}
}

func TestConsoleIsText(t *testing.T) {
	t.Parallel()
	r := sample(t, "good", map[string]string{consoleFile: "\x1b[?25l[\x1b[0;32m  OK  \x1b[0m] Reached \x1b[0;1;39mx.target\x1b[0m\x1b[K\r\n\x1b(B\x1b7"})
	if got, want := r.console(), "[  OK  ] Reached x.target\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// The same line of the journal and the console counts once.
func TestSaidHasEachLineOnce(t *testing.T) {
	t.Parallel()
	r := sample(t, "good", map[string]string{journalFile: "[1.0] a: x\n[1.0] a: y\n", consoleFile: "x on the console\n[1.0] a: x"})
	got := r.said(regexp.MustCompile("x"))
	if want := []string{"[1.0] a: x", "x on the console"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// What is laid over the images is all there, and the units that are enabled are
// among it.
func TestTreeHasEachEnabledUnitAndProgram(t *testing.T) {
	t.Parallel()
	for _, unit := range slices.Sorted(maps.Keys(enabled)) {
		if _, err := fs.Stat(tree, "image/etc/systemd/system/"+unit); err != nil {
			t.Error(err)
		}
	}
	for _, program := range []string{"boot-report", "boot-probe"} {
		if info, err := os.Stat("image/usr/local/lib/" + program); err != nil || info.Mode().Perm()&0o100 == 0 {
			t.Errorf("%s is no program: %v", program, err)
		}
		if out, err := exec.Command("sh", "-n", "image/usr/local/lib/"+program).CombinedOutput(); err != nil {
			t.Errorf("%s: %v: %s", program, err, out)
		}
	}
}
