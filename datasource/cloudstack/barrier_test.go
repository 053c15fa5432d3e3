package cloudstack

import (
	"sync"
	"testing"
)

// barrier lets requests pass only together.
type barrier struct {
	t       *testing.T
	mu      sync.Mutex
	waiting int
	passed  int
	open    chan struct{}
}

func newBarrier(t *testing.T) *barrier { return &barrier{t: t, open: make(chan struct{})} }

// wait waits until so many wait.
func (b *barrier) wait(together int) {
	b.mu.Lock()
	open := b.open
	if b.waiting++; b.waiting == together {
		close(b.open)
		b.open, b.waiting = make(chan struct{}), 0
		b.passed++
	}
	b.mu.Unlock()
	select {
	case <-open:
	case <-b.t.Context().Done():
	}
}

// rounds is how often the barrier opened.
func (b *barrier) rounds() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.passed
}
