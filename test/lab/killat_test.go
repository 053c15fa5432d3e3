//go:build integration

package lab

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

func TestKillAt(t *testing.T) {
	for n := 1; n <= 4; n++ {
		dir := t.TempDir()
		for _, name := range []string{"1", "2", "3"} {
			if err := os.WriteFile(filepath.Join(dir, name), nil, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		killed, err := KillAt(exec.CommandContext(t.Context(), "sh", "-c", "rm $0/1; rm $0/2; (rm $0/3)", dir), n)
		entries, e := os.ReadDir(dir)
		if killed != (n < 4) || err != nil || e != nil || len(entries) != 4-n {
			t.Errorf("%d: got killed %t, error %v, %d files (%v), want %d", n, killed, err, len(entries), e, 4-n)
		}
	}
	if killed, err := KillAt(exec.CommandContext(t.Context(), "false"), 1); killed || err == nil {
		t.Errorf("got killed %t, error %v, want false, and the exit status", killed, err)
	}
}
