package cloudstack

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nm-cloud-seed/nm-cloud-seed/datasource/cloudstack/vrtest"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/lease"
)

// answers puts findings into words: the candidate, its answer, the time that
// it took, if any, and whether the candidate is taken.
func (l *lab) answers(found []Finding) (said []string) {
	for _, f := range found {
		text := f.Where() + ": " + f.ID
		if f.Err != nil {
			text = f.Where() + ": " + l.note(nil, f.Err).Error()
		}
		if f.Took != 0 {
			text += " after " + f.Took.String()
		}
		if f.Taken {
			text += " (taken)"
		}
		said = append(said, text)
	}
	return said
}

func TestSurvey(t *testing.T) {
	t.Parallel()
	const other = "11111111-2222-4333-8444-555555555555"
	foreign := vrtest.Example(other, addr("127.0.0.1"))
	for _, test := range []struct {
		name    string
		serve   func(l *lab)
		options Options
		want    []string
	}{
		{"all kinds of answers", func(l *lab) {
			l.vr(0, nil)
			l.vr(1, example(), loginPage)
			l.vr(2, example())
			l.vr(3, example())
			_ = l.listeners[4].Close()
		}, Options{}, []string{
			"DHCP server 127.0.0.2 on lo: the answer is 404 Not Found",
			"router 127.0.0.3 on lo: the answer of 39 bytes is no instance-id: not a virtual router",
			"router 127.0.0.4 on lo: " + vmID + " (taken)",
			"router 127.0.0.5 on lo: " + vmID,
			"router 127.0.0.6 on lo: connection refused",
		}},
		{"another VM's data", func(l *lab) {
			l.vr(0, foreign)
			l.vr(1, example())
		}, Options{UUID: vmID}, []string{
			"DHCP server 127.0.0.2 on lo: another VM's data: of instance " + other,
			"router 127.0.0.3 on lo: " + vmID + " (taken)",
		}},
		{"another VM's data, taken", func(l *lab) {
			l.vr(0, foreign)
			l.vr(1, example())
		}, Options{UUID: vmID, AnyInstance: true}, []string{
			"DHCP server 127.0.0.2 on lo: " + other + " (taken)",
			"router 127.0.0.3 on lo: " + vmID,
		}},
		{"slow", func(l *lab) {
			l.vr(0, example(), vrtest.Fault{Delay: silence + 200*time.Millisecond})
			l.vr(1, example())
			l.vr(2, example(), vrtest.Fault{Delay: time.Minute})
		}, Options{}, []string{
			"DHCP server 127.0.0.2 on lo: " + vmID + " after 1.2s",
			"router 127.0.0.3 on lo: " + vmID + " (taken)",
			"router 127.0.0.4 on lo: no answer in time after 3s",
		}},
		{"slow, but nobody else", func(l *lab) {
			l.vr(0, example(), vrtest.Fault{Delay: silence + 200*time.Millisecond})
			l.vr(1, nil)
		}, Options{}, []string{
			"DHCP server 127.0.0.2 on lo: " + vmID + " after 1.2s (taken)",
			"router 127.0.0.3 on lo: the answer is 404 Not Found",
		}},
	} {
		inFakeTime(t, test.name, func(t *testing.T) {
			l := newPipeLab(t, len(test.want))
			test.serve(l)
			var routers []int
			for i := 1; i < len(test.want); i++ {
				routers = append(routers, i)
			}
			f := New(test.options)
			f.newClient = l.client
			found := f.Survey(t.Context(), lease.View{Leases: leases(l.lease(0, routers...))})
			if diff := cmp.Diff(test.want, l.answers(found)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// TestSurveyMarksWhatASearchTakes compares the two where each candidate gives
// both the same answer, and none has its second turn before another's first.
func TestSurveyMarksWhatASearchTakes(t *testing.T) {
	t.Parallel()
	const schedules = 2000
	won := map[string]int{}
	for seed := range uint64(schedules) {
		r := rand.New(rand.NewPCG(seed, 1))
		w := world{arrivals: []arrival{at(0, known(leases(eth1, eth0)))}, answers: answers{}}
		var found []Finding
		for _, l := range rank(leases(eth1, eth0)) {
			for _, c := range candidates(l) {
				is := answer{after: time.Duration(1 + r.Int64N(int64(2*silence)-1))}
				if r.IntN(2) == 0 {
					is.after /= 100
				}
				is.err = []error{nil, errForeign}[r.IntN(2)]
				w.answers[name(c)] = []answer{is}
				found = append(found, Finding{Device: c.device, Role: c.role, Server: c.server, Err: is.err, Took: is.after})
			}
		}
		take(found)
		got := "over"
		for _, f := range found {
			if f.Taken {
				got = name(candidate{f.Device, f.Role, f.Server}) + " wins"
			}
		}
		said := w.run(1)
		if last := said[len(said)-1]; !strings.HasSuffix(last, " "+got) {
			t.Fatalf("schedule %d: %q by the survey, but:\n%s\n%+v", seed, got, strings.Join(said, "\n"), found)
		}
		won[got]++
	}
	if len(won) != 5 {
		t.Errorf("of %d schedules: %v", schedules, won)
	}
}

// TestSurveyPasswords sees that a password is neither given away nor forgotten.
func TestSurveyPasswords(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newPipeLab(t, 5)
		vr := l.passwords(0, waiting())
		l.passwords(1, waiting(), loginPage)
		l.raw(2, "HTTP/1.0 200 OK\r\n\r\n"+secret)
		_ = l.listeners[3].Close()
		l.passwords(4, waiting(), vrtest.Fault{Delay: time.Minute})
		got := l.answers(surveyPasswords(t.Context(), l.lease(0, 1, 2, 3, 4), l.client))
		want := []string{
			"DHCP server 127.0.0.2 on lo:  (taken)",
			"router 127.0.0.3 on lo: refused: the answer is not from a CloudStack password server",
			"router 127.0.0.4 on lo: refused: the answer is not from a CloudStack password server",
			"router 127.0.0.5 on lo: connection refused",
			"router 127.0.0.6 on lo: no answer in time after 3s",
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
		for _, r := range vr.Requests() {
			if r.DomURequest != "" || r.Method != "GET" {
				t.Errorf("got %s with the word %q, want GET without one", r.Method, r.DomURequest)
			}
		}
		if vr.PasswordAcknowledged(addr("127.0.0.1")) {
			t.Error("the password is forgotten")
		}
		if p, err := l.password(l.lease(0), limit); err != nil || p.Text != secret {
			t.Errorf("afterwards: got %v, %v, want the password", p, err)
		}
	})
}

// TestSurveyEndsWithItsContext gives the survey no time at all.
func TestSurveyEndsWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newPipeLab(t, 1)
		l.vr(0, example(), vrtest.Fault{Delay: time.Minute})
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		f := New(Options{})
		f.newClient = l.client
		found := f.Survey(ctx, lease.View{Leases: leases(l.lease(0))})
		if len(found) != 1 || !errors.Is(found[0].Err, context.Canceled) || found[0].Took != 0 {
			t.Errorf("got %+v, want %v at once", found, context.Canceled)
		}
		if found := New(Options{}).Survey(t.Context(), lease.View{}); len(found) != 0 {
			t.Errorf("without a lease: got %+v, want nothing", found)
		}
	})
}
