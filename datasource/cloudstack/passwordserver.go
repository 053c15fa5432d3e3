package cloudstack

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/nm-cloud-seed/nm-cloud-seed/internal/lease"
)

const (
	passwordPause    = 250 * time.Millisecond // before a candidate is asked again, doubled each time
	passwordPatience = 2 * time.Second        // with one that is coming up: its VR has just served the metadata
)

// DefaultNetwork returns the lease of the network whose password server counts:
// no other VR has the password.
func DefaultNetwork(view lease.View) (lease.Lease, bool) {
	if len(view.Leases) == 0 {
		return lease.Lease{}, false
	}
	return rank(view.Leases)[0], true
}

// FetchPassword asks for this VM's password on a lease's network; port 0 is
// 8080. Who has the metadata may not have the password: in a redundant network
// the DHCP server refuses, and the router answers. ErrNoPassword is the answer
// that none is waiting; any other error says who was asked and why it failed.
func FetchPassword(ctx context.Context, l lease.Lease, port uint16) (Password, error) {
	c := newClient(l, cmp.Or(port, passwordPort))
	defer c.close()
	return c.fetchPassword(ctx, l)
}

// fetchPassword does what FetchPassword does, with this client.
func (c *client) fetchPassword(ctx context.Context, l lease.Lease) (Password, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var turns []*turn
	for _, each := range candidates(l) {
		turns = append(turns, &turn{candidate: each})
	}
	deadline := time.Now().Add(passwordPatience)
	news := make(chan func())
	for ctx.Err() == nil {
		winner, next, wake := choose(turns, time.Now())
		switch {
		case winner != nil:
			return winner.password, winner.err
		case next != nil:
			next.since = time.Now()
			is := *next // the list's own is not touched outside this goroutine
			go c.pursue(ctx, l, is, deadline, func(is turn) {
				select {
				case news <- func() { *next = is }:
				case <-ctx.Done():
				}
			})
			continue
		case !slices.ContainsFunc(turns, func(t *turn) bool { return !t.over }):
			return Password{}, failure(l, turns)
		}
		var alarm <-chan time.Time
		if !wake.IsZero() {
			alarm = time.After(time.Until(wake))
		}
		select {
		case <-ctx.Done():
		case <-alarm:
		case change := <-news:
			change()
		}
	}
	return Password{}, failure(l, turns)
}

// turn is how a candidate's turn stands.
type turn struct {
	candidate
	since    time.Time // when it was asked, or gave the first of its two answers; zero before
	password Password
	err      error // why it is not the one, or ErrNoPassword
	over     bool  // it is not asked again
}

// choose decides, from the list in its order: whose answer counts, or who is to
// be asked now, or when to look again. Like the choice of the VR (round.next) it
// does not depend on who answers first: another subnet's VR, which data-server
// may be, says that no password is waiting.
func choose(turns []*turn, now time.Time) (winner, next *turn, wake time.Time) {
	for _, t := range turns {
		switch {
		case t.over && (t.err == nil || errors.Is(t.err, ErrNoPassword)):
			return t, nil, time.Time{}
		case t.since.IsZero():
			return nil, t, time.Time{}
		case t.err != nil: // it may be asked again, but nobody waits for it
			continue
		}
		if end := t.since.Add(silence); now.Before(end) {
			return nil, nil, end
		}
	}
	return nil, nil, time.Time{}
}

// pursue asks a candidate until it is settled, has failed for certain, or has
// had its time, and tells how it stands.
func (c *client) pursue(ctx context.Context, l lease.Lease, t turn, deadline time.Time, tell func(turn)) {
	for pause := passwordPause; ; pause *= 2 {
		t.password, t.err = c.passwordOf(ctx, l, t.candidate, func() {
			tell(turn{candidate: t.candidate, since: time.Now()})
		})
		left := time.Until(deadline)
		t.over = left <= 0 || !comingUp(t.err)
		if ctx.Err() != nil {
			return // the end is no fault of the candidate's
		}
		tell(t)
		if t.over {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(min(pause, left)):
		}
	}
}

// comingUp says whether a failure may be over in a moment. Unlike for metadata,
// 404 is none of those: only somebody else's server has it.
func comingUp(err error) bool { return passing(err) && !errors.Is(err, errNotFound) }

// passwordOf asks a candidate, all the addresses of it.
func (c *client) passwordOf(ctx context.Context, l lease.Lease, from candidate, half func()) (Password, error) {
	servers := []netip.Addr{from.server}
	if from.role == roleDataServer {
		found, err := c.resolve(ctx, l)
		if err != nil {
			return Password{}, err
		}
		servers = unknown(found, l)
	}
	err := errKnown
	for _, server := range servers {
		text, failed := c.password(ctx, server, half)
		if failed == nil || errors.Is(failed, ErrNoPassword) {
			return Password{Text: text, Server: server}, failed
		}
		if !comingUp(err) {
			err = failed
		}
	}
	return Password{}, err
}

// failure lists who was asked, in the order of preference.
func failure(l lease.Lease, turns []*turn) error {
	var parts []string
	for _, t := range turns {
		where, err := t.role, t.err
		if t.server.IsValid() {
			where += " " + t.server.String()
		}
		switch {
		case errors.Is(err, errKnown):
			continue
		case t.since.IsZero():
			err = errors.New("not asked yet")
		case err == nil:
			err = errSilent
		}
		parts = append(parts, fmt.Sprintf("%s: %v", where, err))
	}
	if len(parts) == 0 {
		parts = []string{"the lease names nobody to ask"}
	}
	return fmt.Errorf("cannot get the password on %s: %s", l.Device, strings.Join(parts, "; "))
}
