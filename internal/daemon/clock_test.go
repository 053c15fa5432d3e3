package daemon

import (
	"testing"
	"time"
)

// TestAge: the monotonic clock counts where there is one in the state, whatever the
// other one says.
func TestAge(t *testing.T) {
	t.Parallel()
	ago := func(d time.Duration) int64 { return (Monotonic() - d).Microseconds() }
	for name, c := range map[string]struct {
		s    State
		want time.Duration
	}{
		"both":          {State{Started: time.Now().Add(-time.Minute), StartedMonotonic: ago(time.Minute)}, time.Minute},
		"the clock set": {State{Started: time.Now().Add(-24 * time.Hour), StartedMonotonic: ago(time.Minute)}, time.Minute},
		"an older one":  {State{Started: time.Now().Add(-time.Minute)}, time.Minute},
		"negative":      {State{Started: time.Now().Add(-time.Minute), StartedMonotonic: -1}, time.Minute},
		"too much":      {State{Started: time.Now().Add(-time.Minute), StartedMonotonic: 1 << 62}, time.Minute},
	} {
		if got := c.s.Age(); got < c.want || got > c.want+30*time.Second {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
		c.s.step("x")
		if at := time.Duration(c.s.Steps[0].At) * time.Millisecond; at < c.want-time.Second || at > c.want+30*time.Second {
			t.Errorf("%s: a step is at %v, want %v", name, at, c.want)
		}
	}
}
