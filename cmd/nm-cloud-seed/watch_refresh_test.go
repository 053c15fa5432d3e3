package main

import (
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/nm-cloud-seed/nm-cloud-seed/internal/atomicfile"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/daemon"
	"github.com/nm-cloud-seed/nm-cloud-seed/test/lab"
)

// TestWatchRefresh: a refresh is watched to its end, step by step.
func TestWatchRefresh(t *testing.T) {
	if !lab.Inside() {
		t.Parallel()
	}
	lab.Run(t, lab.Config{}, func(*lab.Lab) {
		refresh := func(text, more string) {
			state := `{"phase": "ready", "ended": "2026-01-01T00:00:00Z", "refresh": {"text": "` + text + `"` + more + `}}`
			if err := atomicfile.WriteFile(daemon.StatePath, []byte(state), 0o644); err != nil {
				t.Error(err)
			}
		}
		if err := os.MkdirAll(daemon.RunDir, 0o755); err != nil {
			t.Fatal(err)
		}
		refresh("asking", "")
		shown, w := io.Pipe()
		ended := make(chan error, 1)
		go func() {
			ended <- watchStatus(t.Context(), w, false)
			w.Close()
		}()
		limit := time.AfterFunc(20*time.Second, func() { shown.CloseWithError(io.ErrUnexpectedEOF) })
		defer limit.Stop()
		var all strings.Builder
		for next := "fetching the metadata"; ; next = "" {
			text := make([]byte, 4096)
			n, err := shown.Read(text) // a picture
			all.Write(text[:n])
			if err != nil {
				break
			}
			if next != "" {
				refresh(next, "")
			} else {
				refresh("nothing has changed", `, "ended": "2026-01-01T00:00:02Z"`)
			}
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
		for _, want := range []string{"refreshing      asking", "refreshing      fetching the metadata", "nothing has changed"} {
			if !strings.Contains(all.String(), want) {
				t.Errorf("it does not show %q:\n%s", want, all.String())
			}
		}
	})
}
