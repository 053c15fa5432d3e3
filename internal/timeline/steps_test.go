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
	for name, c := range map[string]struct {
		s    daemon.State
		want Steps
	}{
		"nothing to do": {daemon.State{Phase: daemon.Idle, Ended: &ended}, Steps{}},
		"ready":         {daemon.State{Phase: daemon.Ready, Steps: steps(daemon.Step{Name: "lease", At: 3}, daemon.Step{Name: "seed", At: 5})}, Steps{Run: []Step{{"lease", 0, 3 * ms, Done}, {"seed", 3 * ms, 5 * ms, Done}}}},
		"backwards":     {daemon.State{Phase: daemon.Ready, Steps: steps(daemon.Step{Name: "lease", At: 5}, daemon.Step{Name: "seed", At: 3})}, Steps{Run: []Step{{"lease", 0, 5 * ms, Done}, {"seed", 5 * ms, 5 * ms, Done}}}},
		"under way":     {daemon.State{Phase: daemon.Searching, Steps: steps(daemon.Step{Name: "lease", At: 5})}, Steps{Run: []Step{{"lease", 0, 5 * ms, Done}, {"searching", 5 * ms, 50 * ms, UnderWay}}}},
		"failed":        {daemon.State{Phase: daemon.Failed, Ended: &ended, Steps: steps(daemon.Step{Name: "lease", At: 5})}, Steps{Run: []Step{{"lease", 0, 5 * ms, Done}, {"failed", 5 * ms, 20 * ms, Failed}}}},
		"killed":        {daemon.State{Phase: daemon.Failed, Ended: &ended}, Steps{Run: []Step{{"failed", 0, 20 * ms, Failed}}}},
		"healing, and the clock was set": {
			daemon.State{Phase: daemon.Failed, Started: started.Add(-time.Hour), Ended: &ended, Healing: &daemon.Healing{}, Steps: steps(daemon.Step{Name: "lease", At: 5}, daemon.Step{Name: firstHeal, At: 30}, daemon.Step{Name: "lease", At: 33})},
			Steps{
				Run:   []Step{{"lease", 0, 5 * ms, Done}, {"failed", 5 * ms, 30 * ms, Failed}},
				After: []Step{{"lease", 30 * ms, 33 * ms, Done}, {"under way", 33 * ms, 50 * ms, UnderWay}}, AfterAt: 30 * ms, Healing: true,
			},
		},
		"more than a seed": {
			daemon.State{Phase: daemon.Ready, Ended: &ended, Steps: steps(daemon.Step{Name: "seed", At: 5}, daemon.Step{Name: "password", At: 33})},
			Steps{Run: []Step{{"seed", 0, 5 * ms, Done}}, After: []Step{{"password", 5 * ms, 33 * ms, Done}}, AfterAt: 5 * ms},
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
