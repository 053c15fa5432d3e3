package main

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/sirupsen/logrus"
)

func TestJournalEntry(t *testing.T) {
	e := logrus.New().WithError(errors.New("no carrier")).WithField("device", "eth0")
	e.Message = "cannot ask"
	message, fields := journalEntry(e)
	if message != "eth0: cannot ask: no carrier" {
		t.Errorf("got message %q, want %q", message, "eth0: cannot ask: no carrier")
	}
	want := map[string]string{
		"SYSLOG_IDENTIFIER":    "nm-cloud-seed",
		"NM_CLOUD_SEED_DEVICE": "eth0",
		"NM_CLOUD_SEED_ERROR":  "no carrier",
	}
	if diff := cmp.Diff(want, fields); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
