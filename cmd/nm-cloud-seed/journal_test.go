//go:build integration

package main

import (
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nm-cloud-seed/nm-cloud-seed/test/lab"
)

// TestJournalHasDeviceAndServer stands in for journald, whose socket and JOURNAL_STREAM are all
// that the service sees of it (sd_journal_sendv(3), systemd.exec(5)).
func TestJournalHasDeviceAndServer(t *testing.T) {
	if !lab.Inside() {
		t.Parallel()
	}
	lab.Run(t, lab.Config{}, func(l *lab.Lab) {
		if err := serveVR(t, l); err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll("/run/systemd/journal", 0o755); err != nil {
			t.Fatal(err)
		}
		journald, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram", Name: "/run/systemd/journal/socket"})
		if err != nil {
			t.Fatal(err)
		}
		defer journald.Close()
		if err := os.WriteFile("/etc/nm-cloud-seed.conf", []byte("[main]\nplatform=cloudstack\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		stderr, err := os.Create("/run/stderr")
		if err != nil {
			t.Fatal(err)
		}
		var stat syscall.Stat_t
		if err := syscall.Fstat(int(stderr.Fd()), &stat); err != nil {
			t.Fatal(err)
		}
		cmd := l.Command(t.Context(), "nm-cloud-seed", "run")
		cmd.Stderr = stderr
		cmd.Env = append(cmd.Env, fmt.Sprintf("JOURNAL_STREAM=%d:%d", stat.Dev, stat.Ino))
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		_ = journald.SetReadDeadline(time.Now().Add(5 * time.Minute)) // ends what hangs
		entry := make([]byte, 64<<10)
		for {
			n, err := journald.Read(entry)
			if err != nil {
				t.Fatalf("no such entry in the journal: %v", err)
			}
			text := string(entry[:n])
			if strings.Contains(text, "SECRET") {
				t.Errorf("got %q in the journal, want it without secrets", text)
			}
			if !strings.Contains(text, "MESSAGE=eth0: seeded instance") {
				continue
			}
			for _, field := range []string{"PRIORITY=6\n", "SYSLOG_IDENTIFIER=nm-cloud-seed\n", "NM_CLOUD_SEED_DEVICE=eth0\n", "NM_CLOUD_SEED_SERVER=10.1.1.1\n"} {
				if !strings.Contains(text, field) {
					t.Errorf("got %q in the journal, want %q in it", text, field)
				}
			}
			break
		}
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
		if said, err := os.ReadFile("/run/stderr"); err != nil || len(said) > 0 {
			t.Errorf("got %q, %v on stderr, want nothing", said, err)
		}
	})
}
