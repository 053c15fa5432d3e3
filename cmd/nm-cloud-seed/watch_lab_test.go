//go:build integration

package main

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nm-cloud-seed/nm-cloud-seed/internal/atomicfile"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/daemon"
	"github.com/nm-cloud-seed/nm-cloud-seed/test/lab"
)

// put writes a file of the lab.
func put(t *testing.T, path, text string) {
	t.Helper()
	err := os.MkdirAll(filepath.Dir(path), 0o755)
	if err == nil {
		err = atomicfile.WriteFile(path, []byte(text), 0o644)
	}
	if err != nil {
		t.Error(err)
	}
}

// watch is all that status --watch shows, and its exit status. With each picture
// the next of these happens. It has to run with fake time (testing/synctest), in
// which a slow machine loses none.
func watch(t *testing.T, next ...func()) (all string, status int) {
	t.Helper()
	shown, w := io.Pipe()
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour) // of fake time
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		ended <- watchStatus(ctx, w, false)
		w.Close()
	}()
	text := make([]byte, 4096)
	for {
		n, err := shown.Read(text) // a picture
		all += string(text[:n])
		if err != nil {
			break
		}
		if len(next) > 0 {
			next[0]()
			next = next[1:]
		}
	}
	var e exit
	errors.As(<-ended, &e)
	if ctx.Err() != nil {
		t.Errorf("got no end, want one after what was to be shown:\n%s", all)
	}
	return all, e.code
}

// inFakeTime runs body in a lab, which has the files of a VM, with fake time.
func inFakeTime(t *testing.T, body func(t *testing.T)) {
	t.Helper()
	lab.Run(t, lab.Config{NoNM: true}, func(*lab.Lab) { synctest.Test(t, body) })
}

// shows says whether there are these texts, one after the other.
func shows(t *testing.T, all string, want ...string) {
	t.Helper()
	rest := all
	for _, text := range want {
		var found bool
		if _, rest, found = strings.Cut(rest, text); !found {
			t.Errorf("got no %q, want it here:\n%s", text, all)
		}
	}
}

// TestWatchShowsRefreshToItsEnd: a refresh is watched to its end, step by step.
func TestWatchShowsRefreshToItsEnd(t *testing.T) {
	if !lab.Inside() {
		t.Parallel()
	}
	inFakeTime(t, func(t *testing.T) {
		refresh := func(text, more string) {
			put(t, daemon.StatePath, `{"phase": "ready", "ended": "2026-01-01T00:00:00Z", "refresh": {"text": "`+text+`"`+more+`}}`)
		}
		refresh("asking", "")
		all, status := watch(t,
			func() { refresh("fetching the metadata", "") },
			func() { refresh("nothing has changed", `, "ended": "2026-01-01T00:00:02Z"`) })
		if status != 0 {
			t.Errorf("got exit status %d, want 0", status)
		}
		shows(t, all, "refreshing      asking", "refreshing      fetching the metadata", "nothing has changed")
	})
}

// TestWatchWaitsForHealing: a boot without data is not over before healing is, which starts
// when cloud-init is done, and not at once then; but it may never start.
func TestWatchWaitsForHealing(t *testing.T) {
	if !lab.Inside() {
		t.Parallel()
	}
	inFakeTime(t, func(t *testing.T) {
		const (
			wanting = daemon.RunDir + "/wanting"
			result  = "/run/cloud-init/result.json"
		)
		state := func(text, more string) {
			put(t, daemon.StatePath, `{"phase": "failed", "text": "`+text+`", "ended": "2026-01-01T00:00:00Z"`+more+`}`)
		}
		soon := func(do func()) func() { return func() { time.AfterFunc(5*lookAt, do) } }
		put(t, wanting, "")
		state("no lease", "")
		all, status := watch(t,
			soon(func() {
				put(t, result, "")
				soon(func() { state("no lease", `, "healing": {"text": "looking"}`) })()
			}),
			func() {
				if err := os.Remove(wanting); err != nil {
					t.Error(err)
				}
				state("there is some now", "")
			})
		if status != exitFailed {
			t.Errorf("got exit status %d, want %d", status, exitFailed)
		}
		shows(t, all, "healing         starts when cloud-init is done", "healing         looking", "there is some now")

		put(t, wanting, "")
		start := time.Now()
		all, _ = watch(t)
		// The state is looked at each lookAt.
		if got := time.Since(start); got < healGrace || got > healGrace+lookAt || strings.Contains(all, "healing") {
			t.Errorf("got the end after %v, want it after %v, without healing:\n%s", got, healGrace, all)
		}
	})
}
