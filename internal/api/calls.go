package api

import (
	"sync"
	"time"

	"github.com/godbus/dbus/v5"
)

// calls follows what comes in and goes out on a connection, to know when nobody
// needs us.
type calls struct {
	mu     sync.Mutex
	open   map[callID]bool // calls without an answer yet, and who wants none and is not heard yet
	latest time.Time       // when the last call came
}

type callID struct {
	caller string
	serial uint32
}

func newCalls() *calls {
	return &calls{open: map[callID]bool{}, latest: time.Now()}
}

// in is called for each message in its order, before its handler runs.
func (c *calls) in(m *dbus.Message) {
	if m.Type != dbus.TypeMethodCall {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.latest = time.Now()
	if m.Flags&dbus.FlagNoReplyExpected == 0 || m.Headers[dbus.FieldMember].Value() == "Refresh" {
		c.open[idOf(m)] = true
	}
}

func idOf(call *dbus.Message) callID {
	caller, _ := call.Headers[dbus.FieldSender].Value().(string)
	return callID{caller, call.Serial()}
}

// out is called for each message just before it is sent.
func (c *calls) out(m *dbus.Message) {
	if m.Type != dbus.TypeMethodReply && m.Type != dbus.TypeError {
		return
	}
	caller, _ := m.Headers[dbus.FieldDestination].Value().(string)
	serial, _ := m.Headers[dbus.FieldReplySerial].Value().(uint32)
	c.end(callID{caller, serial})
}

// end is called for a Refresh that wants no answer, when it has been heard. One that
// is refused gets an answer all the same.
func (c *calls) end(call callID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.open, call)
}

// quiet is for how long no call has come, if all have an answer.
func (c *calls) quiet() (time.Duration, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Since(c.latest), len(c.open) == 0
}
