package cloudstack

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nm-cloud-seed/nm-cloud-seed/internal/lease"
)

// world plays a search in its own time: it does what Fetcher.search does, but
// the answers come as a table says. It shows who is asked when, and who wins.
type world struct {
	arrivals []arrival
	// answers are of each candidate (see name), one a round; the last repeats.
	// Without any, a candidate is silent, and given up like a real one.
	answers map[string][]answer
}

type arrival struct {
	at   time.Duration
	view lease.View
}

type answer struct {
	after time.Duration
	err   error
}

// What candidates answer that are no VR, or not up.
var (
	errForeign = errors.New("not a virtual router")
	errRefused = error(unix.ECONNREFUSED)
)

func name(c candidate) string {
	if c.role == roleDataServer {
		return c.device + " " + c.role
	}
	return c.device + " " + c.server.String()
}

// pause is between two rounds; Fetcher's is doubled and jittered.
const pause = 500 * time.Millisecond

// run plays so many rounds, fewer if there is a winner.
func (w world) run(rounds int) (said []string) {
	start := time.Unix(1_000_000, 0)
	type pending struct {
		at time.Time
		of *probe
		is answer
	}
	var due []pending
	arrivals, turn := w.arrivals, map[string]int{}
	r := &round{asked: map[string]time.Time{}, probes: map[candidate]*probe{}}
	now := start
	say := func(format string, args ...any) {
		said = append(said, now.Sub(start).String()+" "+fmt.Sprintf(format, args...))
	}
	for {
		for len(arrivals) > 0 && !start.Add(arrivals[0].at).After(now) {
			if r.view = arrivals[0].view; r.first.IsZero() && len(r.view.Leases) > 0 {
				r.first = now
			}
			for c, p := range r.probes {
				if !slices.ContainsFunc(r.view.Leases, func(l lease.Lease) bool { return same(l, p.lease) }) {
					delete(r.probes, c)
				}
			}
			arrivals = arrivals[1:]
		}
		s := r.next(now)
		for _, p := range s.start {
			say("ask %s", name(p.candidate))
			r.probes[p.candidate] = p
			if _, seen := r.asked[p.device]; !seen {
				r.asked[p.device] = now
			}
			is := answer{after: probeTimeout, err: errSilent}
			if script := w.answers[name(p.candidate)]; len(script) > 0 {
				is = script[min(turn[name(p.candidate)], len(script)-1)]
			}
			turn[name(p.candidate)]++
			due = append(due, pending{now.Add(is.after), p, is})
		}
		if s.winner != nil {
			say("%s wins", name(s.winner.candidate))
			return said
		}
		if s.over {
			say("over")
			if rounds--; rounds == 0 {
				return said
			}
			now, r.probes = now.Add(pause), map[candidate]*probe{}
			continue
		}
		// The first thing that happens next.
		next := s.wake
		if len(arrivals) > 0 && (next.IsZero() || start.Add(arrivals[0].at).Before(next)) {
			next = start.Add(arrivals[0].at)
		}
		slices.SortStableFunc(due, func(a, b pending) int { return a.at.Compare(b.at) })
		if len(due) > 0 && (next.IsZero() || !due[0].at.After(next)) {
			first := due[0]
			now, due = first.at, due[1:]
			first.of.done, first.of.ended, first.of.err = true, first.at, first.is.err
			continue
		}
		if !next.After(now) {
			say("is stuck")
			return said
		}
		now = next
	}
}

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

// The default network: found last by the kernel, so that order alone would not
// prefer it.
var eth0 = lease.Lease{
	Device:  "eth0",
	Index:   3,
	Address: netip.MustParsePrefix("10.1.0.9/24"),
	Server:  addr("10.1.0.1"),
	Routers: []netip.Addr{addr("10.1.0.254")},
	DNS:     []netip.Addr{addr("10.1.0.53")},
}

// A second network: its VR says who it is, and nothing else.
var eth1 = lease.Lease{
	Device:  "eth1",
	Index:   2,
	Address: netip.MustParsePrefix("10.2.0.9/24"),
	Server:  addr("10.2.0.1"),
}

// known is a view of these leases, with devices that wait for theirs.
func known(leases []lease.Lease, waiting ...string) lease.View {
	v := lease.View{Leases: leases, Running: true}
	for _, l := range leases {
		v.Devices = append(v.Devices, lease.Device{Name: l.Device, State: lease.Leased})
	}
	for _, name := range waiting {
		v.Devices = append(v.Devices, lease.Device{Name: name, State: lease.Waiting, Detail: "activating"})
	}
	return v
}

func leases(l ...lease.Lease) []lease.Lease { return l }
