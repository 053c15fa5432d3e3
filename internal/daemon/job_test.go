package daemon

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nm-cloud-seed/nm-cloud-seed/internal/lease"
)

// The service gives up at its deadline, or after 15 s if it has something else.
func TestLimit(t *testing.T) {
	const never = 24 * time.Hour // longer than any run
	yes, no := func() bool { return true }, func() bool { return false }
	for _, tt := range []struct {
		name     string
		deadline time.Duration
		enough   func() bool
		ends     time.Duration
		asked    time.Duration // when Enough is asked; 0: never
		found    bool          // a virtual router
	}{
		{"neither", 0, nil, never, 0, false},
		{"deadline", 2 * time.Minute, nil, 2 * time.Minute, 0, false},
		{"enough", 0, yes, enoughAfter, enoughAfter, false},
		{"not enough", 0, no, never, enoughAfter, false},
		{"enough before the deadline", 2 * time.Minute, yes, enoughAfter, enoughAfter, false},
		{"not enough before the deadline", 2 * time.Minute, no, 2 * time.Minute, enoughAfter, false},
		{"a router has been found", 2 * time.Minute, yes, 2 * time.Minute, 0, true},
		{"deadline before it is asked", 10 * time.Second, yes, 10 * time.Second, 0, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begin := time.Now()
				var asked []time.Duration
				j := Job{Deadline: tt.deadline}
				if tt.enough != nil {
					j.Enough = func() bool {
						asked = append(asked, time.Since(begin))
						return tt.enough()
					}
				}
				ctx, stop := j.limit(t.Context(), func() bool { return tt.found })
				select {
				case <-ctx.Done():
					if cause := context.Cause(ctx); !errors.Is(cause, context.DeadlineExceeded) {
						t.Errorf("got the cause %v, want %v", cause, context.DeadlineExceeded)
					}
				case <-time.After(never):
				}
				if ended := time.Since(begin); ended != tt.ends {
					t.Errorf("got the end after %v, want it after %v", ended, tt.ends)
				}
				stop() // as Fetch does then
				time.Sleep(never)
				synctest.Wait()
				if tt.asked == 0 && len(asked) > 0 || tt.asked > 0 && (len(asked) != 1 || asked[0] != tt.asked) {
					t.Errorf("got it asked after %v, want once after %v", asked, tt.asked)
				}
			})
		})
	}
}

// A job that has ended asks nothing any more, and its end is no deadline's.
func TestLimitStopped(t *testing.T) {
	for name, byParent := range map[string]bool{"done": false, "SIGTERM": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				parent, cancel := context.WithCancel(t.Context())
				defer cancel()
				asked := false
				ctx, stop := Job{Deadline: 2 * time.Minute, Enough: func() bool { asked = true; return true }}.limit(parent, func() bool { return false })
				time.Sleep(enoughAfter - 1)
				if ctx.Err() != nil {
					t.Errorf("got an end before %v, want none", enoughAfter)
				}
				if byParent {
					cancel()
					synctest.Wait()
				}
				stop()
				stop() // twice is fine
				time.Sleep(time.Hour)
				synctest.Wait()
				if cause := context.Cause(ctx); asked || !errors.Is(cause, context.Canceled) || errors.Is(cause, context.DeadlineExceeded) {
					t.Errorf("got the cause %v, asked: %t, want %v and false", cause, asked, context.Canceled)
				}
			})
		})
	}
}

// A device that NetworkManager has only just seen is unmanaged for a moment.
func TestJobEndsOnceCheckHasAnErrorForLongerThanAMoment(t *testing.T) {
	other, nobody := &otherService{"x"}, errors.New("nobody")
	for _, tt := range []struct {
		name   string
		checks []error // what Check says of the views, one second apart
		ends   time.Duration
		want   error
	}{
		{"another service's", []error{other}, checkOther, other},
		{"another service's, then managed", []error{other}, 0, nil},
		{"nobody's", []error{nobody}, checkAgain, nobody},
		{"nobody's, in several views", []error{nobody, nobody}, checkAgain, nobody},
		{"managed after a moment", []error{nobody, nil}, 0, nil},
		{"for a moment twice", []error{nobody, nil, nobody}, 2*time.Second + checkAgain, nobody},
		{"another service's after a moment", []error{nobody, other}, time.Second + checkOther, other},
		{"another service's, then nobody's", []error{other}, checkAgain, nobody},
		{"managed", []error{nil}, 0, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began, ended := time.Now(), time.Duration(0)
				var now error
				n := &Networks{job: Job{Check: func(lease.View) error { return now }}, refuse: func(error) { ended = time.Since(began) }}
				for _, now = range tt.checks {
					n.check(lease.View{})
					switch tt.name { // the next view comes soon
					case "another service's, then managed":
						time.Sleep(checkOther / 2)
						now = nil
						n.check(lease.View{})
					case "another service's, then nobody's":
						time.Sleep(checkOther / 2)
						now = nobody
						n.check(lease.View{})
					}
					time.Sleep(time.Second)
				}
				time.Sleep(time.Minute)
				synctest.Wait()
				if got := n.refusal(); !errors.Is(got, tt.want) || ended != tt.ends {
					t.Errorf("got the end %v after %v, want %v after %v", got, ended, tt.want, tt.ends)
				}
			})
		})
	}
}
