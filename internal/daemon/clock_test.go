package daemon

import (
	"testing"
	"time"
)

// TestAge: the monotonic clock counts where there is one in the state, whatever the
// other one says.
func TestAge(t *testing.T) {
	t.Parallel()
	begin := Monotonic()
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
		got := c.s.Age()
		if most := c.want + Monotonic() - begin; got < c.want || got > most {
			t.Errorf("%s: got the age %v, want %v to %v", name, got, c.want, most)
		}
		c.s.step("x")
		at := time.Duration(c.s.Steps[0].At) * time.Millisecond
		if most := c.want + Monotonic() - begin; at < c.want.Truncate(time.Millisecond) || at > most {
			t.Errorf("%s: got a step at %v, want it at %v to %v", name, at, c.want, most)
		}
	}
}
