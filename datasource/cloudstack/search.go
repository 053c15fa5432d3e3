package cloudstack

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"github.com/nm-cloud-seed/nm-cloud-seed/datasource"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/lease"
)

// The pace of the search. The choice of the VR must not depend on who answers
// first: only the default network's VR has the current SSH key, the password
// and the right address. So a candidate's turn comes when the better ones have
// failed for certain or had these times.
const (
	silence = time.Second      // to the next candidate
	grace   = 2 * time.Second  // to the next device, if this one (or the default one) may yet come up
	patient = 10 * time.Second // for the default device's lease, as long as any may come
	retry   = time.Second      // to ask a candidate again, while others are still being asked
)

// Roles, in which a candidate was found.
const (
	roleServer     = "DHCP server"
	roleRouter     = "router"
	roleDataServer = "data-server"
)

// candidate is an address where a VR may be.
type candidate struct {
	device string
	role   string
	server netip.Addr // zero for data-server, which is yet to be resolved
}

// candidates lists where the VR of a lease's network may be, best first: the
// DHCP server is the VR on every kind of network that has one; a router may be
// somebody else's, data-server may be another subnet's
// (https://github.com/apache/cloudstack/issues/4943).
func candidates(l lease.Lease) []candidate {
	var list []candidate
	add := func(role string, server netip.Addr) {
		for _, c := range list {
			if c.server == server {
				return
			}
		}
		list = append(list, candidate{l.Device, role, server})
	}
	if l.Server.IsValid() {
		add(roleServer, l.Server)
	}
	for _, r := range l.Routers {
		add(roleRouter, r)
	}
	if len(l.DNS) > 0 {
		list = append(list, candidate{device: l.Device, role: roleDataServer})
	}
	return list
}

// rank sorts leases by whose VR is to be preferred: the default network's,
// then by interface index.
func rank(leases []lease.Lease) []lease.Lease {
	return slices.SortedStableFunc(slices.Values(leases), func(a, b lease.Lease) int {
		if a.Default() != b.Default() {
			if a.Default() {
				return -1
			}
			return 1
		}
		return cmp.Compare(a.Index, b.Index)
	})
}

// probe is what is known of one candidate in this round.
type probe struct {
	candidate
	lease    lease.Lease
	client   *client
	started  time.Time
	ended    time.Time
	done     bool
	err      error      // why it is not the one
	answered netip.Addr // who gave the id
	id       string     // a sane instance-id
	head     *head      // what else was asked of it
}

// round is one search over all candidates.
type round struct {
	view   lease.View
	first  time.Time            // when the first lease was seen, in any round
	asked  map[string]time.Time // when a device was first asked, in any round
	probes map[candidate]*probe
}

// step is what follows from a round at one moment.
type step struct {
	start  []*probe // to be asked now
	winner *probe
	wake   time.Time // look again then; zero: only when something happens
	over   bool      // nothing is left to wait for
}

// next decides. It is a pure function of the round and the time.
func (r *round) next(now time.Time) step {
	s := step{over: true}
	wakeAt := func(t time.Time) {
		s.over = false
		if s.wake.IsZero() || t.Before(s.wake) {
			s.wake = t
		}
	}
	var again []*probe // that may do better next time
	for i, l := range rank(r.view.Leases) {
		if i == 0 && !l.Default() {
			end := r.first.Add(grace)
			if r.view.Waiting() {
				end = r.first.Add(patient)
			}
			if now.Before(end) {
				wakeAt(end)
				break
			}
		}
		since, seen := r.asked[l.Device]
		if !seen {
			since = now
		}
		failed := true  // for certain
		asking := false // a candidate still has time to answer
		for _, c := range candidates(l) {
			p := r.probes[c]
			if p == nil {
				p = &probe{candidate: c, lease: l, started: now}
				s.start = append(s.start, p)
			}
			switch {
			case !p.done:
				failed, s.over = false, false
			case p.err == nil:
				s.winner = p
				return s
			default:
				failed = failed && !passing(p.err)
				again = append(again, p)
			}
			if end := p.started.Add(silence); !p.done && now.Before(end) {
				wakeAt(end)
				asking = true
				break
			}
		}
		if end := since.Add(grace); !failed && now.Before(end) {
			if !s.over {
				wakeAt(end)
			}
			break
		}
		if asking {
			break
		}
	}
	if s.over {
		return s // the next round asks everybody again
	}
	for _, p := range again {
		due := p.ended.Add(retry)
		if !passing(p.err) {
			due = p.ended.Add(3 * retry)
		}
		if now.Before(due) {
			wakeAt(due)
		} else {
			s.start = append(s.start, &probe{candidate: p.candidate, lease: p.lease, started: now})
		}
	}
	return s
}

