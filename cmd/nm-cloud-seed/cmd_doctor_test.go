package main

import (
	"bytes"
	"context"
	"strings"
	"testing"
)

// TestDoctorInterruptedPrintsNoReport: half a report is none.
func TestDoctorInterruptedPrintsNoReport(t *testing.T) {
	for _, args := range [][]string{{"doctor"}, {"doctor", "--json"}} {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		var stdout, stderr bytes.Buffer
		status := run(ctx, args, &stdout, &stderr)
		if status != exitUsage || stdout.Len() > 0 || !strings.HasPrefix(stderr.String(), "nm-cloud-seed: cannot examine the system: context canceled\n") {
			t.Errorf("%q: got exit status %d, want %d, and no report:\n%s%s", args, status, exitUsage, stdout.String(), stderr.String())
		}
	}
}
