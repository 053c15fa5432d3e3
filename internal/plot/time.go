package plot

import (
	"fmt"
	"math"
	"time"
)

// Time writes a duration as people read it, with as much of it as matters: 0.4 ms,
// 57 ms, 1.62 s, 2 min 05 s.
func Time(d time.Duration) string {
	ms := math.Max(float64(d)/float64(time.Millisecond), 0)
	switch s := ms / 1000; {
	case ms < 9.95:
		return fmt.Sprintf("%.1f ms", ms)
	case ms < 999.5:
		return fmt.Sprintf("%.0f ms", ms)
	case s < 9.995:
		return fmt.Sprintf("%.2f s", s)
	case s < 99.95:
		return fmt.Sprintf("%.1f s", s)
	case s < 3599.5:
		n := int64(math.Round(s))
		return fmt.Sprintf("%d min %02d s", n/60, n%60)
	case s < 100*3600:
		n := int64(math.Round(s / 60))
		return fmt.Sprintf("%d h %02d min", n/60, n%60)
	default:
		return fmt.Sprintf("%.0f days", s/86400)
	}
}