// passing says whether a failure may be over in a moment: a VR that is coming
// up, or that has no data for this VM yet. It is reason enough to ask the next
// candidate, but not to take another network's VR at once.
func passing(err error) bool {
	for _, e := range []error{
		errNotFound, datasource.ErrNotReady, io.EOF, io.ErrUnexpectedEOF,
		unix.ECONNREFUSED, unix.ECONNRESET, unix.EADDRNOTAVAIL,
		unix.EHOSTUNREACH, unix.ENETUNREACH, unix.ENETDOWN,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// search asks candidates until one has answered with a sane instance-id. It
// follows changes of the view, and fails when all that is there has failed.
func (f *Fetcher) search(attempt context.Context, v *viewer) (*probe, error) {
	ctx, cancel := context.WithCancel(attempt)
	defer cancel()
	r := &round{view: v.view, first: v.first, asked: f.asked, probes: map[candidate]*probe{}}
	type result struct{ of, is *probe }
	results := make(chan result)
	for {
		s := r.next(time.Now())
		for _, p := range s.start {
			r.probes[p.candidate] = p
			if _, seen := f.asked[p.device]; !seen {
				f.asked[p.device] = p.started
			}
			p.client = f.client(p.lease)
			is := *p // the round's own is not touched outside its goroutine
			go func() {
				f.ask(ctx, attempt, &is)
				is.done, is.ended = true, time.Now()
				select {
				case results <- result{p, &is}:
				case <-ctx.Done():
				}
			}()
		}
		switch {
		case s.winner != nil:
			return s.winner, nil
		case s.over:
			return nil, errNoVR
		}
		var wake <-chan time.Time
		if !s.wake.IsZero() {
			wake = time.After(time.Until(s.wake))
		}
		select {
		case <-ctx.Done():
			for c, p := range r.probes {
				if !p.done && f.tried[c] == nil {
					f.tried[c] = &probe{candidate: c, err: errSilent}
				}
			}
			return nil, ctx.Err()
		case <-wake:
		case done := <-results:
			f.tried[done.of.candidate] = done.is
			*done.of = *done.is
		case view, ok := <-v.views:
			if v.take(view, ok); !ok {
				continue
			}
			r.view, r.first = v.view, v.first
			for c, p := range r.probes { // a lease that changed is asked anew
				if !slices.ContainsFunc(r.view.Leases, func(l lease.Lease) bool { return same(l, p.lease) }) {
					delete(r.probes, c)
					delete(r.asked, c.device)
				}
			}
		}
	}
}

// same says whether two leases lead to the same requests.
func same(a, b lease.Lease) bool {
	return a.Device == b.Device && a.Address == b.Address && a.Server == b.Server &&
		slices.Equal(a.Routers, b.Routers) && slices.Equal(a.DNS, b.DNS)
}

var (
	errNoVR   = errors.New("no virtual router answered")
	errSilent = errors.New("no answer in time")
	errKnown  = errors.New("data-server is somebody who was asked already")
)

// ask asks one candidate for the instance-id, and for index and user-data, which
// may be read as long as the attempt lasts.
func (f *Fetcher) ask(ctx, attempt context.Context, p *probe) {
	servers := []netip.Addr{p.server}
	if p.role == roleDataServer {
		found, err := p.client.resolve(ctx, p.lease)
		if err != nil {
			p.err = err
			return
		}
		servers, p.err = unknown(found, p.lease), errKnown
	}
	for _, server := range servers {
		var body []byte
		limit := probeTimeout / time.Duration(len(servers))
		p.head = p.client.begin(attempt, server)
		body, p.err = p.client.get(ctx, server, indexPath+"instance-id", maxLeaf, limit)
		if p.err == nil {
			p.id, p.err = instanceID(body)
		}
		if p.err == nil && !f.AnyInstance && !f.owns(p.id) {
			p.err = fmt.Errorf("it has the data of instance %s, and this machine is %s by its firmware (check-instance-id=no in nm-cloud-seed.conf takes it all the same)", p.id, f.UUID)
		}
		if p.err == nil {
			p.answered = server
			return
		}
		p.head.cancel()
	}
}

// unknown leaves out what data-server has in common with the other candidates.
func unknown(found []netip.Addr, l lease.Lease) []netip.Addr {
	known := candidates(l)
	return slices.DeleteFunc(found, func(a netip.Addr) bool {
		return slices.ContainsFunc(known, func(c candidate) bool { return c.server == a })
	})
}

// legacyID is an instance-id of the first CloudStack releases: i-ACCOUNT-VM-NAME.
var legacyID = regexp.MustCompile(`^i-[0-9]+-[0-9]+-[A-Za-z0-9-]{1,64}$`)

// instanceID accepts what CloudStack uses as an instance-id: the VM's UUID (or,
// long ago, its internal name). Anything else comes from something that is
// no VR, such as a router that answers each path with its login page.
func instanceID(body []byte) (string, error) {
	id := strings.TrimSpace(string(body[:min(len(body), 256)]))
	switch {
	case len(body) == 0:
		return "", fmt.Errorf("%w: the instance-id is still empty", datasource.ErrNotReady)
	case len(body) <= 128 && (uuid.Validate(id) == nil && len(id) == 36 || legacyID.MatchString(id)):
		return id, nil
	}
	return "", fmt.Errorf("the answer of %d bytes is no instance-id: not a virtual router", len(body))
}
