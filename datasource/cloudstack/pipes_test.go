package cloudstack

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"golang.org/x/sys/unix"

	"github.com/nm-cloud-seed/nm-cloud-seed/internal/lease"
)

// pipes is a network without sockets, for tests with fake time: a goroutine
// that waits for the kernel would make a synctest bubble wait for real. Its
// only device is lo.
type pipes struct {
	mu        sync.Mutex
	listeners map[netip.AddrPort]*pipeListener
	open      int // connections that the client has not closed
}

// newPipeLab returns a newLab in a synctest bubble: no time passes but what the test,
// the client and the VR wait for.
func newPipeLab(t *testing.T, addresses int) *lab {
	t.Helper()
	l := &lab{T: t, port: 8000, pipes: &pipes{listeners: map[netip.AddrPort]*pipeListener{}}}
	for i := range addresses {
		l.listeners = append(l.listeners, l.pipes.listen(netip.AddrPortFrom(l.addr(i), l.port)))
	}
	l.checkSecrets()
	return l
}

// inFakeTime runs a subtest in a synctest bubble, at the same time as others.
func inFakeTime(t *testing.T, name string, test func(*testing.T)) {
	t.Run(name, func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, test)
	})
}

// client makes a client of the lab's network.
func (l *lab) client(from lease.Lease) *client {
	c := newClient(from, l.port)
	if l.pipes != nil {
		c.http.Transport.(*http.Transport).DialContext = l.pipes.dialer(from)
		c.lookup = func(context.Context, lease.Lease, netip.Addr) ([]netip.Addr, error) {
			return nil, &net.DNSError{Err: unix.ECONNREFUSED.Error(), Name: "data-server."}
		}
	}
	return c
}

func (p *pipes) listen(address netip.AddrPort) *pipeListener {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := &pipeListener{pipes: p, address: address, backlog: make(chan net.Conn, 128), closed: make(chan struct{})}
	p.listeners[address] = l
	return l
}

// dialer returns a DialContext for a lease, whose errors are those of net.Dialer.
func (p *pipes) dialer(from lease.Lease) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		fail := func(err error) (net.Conn, error) { return nil, &net.OpError{Op: "dial", Net: network, Err: err} }
		to, err := netip.ParseAddrPort(address)
		switch {
		case err != nil:
			return fail(err)
		case ctx.Err() != nil:
			return fail(ctx.Err())
		case from.Device != "lo":
			return fail(unix.ENODEV)
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		l := p.listeners[to]
		if l == nil {
			return fail(unix.ECONNREFUSED)
		}
		ours, theirs := net.Pipe()
		own, reset := netip.AddrPortFrom(from.Address.Addr(), 40000), new(atomic.Bool)
		l.backlog <- &pipeConn{Conn: theirs, remote: net.TCPAddrFromAddrPort(own), reset: reset}
		p.open++
		return &pipeConn{Conn: ours, remote: net.TCPAddrFromAddrPort(to), reset: reset, closed: sync.OnceFunc(func() {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.open--
		})}, nil
	}
}

// connections counts what the clients have left open.
func (p *pipes) connections() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.open
}

// pipeListener takes connections before they are accepted, as the kernel does.
type pipeListener struct {
	pipes   *pipes
	address netip.AddrPort
	backlog chan net.Conn
	closed  chan struct{}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.backlog:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Addr() net.Addr { return net.TCPAddrFromAddrPort(l.address) }

func (l *pipeListener) Close() error {
	l.pipes.mu.Lock()
	defer l.pipes.mu.Unlock()
	if l.pipes.listeners[l.address] != l {
		return net.ErrClosed
	}
	delete(l.pipes.listeners, l.address)
	close(l.closed)
	for len(l.backlog) > 0 {
		_ = (<-l.backlog).Close()
	}
	return nil
}

// pipeConn is one end of a connection, which the other end may reset.
type pipeConn struct {
	net.Conn
	remote net.Addr
	reset  *atomic.Bool // shared by both ends
	closed func()       // nil at the server's end
}

func (c *pipeConn) RemoteAddr() net.Addr { return c.remote }

// SetLinger makes closing a reset: vrtest calls it for nothing else.
func (c *pipeConn) SetLinger(int) error {
	c.reset.Store(true)
	return nil
}

func (c *pipeConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if errors.Is(err, io.EOF) && c.reset.Load() {
		err = &net.OpError{Op: "read", Net: "tcp", Err: unix.ECONNRESET}
	}
	return n, err
}

func (c *pipeConn) Close() error {
	if c.closed != nil {
		c.closed()
	}
	return c.Conn.Close()
}
