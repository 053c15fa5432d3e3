package api

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/godbus/dbus/v5"
)

// counter is a fetch that takes a second, and how often there was one.
func counter(t *testing.T) (s *sharing, count func() int) {
	var mu sync.Mutex
	n := 0
	s = &sharing{life: t.Context(), calm: calm, fetch: func(ctx context.Context) ([]string, error) {
		mu.Lock()
		n++
		mu.Unlock()
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(time.Second):
			return []string{"public-keys"}, nil
		}
	}}
	return s, func() int {
		mu.Lock()
		defer mu.Unlock()
		return n
	}
}

func TestStormIsOneFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, count := counter(t)
		var all sync.WaitGroup
		for i := range 1000 {
			all.Go(func() {
				time.Sleep(time.Duration(i) * time.Millisecond)
				if changed, err := s.answer(); err != nil || len(changed) != 1 {
					t.Errorf("got %q, error %v, want one name and no error", changed, err)
				}
			})
		}
		all.Wait()
		if count() != 1 || s.busy() {
			t.Errorf("got %d fetches, busy: %t, want 1 and false", count(), s.busy())
		}
		if _, err := s.answer(); err != nil || count() != 1 { // in the calm
			t.Errorf("in the calm: got %d fetches, error %v, want 1 and none", count(), err)
		}
		time.Sleep(calm)
		if _, err := s.answer(); err != nil || count() != 2 {
			t.Errorf("after the calm: got %d fetches, error %v, want 2 and none", count(), err)
		}
	})
}

// A storm that does not end is one fetch each three seconds, here.
func TestEndlessStormFetchesEachThreeSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, count := counter(t)
		for range 3000 { // half a minute
			s.tell()
			time.Sleep(10 * time.Millisecond)
		}
		if n := count(); n < 10 || n > 11 {
			t.Errorf("got %d fetches, want 10 or 11", n)
		}
		time.Sleep(10 * time.Second)
		if s.busy() {
			t.Error("still busy")
		}
	})
}

// Who does not wait for an answer has a reason that no fetch before knew of.
func TestTellAfterFetchFetchesOnceMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, count := counter(t)
		if _, err := s.answer(); err != nil {
			t.Fatal(err)
		}
		for range 100 {
			s.tell()
		}
		if count() != 1 || !s.busy() {
			t.Errorf("at once: got %d fetches, busy: %t, want 1 and true", count(), s.busy())
		}
		time.Sleep(calm + time.Millisecond)
		synctest.Wait()
		if count() != 2 || !s.busy() {
			t.Errorf("after the calm: got %d fetches, busy: %t, want 2 and true", count(), s.busy())
		}
		time.Sleep(calm + time.Second)
		if count() != 2 || s.busy() {
			t.Errorf("in the end: got %d fetches, busy: %t, want 2 and false", count(), s.busy())
		}
	})
}

// A fetch that goes on may not know of the reason, either.
func TestTellDuringFetchFetchesOnceMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, count := counter(t)
		s.tell()
		synctest.Wait()
		for range 100 {
			s.tell()
		}
		time.Sleep(time.Second + calm - time.Millisecond)
		if count() != 1 || !s.busy() {
			t.Errorf("before the calm is over: got %d fetches, busy: %t, want 1 and true", count(), s.busy())
		}
		time.Sleep(2 * time.Second)
		if count() != 2 || s.busy() {
			t.Errorf("in the end: got %d fetches, busy: %t, want 2 and false", count(), s.busy())
		}
	})
}

// A refusal is nobody else's: what was refused may be possible a moment later.
func TestRefusalIsNotShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, count := counter(t)
		fetch := s.fetch
		s.fetch = func(context.Context) ([]string, error) { return nil, &Error{"Busy", errors.New("busy")} }
		if _, err := s.answer(); err == nil {
			t.Error("got no error, want the refusal")
		}
		s.fetch = fetch
		if _, err := s.answer(); err != nil || count() != 1 {
			t.Errorf("got %d fetches, error %v, want 1 and none", count(), err)
		}
	})
}

// A failure is an answer, too, and the end of the server is one.
func TestFailureIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		life, stop := context.WithCancel(t.Context())
		s, _ := counter(t)
		s.life = life
		var all sync.WaitGroup
		for range 10 {
			all.Go(func() {
				if _, err := s.answer(); !errors.Is(err, context.Canceled) {
					t.Errorf("got the error %v, want %v", err, context.Canceled)
				}
			})
		}
		synctest.Wait()
		stop()
		all.Wait()
	})
}

// A Refresh that wants no answer is heard all the same before the server ends.
func TestCallsWithoutAnswerAreOpen(t *testing.T) {
	call := func(member string, flags dbus.Flags) *dbus.Message {
		return &dbus.Message{Type: dbus.TypeMethodCall, Flags: flags, Headers: map[dbus.HeaderField]dbus.Variant{
			dbus.FieldMember: dbus.MakeVariant(member), dbus.FieldSender: dbus.MakeVariant(":1.1"),
		}}
	}
	for name, test := range map[string]struct {
		call *dbus.Message
		open bool
	}{
		"with an answer": {call("Get", 0), true},
		"without":        {call("Get", dbus.FlagNoReplyExpected), false},
		"refresh":        {call("Refresh", dbus.FlagNoReplyExpected), true},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCalls()
			c.in(test.call)
			if _, answered := c.quiet(); answered == test.open {
				t.Errorf("got all heard: %t, want %t", answered, !test.open)
			}
			c.end(idOf(test.call))
			if _, answered := c.quiet(); !answered {
				t.Error("got an open call after its end, want none")
			}
		})
	}
}
