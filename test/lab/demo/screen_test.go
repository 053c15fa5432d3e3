package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestWrap(t *testing.T) {
	for _, tt := range []struct {
		line          string
		width, indent int
		want          []string
	}{
		{"", 10, 0, []string{""}},
		{"  a    b c", 10, 2, []string{"  a    b c"}},
		{"  a  bb cc dd", 10, 5, []string{"  a  bb cc", "     dd"}},
		{"  a  bb cc ddddd", 10, 5, []string{"  a  bb cc", "     ddddd"}},
		{"  a  bbbbbbbbb cc", 10, 5, []string{"  a  bbbbbbbbb", "     cc"}},
		{"  label-too-wide x", 10, 5, []string{"  label-too-wide", "     x"}},
		{"  äöü  äöü äöü", 10, 7, []string{"  äöü  äöü", "       äöü"}},
		{"aaaaaaaaaaaaaaa", 10, 0, []string{"aaaaaaaaaaaaaaa"}},
	} {
		if diff := cmp.Diff(tt.want, wrap(tt.line, tt.width, tt.indent)); diff != "" {
			t.Errorf("%q (-want +got):\n%s", tt.line, diff)
		}
	}
}

func TestScreenWithoutTerminalHasNoEscapes(t *testing.T) {
	var out strings.Builder
	s := &screen{out: &out, width: func() int { return maxWidth }}
	s.doingNow("working")
	s.heading("WORD", "text")
	s.row("label", "text")
	s.stop()
	const want = "\nWORD  text\n  label           text\n"
	if got := out.String(); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestScreenErasesWhatGoesOn(t *testing.T) {
	var out strings.Builder
	s := &screen{out: &out, width: func() int { return 12 }, live: true}
	s.doingNow("working hard")
	s.print("text")
	s.stop()
	const want = "\r| working h\x1b[K" + "\r\x1b[K" + "text\n"
	if got := out.String(); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
