package daemon

import (
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// Booted is when this system's first process started, which in a container is not
// when the kernel did; by the clock as it is now. Zero: that cannot be told.
func Booted() time.Time {
	var up unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &up); err != nil {
		return time.Time{}
	}
	start, _ := startTime(1) // hidden with hidepid (proc(5)); then it is the kernel's
	ticks, _ := strconv.ParseInt(start, 10, 64)
	const perSecond = 100 // USER_HZ of every architecture that we build for
	return time.Now().Add(time.Duration(ticks)*(time.Second/perSecond) - time.Duration(up.Nano()))
}
