//go:build integration

package main

import (
	"os"
	"testing"

	"github.com/nm-cloud-seed/nm-cloud-seed/internal/daemon"
	"github.com/nm-cloud-seed/nm-cloud-seed/test/lab"
)

// What keeps the D-Bus API's process from ending is the service's run. A wait for the
// virtual router may take days, and a refresh is its own: one whose end could not be
// written must not keep it for ever.
func TestLookIsBusyDuringARunOnly(t *testing.T) {
	if !lab.Inside() {
		t.Parallel()
	}
	lab.Run(t, lab.Config{}, func(*lab.Lab) {
		if err := os.MkdirAll(daemon.RunDir, 0o755); err != nil {
			t.Fatal(err)
		}
		for state, want := range map[string]bool{
			`{"phase": "leasing"}`:                                                               true,
			`{"phase": "ready", "ended": "2026-01-01T00:00:00Z"}`:                                false,
			`{"phase": "failed", "ended": "2026-01-01T00:00:00Z", "healing": {"text": "x"}}`:     false,
			`{"phase": "ready", "ended": "2026-01-01T00:00:00Z", "refresh": {"text": "asking"}}`: false,
			`{`: false,
		} {
			if err := os.WriteFile(daemon.StatePath, []byte(state), 0o644); err != nil {
				t.Fatal(err)
			}
			if got := look().Busy; got != want {
				t.Errorf("%s: got busy %t, want %t", state, got, want)
			}
		}
	})
}
