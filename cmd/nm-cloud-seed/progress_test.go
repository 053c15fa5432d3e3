package main

import (
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nm-cloud-seed/nm-cloud-seed/internal/daemon"
)

// TestDumb: only on a terminal that is not dumb a line is written over, and what is
// long is broken on any terminal, and nowhere else.
func TestDumb(t *testing.T) {
	for _, c := range []struct {
		term     string
		terminal bool
		live     bool
		columns  int
	}{
		{"xterm", true, true, 80},
		{"dumb", true, false, 80},
		{"xterm", false, false, 0},
		{"dumb", false, false, 0},
	} {
		t.Setenv("TERM", c.term)
		r, w := openTerminal(t)
		if !c.terminal {
			var err error
			if r, w, err = os.Pipe(); err != nil {
				t.Fatal(err)
			}
		}
		if got := columns(w); got != c.columns {
			t.Errorf("TERM=%s, a terminal: %t: %d columns", c.term, c.terminal, got)
		}
		p := newProgress(w)
		p.report(daemon.Progress{Step: "lease", Text: "looking for the virtual router"})
		p.end()
		w.Close()
		said, _ := io.ReadAll(r) // of a terminal, EIO is its end
		text := string(said)
		if strings.Contains(text, "looking") != c.live || !strings.Contains(text, "  lease") {
			t.Errorf("TERM=%s, a terminal: %t: %q", c.term, c.terminal, text)
		}
	}
}

// TestTerminalSize: it is as the terminal says, if that can be.
func TestTerminalSize(t *testing.T) {
	t.Parallel()
	_, tty := openTerminal(t)
	defer tty.Close()
	for _, c := range []struct{ width, height, wantWidth, wantHeight, layout int }{
		{80, 24, 80, 24, 79}, {30, 2, 30, 2, 39}, {1000, 500, 1000, 500, 399}, {0, 0, 80, 24, 79},
	} {
		if err := unix.IoctlSetWinsize(int(tty.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: uint16(c.height), Col: uint16(c.width)}); err != nil {
			t.Fatal(err)
		}
		width, height := terminalSize(tty)
		if s := newScreen(tty); width != c.wantWidth || height != c.wantHeight || s.width != c.layout || s.height != c.wantHeight {
			t.Errorf("%+v: %d, %d, a layout for %d, %d", c, width, height, s.width, s.height)
		}
	}
}

// TestLiveLine: what others say keeps to its line, whatever it is.
func TestLiveLine(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"looking for the virtual router", strings.Repeat("有线连接", 20), "a\x1b[2Jb\r\nc\u202ed", strings.Repeat("word ", 1000)} {
		for _, width := range []int{1, 2, 12, 40, 80} {
			var b strings.Builder
			p := &progress{w: &b, width: width, start: time.Now().Add(-2 * time.Minute)}
			p.report(daemon.Progress{Text: text})
			if !strings.Contains(b.String(), "\r2 min 00 s  ") && width > 12 { // as in the status
				t.Errorf("%d columns: %q", width, b.String())
			}
			for part := range strings.SplitSeq(b.String(), "\r") {
				if cells(part) > max(width-1, 1) || strings.ContainsAny(part, "\x1b\n\u202e") {
					t.Errorf("%d columns: %q", width, part)
				}
			}
		}
	}
}
