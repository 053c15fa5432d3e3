package daemon

import (
	"os"
	"strconv"
	"testing"
	"time"
)

// TestBooted: some time before this process started, and after the kernel's year.
func TestBooted(t *testing.T) {
	stat, err := startTime(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	first, err := startTime(1)
	if err != nil {
		t.Fatal(err)
	}
	mine, _ := strconv.Atoi(stat)
	its, _ := strconv.Atoi(first)
	started := Booted().Add(time.Duration(mine-its) * 10 * time.Millisecond)
	if since := time.Since(started); since < 0 || since > 10*time.Minute {
		t.Errorf("this process started %v ago, by the system's start at %v", since, Booted())
	}
}
