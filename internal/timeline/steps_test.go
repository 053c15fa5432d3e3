package timeline

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nm-cloud-seed/nm-cloud-seed/internal/daemon"
)

func TestStepsOf(t *testing.T) {
	t.Parallel()
	const ms = time.Millisecond
	started := time.Date(2026, 11, 26, 11, 10, 15, 0, time.UTC)
	ended := started.Add(20 * ms)
	steps := func(all ...daemon.Step) []daemon.Step { return all }
	failed := steps(daemon.Step{Name: "lease", At: 5}, daemon.Step{Name: "failed", At: 20})[:2:2]
	failedRun := []Step{{"lease", 0, 5 * ms, Done}, {"failed", 5 * ms, 20 * ms, Failed}}
	for name, c := range map[string]struct {
		s    daemon.State
		want Steps
	}{
		"nothing to do": {daemon.State{Phase: daemon.Idle, Ended: &ended}, Steps{}},
		"ready":         {daemon.State{Phase: daemon.Ready, Steps: steps(daemon.Step{Name: "lease", At: 3}, daemon.Step{Name: "seed", At: 5})}, Steps{Run: []Step{{"lease", 0, 3 * ms, Done}, {"seed", 3 * ms, 5 * ms, Done}}}},
		"backwards":     {daemon.State{Phase: daemon.Ready, Steps: steps(daemon.Step{Name: "lease", At: 5}, daemon.Step{Name: "seed", At: 3})}, Steps{Run: []Step{{"lease", 0, 5 * ms, Done}, {"seed", 5 * ms, 5 * ms, Done}}}},
		"under way":     {daemon.State{Phase: daemon.Searching, Steps: steps(daemon.Step{Name: "lease", At: 5})}, Steps{Run: []Step{{"lease", 0, 5 * ms, Done}, {"searching", 5 * ms, 50 * ms, UnderWay}}}},
		"failed":        {daemon.State{Phase: daemon.Failed, Ended: &ended, Steps: failed}, Steps{Run: failedRun}},
		"stopped":       {daemon.State{Phase: daemon.Stopped, Ended: &ended, Steps: steps(daemon.Step{Name: "stopped", At: 4})}, Steps{Run: []Step{{"stopped", 0, 4 * ms, Failed}}}},
		// Its process may still hand over the network.
		"failing": {daemon.State{Phase: daemon.Failed, Steps: failed}, Steps{Run: failedRun}},
		// By the other clock it took an hour, or ended before it began.
		"set forward": {daemon.State{Phase: daemon.Failed, Started: ended.Add(-time.Hour), Ended: &ended, Steps: failed}, Steps{Run: failedRun}},
		"set back":    {daemon.State{Phase: daemon.Failed, Started: ended.Add(time.Hour), Ended: &ended, Steps: failed}, Steps{Run: failedRun}},
		"healing": {
			daemon.State{Phase: daemon.Failed, Ended: &ended, Healing: &daemon.Healing{}, Steps: append(failed, daemon.Step{Name: firstHeal, At: 30}, daemon.Step{Name: "lease", At: 33})},
			Steps{Run: failedRun, Healing: []Step{{"lease", 30 * ms, 33 * ms, Done}, {"under way", 33 * ms, 50 * ms, UnderWay}}, HealingAt: 30 * ms},
		},
		"a lease after the seed, and healing": {
			daemon.State{Phase: daemon.Ready, Ended: &ended, Healing: &daemon.Healing{}, Steps: steps(daemon.Step{Name: "seed", At: 5}, daemon.Step{Name: "lease", At: 9}, daemon.Step{Name: firstHeal, At: 30})},
			Steps{Run: []Step{{"seed", 0, 5 * ms, Done}, {"lease", 5 * ms, 9 * ms, Done}}, Healing: []Step{{"under way", 30 * ms, 50 * ms, UnderWay}}, HealingAt: 30 * ms},
		},
	} {
		if c.s.Started.IsZero() {
			c.s.Started = started
		}
		if diff := cmp.Diff(c.want, StepsOf(c.s, 50*ms)); diff != "" {
			t.Errorf("%s: -want +got:\n%s", name, diff)
		}
	}
}
