package lab

import (
	"bytes"
	"net"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// request is a packet of the client with these options.
func request(mac net.HardwareAddr, options ...byte) []byte {
	p := make([]byte, optionsAt)
	p[0], p[1], p[2] = 1, 1, 6
	copy(p[4:], "xid!")
	copy(p[28:], mac)
	copy(p[236:], magicCookie)
	return append(append(p, options...), optionClose)
}

func TestSlowServerAnswer(t *testing.T) {
	t.Parallel()
	n, err := NIC{NoRouter: true}.fill(0)
	if err != nil {
		t.Fatal(err)
	}
	mac := net.HardwareAddr{2, 0, 0, 0, 1, 0}
	s := &slowServer{nic: n, mac: mac}
	for name, c := range map[string]struct {
		request []byte
		want    byte // message type, 0 for no answer
	}{
		"DISCOVER":        {request(mac, 53, 1, dhcpDiscover), dhcpOffer},
		"unknown client":  {request(net.HardwareAddr{2, 0, 0, 0, 1, 9}, 53, 1, dhcpDiscover), 0},
		"REQUEST":         {request(mac, 53, 1, dhcpRequest, 54, 4, 10, 1, 1, 1, 50, 4, 10, 1, 1, 100), dhcpAck},
		"another server":  {request(mac, 53, 1, dhcpRequest, 54, 4, 10, 1, 1, 2, 50, 4, 10, 1, 1, 100), 0},
		"INIT-REBOOT":     {request(mac, 53, 1, dhcpRequest, 50, 4, 10, 1, 1, 100), dhcpAck},
		"another address": {request(mac, 53, 1, dhcpRequest, 50, 4, 10, 1, 1, 7), dhcpNak},
		"RELEASE":         {request(mac, 53, 1, 7), 0},
		"no type":         {request(mac), 0},
		"cut short":       {request(mac, 53, 1, dhcpDiscover)[:200], 0},
	} {
		got := s.answer(c.request)
		if messageType(got) != c.want {
			t.Errorf("%s: the answer has type %d, want %d", name, messageType(got), c.want)
			continue
		}
		if c.want == 0 {
			if got != nil {
				t.Errorf("%s: got the answer %v, want none", name, got)
			}
			continue
		}
		if string(got[4:8]) != "xid!" || !bytes.Equal(got[28:34], mac) {
			t.Errorf("%s: got the answer %v, want the request's transaction and hardware address", name, got)
		}
		if _, ok := dhcpOptions(got)[optionRouter]; ok {
			t.Errorf("%s: got a router option, want none", name)
		}
		if addr := got[16:20]; c.want != dhcpNak && !slices.Equal(addr, []byte{10, 1, 1, 100}) {
			t.Errorf("%s: got the address %v, want 10.1.1.100", name, addr)
		}
	}
}

func TestDHCPOptions(t *testing.T) {
	t.Parallel()
	for _, broken := range [][]byte{nil, {53}, {53, 1}, {53, 2, 1}, {0, 0, 53}} {
		if got := messageType(append(make([]byte, optionsAt), broken...)); got != 0 {
			t.Errorf("%v: got message type %d, want 0", broken, got)
		}
	}
	if got := messageType(append(make([]byte, optionsAt), 0, 61, 2, 53, 1, 53, 1, 1)); got != dhcpDiscover {
		t.Errorf("got message type %d behind padding and another option, want %d", got, dhcpDiscover)
	}
}

// packetConn is a connection whose other end is the test.
type packetConn struct {
	net.PacketConn
	in, out chan []byte
}

func (c packetConn) ReadFrom(p []byte) (int, net.Addr, error) {
	request, ok := <-c.in
	if !ok {
		return 0, nil, net.ErrClosed
	}
	return copy(p, request), nil, nil
}

func (c packetConn) WriteTo(p []byte, _ net.Addr) (int, error) {
	c.out <- bytes.Clone(p)
	return len(p), nil
}

func (c packetConn) Close() error { close(c.in); return nil }

// Each DISCOVER has an OFFER of its own: a client that asked before and did not
// wait for the OFFER waits no longer.
func TestSlowServerDelaysEachOfferByItself(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n, err := NIC{OfferDelay: 700 * time.Millisecond}.fill(0)
		if err != nil {
			t.Fatal(err)
		}
		mac := net.HardwareAddr{2, 0, 0, 0, 1, 0}
		conn := packetConn{in: make(chan []byte), out: make(chan []byte)}
		s := &slowServer{nic: n, mac: mac, conn: conn, log: func(string) {}}
		go s.serve()
		start := time.Now()
		go func() {
			for range 3 {
				conn.in <- request(mac, 53, 1, dhcpDiscover)
				time.Sleep(500 * time.Millisecond)
			}
		}()
		for i, want := range []time.Duration{700 * time.Millisecond, 1200 * time.Millisecond, 1700 * time.Millisecond} {
			kind := messageType(<-conn.out)
			if got := time.Since(start); kind != dhcpOffer || got != want {
				t.Errorf("answer %d: got message type %d after %v, want %d after %v", i, kind, got, dhcpOffer, want)
			}
		}
		before := time.Now()
		conn.in <- request(mac, 53, 1, dhcpRequest, 50, 4, 10, 1, 1, 100)
		kind := messageType(<-conn.out)
		if got := time.Since(before); kind != dhcpAck || got != 0 {
			t.Errorf("got message type %d after %v, want %d at once", kind, got, dhcpAck)
		}
		s.close()
	})
}
