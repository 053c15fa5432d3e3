package daemon

import (
	"time"

	"golang.org/x/sys/unix"
)

// Monotonic is CLOCK_MONOTONIC, by which systemd has its timestamps, too. It goes on
// as before when the clock is set, as NTP does in the middle of a boot.
func Monotonic() time.Duration {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &t) // every Linux has it
	return time.Duration(t.Nano())
}

// uptimeLimit is more than any system is up, and far from an overflow.
const uptimeLimit = 100 * 365 * 24 * time.Hour

// MonotonicStart is when the run started by Monotonic's clock. A state of an older
// version does not know.
func (s State) MonotonicStart() (at time.Duration, ok bool) {
	if s.StartedMonotonic <= 0 || s.StartedMonotonic > uptimeLimit.Microseconds() {
		return 0, false
	}
	return time.Duration(s.StartedMonotonic) * time.Microsecond, true
}

// Age is how long ago the run started, whatever has become of the clock meanwhile.
func (s State) Age() time.Duration {
	if at, ok := s.MonotonicStart(); ok {
		return Monotonic() - at
	}
	return time.Since(s.Started)
}
