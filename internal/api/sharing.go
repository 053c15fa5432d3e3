package api

import (
	"context"
	"errors"
	"sync"
	"time"
)

// calm is how long after a fetch its answer is good enough for others.
const calm = 2 * time.Second

// sharing has calls share one fetch: those that come while it goes on, and in the
// calm after it. So a storm of calls ends in one, and a storm that does not end in
// one each two seconds.
type sharing struct {
	life  context.Context // of the server
	fetch func(context.Context) ([]string, error)
	calm  time.Duration // see calm

	mu    sync.Mutex
	last  *fetched // that goes on, or has ended
	again bool     // one more comes after the calm
}

type fetched struct {
	done    chan struct{} // closed at the end
	end     time.Time
	changed []string
	err     error
}

// answer waits for the fetch that a call shares, or starts one.
func (s *sharing) answer() ([]string, error) {
	s.mu.Lock()
	f := s.last
	if f == nil || f.ended() && time.Since(f.end) >= s.calm {
		f = s.start()
	}
	s.mu.Unlock()
	<-f.done
	return f.changed, f.err
}

// tell does not wait for an answer: somebody has seen a reason for a fetch, of which
// one that has begun may not know.
func (s *sharing) tell() {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch f := s.last; {
	case f == nil || f.ended() && time.Since(f.end) >= s.calm:
		s.start()
	case !s.again:
		s.again = true
		go s.startAfter(f)
	}
}

// startAfter starts a fetch after the calm that follows another one.
func (s *sharing) startAfter(f *fetched) {
	<-f.done
	select {
	case <-s.life.Done():
	case <-time.After(time.Until(f.end.Add(s.calm))):
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.again = false; s.last.ended() {
		s.start()
	}
}

// busy says whether a fetch goes on or is to come. None comes after the server's end.
func (s *sharing) busy() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.again && s.life.Err() == nil || s.last != nil && !s.last.ended()
}

func (s *sharing) start() *fetched {
	f := &fetched{done: make(chan struct{})}
	s.last = f
	go func() {
		changed, err := s.fetch(s.life)
		s.mu.Lock()
		defer s.mu.Unlock()
		f.changed, f.err, f.end = changed, err, time.Now()
		if refused := new(Error); errors.As(err, &refused) { // nobody was asked
			f.end = f.end.Add(-s.calm)
		}
		close(f.done)
	}()
	return f
}

// ended is asked with the lock held.
func (f *fetched) ended() bool { return !f.end.IsZero() }
