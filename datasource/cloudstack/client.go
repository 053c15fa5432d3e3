package cloudstack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nm-cloud-seed/nm-cloud-seed/datasource"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/lease"
)

// What one answer may cost. A virtual router (VR) answers within milliseconds
// and serves at most 1 MiB of base64 (768 KiB) as user-data.
const (
	maxLeaf        = 64 << 10 // bytes of one metadata value
	maxIndex       = 64 << 10
	maxUserData    = 2 << 20
	maxConnections = 4
	dialTimeout    = 4 * time.Second
	probeTimeout   = 5 * time.Second
	leafTimeout    = 10 * time.Second
	dataTimeout    = 60 * time.Second // user-data, over the slowest of links
	stallTimeout   = 5 * time.Second  // without a byte of a body
)

// errNotFound is an answer of 404: the VR has no such key, or no data for this
// VM at all.
var errNotFound = errors.New("the answer is 404 Not Found")

// client asks virtual routers over one device, from that device's address: the
// VR knows a VM by its source address and nothing else.
type client struct {
	http   *http.Client
	dialer net.Dialer
	port   uint16
	// lookup asks one of a lease's DNS servers for data-server.
	lookup func(ctx context.Context, l lease.Lease, server netip.Addr) ([]netip.Addr, error)
}

func newClient(l lease.Lease, port uint16) *client {
	c := &client{port: port, lookup: lookup, dialer: net.Dialer{
		// A dial outlives its request, and four hung ones would block all others.
		Timeout:   dialTimeout,
		LocalAddr: &net.TCPAddr{IP: l.Address.Addr().AsSlice()},
		KeepAlive: -1,
		Control:   bindTo(l.Device),
	}}
	c.http = &http.Client{
		// A redirect could lead anywhere: it is an answer like any other, and not one that we want.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			Proxy:                  nil, // never the environment's: the VR is on the link
			DialContext:            c.dialer.DialContext,
			DisableCompression:     true, // user-data may be gzip itself
			MaxConnsPerHost:        maxConnections,
			MaxIdleConnsPerHost:    maxConnections,
			MaxResponseHeaderBytes: 16 << 10,
		},
	}
	return c
}

// bindTo binds a socket to a device, so that with several NICs a request leaves
// through the one whose VR is meant, whatever the routes say (socket(7),
// SO_BINDTODEVICE). It needs no privilege since Linux 5.7; before that, the
// source address must do.
func bindTo(device string) func(string, string, syscall.RawConn) error {
	return func(_, _ string, raw syscall.RawConn) error {
		var bound error
		err := raw.Control(func(fd uintptr) { bound = unix.BindToDevice(int(fd), device) })
		if errors.Is(bound, unix.EPERM) {
			bound = nil
		}
		return errors.Join(err, bound)
	}
}

func (c *client) close() { c.http.CloseIdleConnections() }

// get fetches one path and refuses an answer of more than limit bytes. Errors
// name neither the body nor any part of it.
func (c *client) get(ctx context.Context, server netip.Addr, path string, limit int64, timeout time.Duration) ([]byte, error) {
	body, _, err := c.ask(ctx, server, path, nil, limit, timeout)
	return body, err
}

// ask is get with further fields, and with the answer's header. With fields, if
// only an empty set of them, it is for a password server, whose answer has no
// length and ends with its connection.
func (c *client) ask(ctx context.Context, server netip.Addr, path string, fields http.Header, limit int64, timeout time.Duration) ([]byte, http.Header, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	host := server.String()
	if c.port != 80 {
		host = net.JoinHostPort(host, strconv.Itoa(int(c.port)))
	}
	u := url.URL{Scheme: "http", Host: host, Path: path}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, nil, err
	}
	req.Header.Set("User-Agent", "nm-cloud-seed")
	maps.Copy(req.Header, fields)
	req.Close = fields != nil
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, nil, plain(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		// A short body read to its end leaves the connection usable.
		_, _ = io.CopyN(io.Discard, resp.Body, 4<<10)
		if resp.StatusCode == http.StatusNotFound {
			return nil, nil, errNotFound
		}
		if resp.StatusCode >= 500 {
			return nil, nil, fmt.Errorf("%w: the answer is HTTP status %d", datasource.ErrNotReady, resp.StatusCode)
		}
		return nil, nil, statusError(resp.StatusCode)
	}
	if fields == nil && resp.ContentLength < 0 && !slices.Contains(resp.TransferEncoding, "chunked") {
		return nil, nil, errors.New("the answer has no length, so it cannot be told whether it is whole")
	}
	if resp.ContentLength > limit {
		return nil, nil, fmt.Errorf("%w: the answer of %d bytes is over the limit of %d", datasource.ErrRefused, resp.ContentLength, limit)
	}
	stall := time.AfterFunc(stallTimeout, func() { fail(errStalled) })
	defer stall.Stop()
	body, err := io.ReadAll(io.LimitReader(progress{resp.Body, stall}, limit+1))
	if cause := context.Cause(ctx); err != nil && errors.Is(cause, errStalled) {
		return nil, nil, cause
	}
	if err != nil {
		return nil, nil, fmt.Errorf("cannot read the whole answer: %w", plain(err))
	}
	if int64(len(body)) > limit {
		return nil, nil, fmt.Errorf("%w: the answer is over the limit of %d bytes", datasource.ErrRefused, limit)
	}
	return body, resp.Header, nil
}

