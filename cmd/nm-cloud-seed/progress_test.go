package main

import (
	"strings"
	"testing"
	"time"

	"github.com/nm-cloud-seed/nm-cloud-seed/internal/daemon"
)

// TestProgressKeepsToItsLine: what others say keeps to its line, whatever it is.
func TestProgressKeepsToItsLine(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"looking for the virtual router", strings.Repeat("有线连接", 20), "a\x1b[2Jb\r\nc\u202ed", strings.Repeat("word ", 1000)} {
		for _, width := range []int{1, 2, 12, 40, 80} {
			var b strings.Builder
			p := &progress{w: &b, width: width, start: time.Now().Add(-2 * time.Minute)}
			p.report(daemon.Progress{Text: text})
			if !strings.Contains(b.String(), "\r2 min 00 s  ") && width > 12 { // as in the status
				t.Errorf("%d columns: got %q, want 2 min 00 s at the start of the line", width, b.String())
			}
			for part := range strings.SplitSeq(b.String(), "\r") {
				if cells(part) > max(width-1, 1) || strings.ContainsAny(part, "\x1b\n\u202e") {
					t.Errorf("%d columns: got %q, want one line that fits", width, part)
				}
			}
		}
	}
}
