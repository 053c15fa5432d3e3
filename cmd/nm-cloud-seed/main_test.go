package main

import (
	"io"
	"strings"
	"testing"
)

// TestErrorsAreCleanedLines: an error may have words of others in it, and several lines.
func TestErrorsAreCleanedLines(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ args, want string }{
		{"doctor a\x1b[2Jb\u202e\rc", "nm-cloud-seed: doctor takes no argument (for an image: nm-cloud-seed doctor --root a [2Jb  c)\n"},
		{"statu", "nm-cloud-seed: unknown command \"statu\" for \"nm-cloud-seed\"\n\nDid you mean this?\n status\n"},
	} {
		var said strings.Builder
		if status := run(t.Context(), strings.Split(c.args, " "), io.Discard, &said); status != exitUsage || !strings.HasPrefix(said.String(), c.want) {
			t.Errorf("got exit status %d, %q, want %d, %q", status, said.String(), exitUsage, c.want)
		}
	}
}