// statusError is an HTTP status that asking again will not change.
type statusError int

func (e statusError) Error() string { return fmt.Sprintf("the answer is HTTP status %d", int(e)) }

func (e statusError) Is(target error) bool { return target == datasource.ErrRefused }

// errStalled is that no byte of an answer has come for stallTimeout.
var errStalled = errors.New("the answer has stalled")

// progress puts a timer off with each byte read.
type progress struct {
	io.Reader
	timer *time.Timer
}

func (p progress) Read(b []byte) (int, error) {
	n, err := p.Reader.Read(b)
	if n > 0 {
		p.timer.Reset(stallTimeout)
	}
	return n, err
}

// plain reduces an error of net and net/http, which repeats URL, addresses and
// call at each level, to what went wrong.
func plain(err error) error {
	var no syscall.Errno
	switch {
	case errors.As(err, &no):
		return no
	case errors.Is(err, context.DeadlineExceeded):
		return errSilent
	}
	for _, known := range []error{context.Canceled, io.EOF, io.ErrUnexpectedEOF} {
		if errors.Is(err, known) {
			return known
		}
	}
	// What remains is net/http's opinion of the answer, which quotes it.
	return errors.New("the answer is not valid HTTP")
}

// resolve asks the lease's own DNS servers, all at once, for data-server, the
// name under which a VR announces itself, and takes the answer of the first one
// in the lease's order that has one. The final dot keeps the name from being
// looked up in search domains, that is, at somebody else's. A line for
// data-server in /etc/hosts wins, as it does for everybody on the machine.
func (c *client) resolve(ctx context.Context, l lease.Lease) ([]netip.Addr, error) {
	ctx, cancel := context.WithTimeout(ctx, silence)
	defer cancel()
	type answer struct {
		addrs []netip.Addr
		err   error
	}
	answers := make([]chan answer, len(l.DNS))
	for i, server := range l.DNS {
		answers[i] = make(chan answer, 1)
		go func() {
			addrs, err := c.lookup(ctx, l, server)
			answers[i] <- answer{addrs, err}
		}()
	}
	err := errors.New("there is no DNS server")
	for _, each := range answers {
		a := <-each
		if a.err == nil {
			return usable(a.addrs, l.Address), nil
		}
		err = a.err
	}
	var no *net.DNSError
	if errors.As(err, &no) {
		err = errors.New(no.Err)
	}
	return nil, fmt.Errorf("cannot resolve data-server: %w", err)
}

// lookup asks a DNS server for data-server, from the lease's device and address.
func lookup(ctx context.Context, l lease.Lease, server netip.Addr) ([]netip.Addr, error) {
	r := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		d := net.Dialer{Control: bindTo(l.Device)}
		if strings.HasPrefix(network, "udp") {
			d.LocalAddr = &net.UDPAddr{IP: l.Address.Addr().AsSlice()}
		} else {
			d.LocalAddr = &net.TCPAddr{IP: l.Address.Addr().AsSlice()}
		}
		return d.DialContext(ctx, network, netip.AddrPortFrom(server, 53).String())
	}}
	return r.LookupNetIP(ctx, "ip4", "data-server.")
}

// usable bounds what a DNS server says and puts addresses of our own subnet
// first: on shared networks with several subnets, data-server may name each
// subnet's VR, and only ours has our data.
func usable(addrs []netip.Addr, own netip.Prefix) []netip.Addr {
	var list []netip.Addr
	for _, a := range addrs {
		a = a.Unmap()
		if a.Is4() && !a.IsUnspecified() && !a.IsMulticast() && !slices.Contains(list, a) {
			list = append(list, a)
		}
	}
	slices.SortFunc(list, func(a, b netip.Addr) int {
		if in, out := own.Contains(a), own.Contains(b); in != out {
			if in {
				return -1
			}
			return 1
		}
		return a.Compare(b)
	})
	return list[:min(len(list), 4)]
}
