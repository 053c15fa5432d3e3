package vrtest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

// serve accepts connections until ctx ends, and then waits for all of them.
func (v *VR) serve(ctx context.Context, l net.Listener, s service) error {
	var conns sync.WaitGroup
	defer conns.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer closeQuietly(l)
	defer context.AfterFunc(ctx, func() { closeQuietly(l) })()

	for {
		c, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("cannot accept a connection: %w", err)
		}
		number := v.logConn(s.port())
		conns.Go(func() {
			defer closeQuietly(c)
			defer context.AfterFunc(ctx, func() { closeQuietly(c) })()
			conversation{v, s, c, bufio.NewReader(c), number}.run(ctx)
		})
	}
}

// conversation is one connection.
type conversation struct {
	vr      *VR
	service service
	conn    net.Conn
	in      *bufio.Reader
	number  int
}

// run answers requests until either side wants to close the connection. It
// has nobody to report an error to: a client that leaves is none. Deadlines
// cannot fail in another way than the reading that follows.
func (c conversation) run(ctx context.Context) {
	further, idle := c.service.keepAlive()
	for left := further; ; left-- {
		if idle > 0 {
			_ = c.conn.SetReadDeadline(time.Now().Add(idle))
		}
		r, err := http.ReadRequest(c.in)
		if errors.Is(err, io.EOF) || errors.As(err, new(*net.OpError)) {
			return
		}
		if err != nil {
			bad := c.service.page(http.StatusBadRequest)
			_, _ = io.WriteString(c.conn, c.service.head(bad, nil, session{close: true}))
			_, _ = io.Copy(c.conn, bad.body)
			return
		}
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			return
		}
		_ = c.conn.SetReadDeadline(time.Time{})
		state := session{left: left, close: r.Close || left == 0}
		if !c.exchange(ctx, r, state) || state.close {
			return
		}
	}
}

// exchange answers one request, and reports whether another may follow.
func (c conversation) exchange(ctx context.Context, r *http.Request, state session) bool {
	request := Request{
		Time:        time.Now(),
		Port:        c.service.port(),
		Client:      clientAddr(c.conn),
		Method:      r.Method,
		Path:        r.RequestURI,
		DomURequest: r.Header.Get("DomU_Request"),
		Conn:        c.number,
	}
	fault := c.vr.fault(request)
	a := fault.apply(c.service.answer(request.Client, r), c.service)
	if !fault.Reset && !fault.Hang {
		request.Status = a.status
	}
	c.vr.logRequest(request)

	if fault.Delay > 0 && !sleep(ctx, fault.Delay) {
		return false
	}
	if fault.Hang {
		_, _ = io.Copy(io.Discard, c.in)
		return false
	}
	if fault.Reset {
		// Closing with unsent data thrown away sends a reset; connections
		// other than TCP have no such thing, and are just closed.
		if tcp, ok := c.conn.(interface{ SetLinger(sec int) error }); ok {
			_ = tcp.SetLinger(0)
		}
		return false
	}
	// With no Content-Length, or one that is not kept to, only the end of the
	// connection ends the body.
	state.close = state.close || a.size < 0
	if _, err := io.WriteString(c.conn, c.service.head(a, r, state)); err != nil {
		return false
	}
	if r.Method != http.MethodHead && a.body != nil {
		if err := c.sendBody(ctx, a.body, fault); err != nil {
			return false
		}
	}
	return !state.close && fault.Truncate == 0
}

func (c conversation) sendBody(ctx context.Context, body io.Reader, fault Fault) error {
	if fault.Truncate > 0 {
		body = io.LimitReader(body, fault.Truncate)
	}
	if fault.Drip <= 0 {
		_, err := io.Copy(c.conn, body)
		return err
	}
	// Each byte goes in a segment of its own: Go sets TCP_NODELAY.
	for one := make([]byte, 1); ; {
		if _, err := io.ReadFull(body, one); err != nil {
			return nil
		}
		if !sleep(ctx, fault.Drip) {
			return ctx.Err()
		}
		if _, err := c.conn.Write(one); err != nil {
			return err
		}
	}
}

// clientAddr returns the source address of a connection; net writes that of an
// IPv4 client on an IPv6 socket as IPv4.
func clientAddr(c net.Conn) netip.Addr {
	addrPort, err := netip.ParseAddrPort(c.RemoteAddr().String())
	if err != nil {
		return netip.Addr{}
	}
	return addrPort.Addr()
}

// closeQuietly closes what may be closed already.
func closeQuietly(c io.Closer) { _ = c.Close() }

// sleep reports whether d passed before ctx ended.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
