package daemon

import (
	"os/exec"
	"strconv"
	"testing"
	"time"
)

// child starts a process that ends with the test, and with the test's process.
func child(t *testing.T) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "cat")
	if _, err := cmd.StdinPipe(); err != nil { // at whose end it ends
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd
}

// TestBooted checks that a process started when it did, by the start of the system
// and the ticks that the kernel counts from there.
func TestBooted(t *testing.T) {
	ticks := func(pid int) int {
		t.Helper()
		text, err := startTime(pid)
		if err != nil {
			t.Fatal(err)
		}
		n, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	const tick = 10 * time.Millisecond
	earliest := time.Now().Add(-tick) // ticks are rounded down
	cmd := child(t)
	latest := time.Now()
	asked := time.Now()
	booted := Booted()
	latest = latest.Add(time.Since(asked)) // Booted reads two clocks, one after the other
	got := booted.Add(time.Duration(ticks(cmd.Process.Pid)-ticks(1)) * tick)
	if got.Before(earliest) || got.After(latest) {
		t.Errorf("got the start of a process at %v, want it between %v and %v; the system started at %v", got, earliest, latest, booted)
	}
}
