package cloudstack

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/nm-cloud-seed/nm-cloud-seed/internal/lease"
)

// Whoever is fast and whichever lease comes first: as long as the default
// device's candidates answer within their silence, the best sane one wins.
func TestSearchIsDeterministic(t *testing.T) {
	t.Parallel()
	const schedules = 5000
	order := []string{server0, router0, data0}
	won := map[string]int{}
	for seed := range uint64(schedules) {
		r := rand.New(rand.NewPCG(seed, 1))
		soon := func() time.Duration { return time.Duration(1 + r.Int64N(int64(silence)-1)) }
		w := world{arrivals: arrive(r), answers: answers{}}
		best := r.IntN(len(order))
		for i, who := range order {
			is := answer{after: soon()}
			switch {
			case i < best:
				is.err = []error{errRefused, errForeign, errNotFound}[r.IntN(3)]
			case i > best && r.IntN(2) == 0:
				is.err = errForeign
			}
			w.answers[who] = []answer{is}
		}
		for _, who := range []string{server1, "eth2 10.3.0.1"} {
			w.answers[who] = is(soon())
		}
		said := w.run(1)
		last := said[len(said)-1]
		if !strings.HasSuffix(last, " "+order[best]+" wins") {
			t.Fatalf("schedule %d: %s should win, but:\n%s", seed, order[best], strings.Join(said, "\n"))
		}
		won[order[best]]++
	}
	for _, who := range order {
		if won[who] < schedules/10 {
			t.Errorf("of %d schedules, %s won %d", schedules, who, won[who])
		}
	}
}

// arrive lets the leases of three devices come in any order within the time
// that the default device's is waited for.
func arrive(r *rand.Rand) []arrival {
	eth2 := with(eth1, "10.3.0.1")
	eth2.Device, eth2.Index = "eth2", 5
	all := []lease.Lease{eth0, eth1, eth2}
	r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	var list []arrival
	now := time.Duration(0)
	for i := range all {
		var waiting []string
		for _, l := range all[i+1:] {
			waiting = append(waiting, l.Device)
		}
		list = append(list, at(now, known(leases(all[:i+1]...), waiting...)))
		now += time.Duration(r.Int64N(int64(patient) / 2))
	}
	return list
}
