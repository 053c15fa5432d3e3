package cloudstack

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/nm-cloud-seed/nm-cloud-seed/datasource"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/lease"
)

// surveyTime bounds a survey: nobody tries again in it.
const surveyTime = 3 * time.Second

// Finding is what one candidate answers, once.
type Finding struct {
	Device string
	Role   string
	Server netip.Addr // zero: data-server, of which there is no address
	ID     string     // its instance-id, of whichever VM
	Err    error      // why it would not be taken
	Took   time.Duration
	Taken  bool // a Fetcher would take this one
}

// Where names a candidate in words.
func (f Finding) Where() string {
	where := f.Role
	if f.Server.IsValid() {
		where += " " + f.Server.String()
	}
	return where + " on " + f.Device
}

// ErrOtherVM is that a virtual router has another VM's data.
var ErrOtherVM = errors.New("another VM's data")

// Survey asks each candidate of each lease for the instance-id, all at once, and
// lists the answers in the order of preference. Nothing else is asked for.
func (f *Fetcher) Survey(ctx context.Context, view lease.View) []Finding {
	found := survey(ctx, rank(view.Leases), f.newClient, func(ctx context.Context, c *client, is *Finding) {
		body, err := c.get(ctx, is.Server, indexPath+"instance-id", maxLeaf, probeTimeout)
		if err == nil {
			is.ID, err = instanceID(body)
		}
		if err == nil && !f.AnyInstance && !f.owns(is.ID) {
			err = fmt.Errorf("%w: of instance %s", ErrOtherVM, is.ID)
		}
		is.Err = err
	})
	take(found)
	return found
}

// take marks whom a Fetcher would take, which asks one after the other: of the
// answers, the first to come when each has its turn.
func take(found []Finding) {
	var turn, begun, first time.Duration // since the first was asked; begun: with a device
	taken := -1
	for i, is := range found {
		if i > 0 && is.Device != found[i-1].Device {
			begun = max(turn, begun+grace)
			turn = begun
		}
		if at := turn + is.Took; is.Err == nil && (taken < 0 || at < first) {
			taken, first = i, at
		}
		turn += min(is.Took, silence)
	}
	if taken >= 0 {
		found[taken].Taken = true
	}
}

// SurveyPasswords asks each candidate of a lease whether it is a password server,
// all at once; port 0 is 8080. Without a word in DomU_Request its answer is
// bad_request: it neither gives a password away nor forgets one.
func SurveyPasswords(ctx context.Context, l lease.Lease, port uint16) []Finding {
	return surveyPasswords(ctx, l, func(l lease.Lease) *client { return newClient(l, cmp.Or(port, passwordPort)) })
}

// surveyPasswords does what SurveyPasswords does, with clients that newClient makes.
func surveyPasswords(ctx context.Context, l lease.Lease, newClient func(lease.Lease) *client) []Finding {
	found := survey(ctx, []lease.Lease{l}, newClient, func(ctx context.Context, c *client, is *Finding) {
		body, header, err := c.ask(ctx, is.Server, "/", http.Header{}, maxPassword, probeTimeout)
		if err == nil && (!isPasswordServer(header) || strings.TrimSpace(string(body)) != "bad_request") {
			err = errForeignServer
		}
		is.Err = err
	})
	take(found)
	return found
}

// survey asks all candidates of some leases. The addresses of data-server that
// other candidates have, too, are left out, unless there is nothing else to say.
func survey(ctx context.Context, leases []lease.Lease, newClient func(lease.Lease) *client, ask func(context.Context, *client, *Finding)) []Finding {
	ctx, cancel := context.WithTimeout(ctx, surveyTime)
	defer cancel()
	var all sync.WaitGroup
	var answers []*[]Finding // of each candidate
	for _, l := range leases {
		c := newClient(l)
		defer c.close()
		for _, from := range candidates(l) {
			mine := new([]Finding)
			answers = append(answers, mine)
			all.Go(func() { *mine = c.askOnce(ctx, l, from, ask) })
		}
	}
	all.Wait()
	var found []Finding
	for _, mine := range answers {
		found = append(found, *mine...)
	}
	return found
}

// askOnce asks all the addresses of a candidate at once.
func (c *client) askOnce(ctx context.Context, l lease.Lease, from candidate, ask func(context.Context, *client, *Finding)) []Finding {
	begun := time.Now()
	is := Finding{Device: from.device, Role: from.role, Server: from.server}
	found := []Finding{is}
	if from.role == roleDataServer {
		addrs, err := c.resolve(ctx, l)
		if err == nil {
			if addrs = unknown(addrs, l); len(addrs) == 0 {
				err = errKnown
			}
		}
		if err != nil {
			found[0].Err, found[0].Took = err, time.Since(begun)
			return found
		}
		found = nil
		for _, addr := range addrs {
			is.Server = addr
			found = append(found, is)
		}
	}
	var all sync.WaitGroup
	for i := range found {
		all.Go(func() {
			ask(ctx, c, &found[i])
			found[i].Took = time.Since(begun)
		})
	}
	all.Wait()
	return found
}

// Known says of a finding that it is data-server under an address that another
// candidate has: nothing is wrong with that.
func (f Finding) Known() bool { return errors.Is(f.Err, errKnown) }

// NoData says of a finding's error that somebody is there who has nothing for
// this VM: a virtual router that does not know it, or none at all.
func NoData(err error) bool {
	return errors.Is(err, errNotFound) || errors.Is(err, datasource.ErrNotReady)
}
