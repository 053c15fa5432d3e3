package cloudstack

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/sys/unix"

	"github.com/nm-cloud-seed/nm-cloud-seed/datasource"
	"github.com/nm-cloud-seed/nm-cloud-seed/datasource/cloudstack/vrtest"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/lease"
)

const keyPath = indexPath + "public-keys"

// get asks the address number i.
func (l *lab) get(i int, path string, max int64, timeout time.Duration) ([]byte, error) {
	c := l.client(l.lease(0))
	defer c.close()
	body, err := c.get(l.Context(), l.addr(i), path, max, timeout)
	return body, l.note(nil, err)
}

func TestGetReturnsWholeAnswersOnly(t *testing.T) {
	t.Parallel()
	value := strings.Repeat(secret, 10)
	for _, test := range []struct {
		name    string
		fault   vrtest.Fault
		max     int64
		timeout time.Duration
		want    string // an error, or none
		is      error
	}{
		{name: "whole"},
		{name: "at the limit", max: int64(len(value))},
		{name: "over the limit", max: int64(len(value)) - 1, want: "refused: the answer of 180 bytes is over the limit of 179", is: datasource.ErrRefused},
		{name: "in bytes one by one", fault: vrtest.Fault{Drip: time.Millisecond}},
		{name: "too slow", fault: vrtest.Fault{Drip: 50 * time.Millisecond}, timeout: 200 * time.Millisecond, want: "cannot read the whole answer: no answer in time", is: errSilent},
		{name: "silent", fault: vrtest.Fault{Hang: true}, timeout: 100 * time.Millisecond, want: "no answer in time", is: errSilent},
		{name: "late", fault: vrtest.Fault{Delay: time.Second}, timeout: 100 * time.Millisecond, want: "no answer in time", is: errSilent},
		{name: "404", fault: vrtest.Fault{Status: 404}, want: "the answer is 404 Not Found", is: errNotFound},
		{name: "401", fault: vrtest.Fault{Status: 401}, want: "the answer is HTTP status 401"},
		{name: "500", fault: vrtest.Fault{Status: 500}, want: "not ready: the answer is HTTP status 500", is: datasource.ErrNotReady},
		{name: "503", fault: vrtest.Fault{Status: 503}, want: "not ready: the answer is HTTP status 503", is: datasource.ErrNotReady},
		{name: "reset", fault: vrtest.Fault{Reset: true}, want: "connection reset by peer", is: unix.ECONNRESET},
		{name: "truncated", fault: vrtest.Fault{Truncate: 10}, want: "cannot read the whole answer: unexpected EOF"},
		{name: "no length", fault: vrtest.Fault{NoLength: true}, want: "the answer has no length, so it cannot be told whether it is whole"},
		{name: "header too long", fault: vrtest.Fault{HeaderBytes: 1 << 20}, want: "the answer is not valid HTTP"},
		{name: "header of some length", fault: vrtest.Fault{HeaderBytes: 8 << 10}},
	} {
		if test.max == 0 {
			test.max = maxLeaf
		}
		if test.timeout == 0 {
			test.timeout = limit
		}
		check := func(t *testing.T, l *lab) {
			vm := example()
			vm.Set("public-keys", value)
			l.vr(0, vm, test.fault)
			body, err := l.get(0, keyPath, test.max, test.timeout)
			if test.want == "" {
				if err != nil || string(body) != value {
					t.Errorf("got %d bytes, %v, want %d bytes", len(body), err, len(value))
				}
				return
			}
			if body != nil || err == nil || err.Error() != test.want {
				t.Errorf("got %d bytes, %v, want %s", len(body), err, test.want)
			}
			if test.is != nil && !errors.Is(err, test.is) {
				t.Errorf("got %v, want %v", err, test.is)
			}
		}
		inFakeTime(t, test.name, func(t *testing.T) { check(t, newPipeLab(t, 1)) })
		if test.timeout == limit { // the pipes answer like TCP
			t.Run(test.name+", over TCP", func(t *testing.T) {
				t.Parallel()
				check(t, newLab(t, 1))
			})
		}
	}
}

// What no Apache would say, and what net/http quotes in its errors.
func TestGetRefusesWhatIsNotHTTP(t *testing.T) {
	t.Parallel()
	const ok = "HTTP/1.1 200 OK\r\n"
	big := strings.Repeat("x", 200)
	for _, test := range []struct {
		name, response string
		body, want     string // one of them
	}{
		{"chunked", ok + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "hello", ""},
		{"chunked, over the limit", ok + "Transfer-Encoding: chunked\r\n\r\nc8\r\n" + big + "\r\n0\r\n\r\n", "", "refused: the answer is over the limit of 100 bytes"},
		{"chunked, truncated", ok + "Transfer-Encoding: chunked\r\n\r\n5\r\nhe", "", "cannot read the whole answer: unexpected EOF"},
		{"chunked, garbage", ok + "Transfer-Encoding: chunked\r\n\r\n" + secret + "\r\n", "", "cannot read the whole answer: the answer is not valid HTTP"},
		{"chunked, garbage at the end", ok + "Transfer-Encoding: chunked\r\n\r\n0\r\n" + secret + "\x1b[2J\r\n\r\n", "", "cannot read the whole answer: the answer is not valid HTTP"},
		{"gzip as it is", ok + "Content-Encoding: gzip\r\nContent-Length: 3\r\n\r\n\x1f\x8b\x08", "\x1f\x8b\x08", ""},
		{"no HTTP", secret + "\r\n\r\n", "", "the answer is not valid HTTP"},
		{"no HTTP status", "HTTP/1.1 " + secret + "\r\n\r\n", "", "the answer is not valid HTTP"},
		{"no header", ok + secret + "\x1b[2J\r\n\r\n", "", "the answer is not valid HTTP"},
		{"no number", ok + "Content-Length: " + secret + "\r\n\r\n", "", "the answer is not valid HTTP"},
		{"two lengths", ok + "Content-Length: 1\r\nContent-Length: 2" + "\r\n\r\n", "", "the answer is not valid HTTP"},
		{"other encoding", ok + "Transfer-Encoding: " + secret + "\r\n\r\n", "", "the answer is not valid HTTP"},
		{"redirect without a place", "HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n", "", "the answer is HTTP status 302"},
		{"redirect to nowhere", "HTTP/1.1 302 Found\r\nLocation: http://[" + secret + "\r\nContent-Length: 0\r\n\r\n", "", "the answer is not valid HTTP"},
		{"no content", "HTTP/1.1 204 No Content\r\n\r\n", "", "the answer is HTTP status 204"},
		{"nothing", "", "", "EOF"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, 1)
			l.raw(0, test.response)
			body, err := l.get(0, keyPath, 100, limit)
			if string(body) != test.body || (err == nil) != (test.want == "") || err != nil && err.Error() != test.want {
				t.Errorf("got %q, %v, want %q, %s", body, err, test.body, test.want)
			}
		})
	}
}

func TestGetSendsPathAndHeaderOnly(t *testing.T) {
	t.Parallel()
	l := newLab(t, 1)
	requests := l.raw(0, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	if _, err := l.get(0, indexPath+"a b?c#d%2e", 1, limit); err != nil {
		t.Fatal(err)
	}
	want := "GET /latest/meta-data/a%20b%3Fc%23d%252e HTTP/1.1\r\nHost: " + netip.AddrPortFrom(l.addr(0), l.port).String() + "\r\nUser-Agent: nm-cloud-seed\r\n\r\n"
	if diff := cmp.Diff(want, <-requests); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestRedirectIsNotFollowed(t *testing.T) {
	t.Parallel()
	l := newLab(t, 2)
	elsewhere := l.vr(1, example())
	vr := l.vr(0, example(), vrtest.Fault{RedirectTo: "http://" + netip.AddrPortFrom(l.addr(1), l.port).String() + keyPath})
	for _, status := range []string{"302", "302"} {
		if _, err := l.get(0, keyPath, maxLeaf, limit); err == nil || err.Error() != "the answer is HTTP status "+status {
			t.Errorf("got %v, want HTTP status %s", err, status)
		}
	}
	if n := elsewhere.Connections(); n != 0 {
		t.Errorf("got %d connections to where it leads, want none", n)
	}
	if n := len(vr.Requests()); n != 2 {
		t.Errorf("got %d requests, want 2", n)
	}
}

// The environment's proxy can only be ruled out here: net/http never uses one
// for loopback addresses.
func TestClientHasNoProxyAndNoCookies(t *testing.T) {
	t.Parallel()
	c := newClient(lease.Lease{Device: "lo", Address: netip.MustParsePrefix("127.0.0.1/8")}, 80)
	if transport := c.http.Transport.(*http.Transport); transport.Proxy != nil {
		t.Error("there is a proxy")
	}
	if c.http.Jar != nil {
		t.Error("there are cookies")
	}
}

func TestClientAsksFromTheLeasesAddress(t *testing.T) {
	t.Parallel()
	l := newLab(t, 1)
	vr := l.vr(0, nil)
	vr.SetVM(addr("127.0.0.9"), example())
	for _, own := range []string{"127.0.0.9/8", "127.0.0.1/8"} {
		from := l.lease(0)
		from.Address = netip.MustParsePrefix(own)
		c := newClient(from, l.port)
		defer c.close()
		body, err := c.get(t.Context(), l.addr(0), indexPath+"instance-id", maxLeaf, limit)
		if own == "127.0.0.9/8" && (err != nil || string(body) != vmID) || own != "127.0.0.9/8" && !errors.Is(err, errNotFound) {
			t.Errorf("from %s: got %q, %v, want the data of that address", own, body, err)
		}
	}
	if r := vr.Requests(); len(r) != 2 || r[0].Client != addr("127.0.0.9") || r[1].Client != addr("127.0.0.1") {
		t.Errorf("got requests %v, want one from 127.0.0.9, then one from 127.0.0.1", r)
	}
}

func TestDialErrorsNameTheReasonOnly(t *testing.T) {
	t.Parallel()
	l := newLab(t, 1)
	l.vr(0, example())
	for _, test := range []struct {
		name   string
		change func(*lease.Lease)
		server int
		want   error
	}{
		{"no such device", func(l *lease.Lease) { l.Device = "nm-cloud-seed0" }, 0, unix.ENODEV},
		{"address not there yet", func(l *lease.Lease) { l.Address = netip.MustParsePrefix("192.0.2.77/24") }, 0, unix.EADDRNOTAVAIL},
		{"refused", func(*lease.Lease) {}, 50, unix.ECONNREFUSED},
	} {
		from := l.lease(0)
		test.change(&from)
		c := newClient(from, l.port)
		_, err := c.get(t.Context(), l.addr(test.server), keyPath, maxLeaf, limit)
		if !errors.Is(err, test.want) || err.Error() != test.want.Error() { // without addresses and calls
			t.Errorf("%s: got %v, want %v", test.name, err, test.want)
		}
		c.close()
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	c := newClient(l.lease(0), l.port)
	if _, err := c.get(ctx, l.addr(0), keyPath, maxLeaf, limit); !errors.Is(err, context.Canceled) || err.Error() != "context canceled" {
		t.Errorf("cancelled: got %v, want %v", err, context.Canceled)
	}
}

// A connection is used again after an answer of any status.
func TestConnectionIsReusedAfterAnyStatus(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newPipeLab(t, 1)
		vr := l.vr(0, example(), vrtest.Fault{Times: 1, Status: 404}, vrtest.Fault{Times: 1, Status: 500})
		c := l.client(l.lease(0))
		defer c.close()
		var got []byte
		for range 3 {
			body, _ := c.get(t.Context(), l.addr(0), userDataPath, maxUserData, limit)
			got = append(got, body...)
		}
		if !bytes.Equal(got, example().UserData) || vr.Connections() != 1 {
			t.Errorf("got %d bytes over %d connections, want %d over one", len(got), vr.Connections(), len(example().UserData))
		}
	})
}

func TestResolveFailsWithoutDNSServer(t *testing.T) {
	t.Parallel()
	from := lease.Lease{Device: "lo", Address: netip.MustParsePrefix("127.0.0.1/8"), DNS: []netip.Addr{addr("127.0.0.62")}}
	got, err := newClient(from, 80).resolve(t.Context(), from)
	if want := "cannot resolve data-server: "; got != nil || err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("got %v, %v, want %s...", got, err, want)
	}
}

func TestUsableAddressesOfDataServer(t *testing.T) {
	t.Parallel()
	own := netip.MustParsePrefix("10.1.0.9/24")
	for _, test := range []struct{ name, found, want string }{
		{"one", "10.1.0.1", "10.1.0.1"},
		{"own subnet first", "10.0.0.1 10.2.0.1 10.1.0.1", "10.1.0.1 10.0.0.1 10.2.0.1"},
		{"whatever the order", "10.1.0.3 10.2.0.1 10.0.0.1 10.1.0.2", "10.1.0.2 10.1.0.3 10.0.0.1 10.2.0.1"},
		{"own subnet last of many", "10.2.0.1 10.3.0.1 10.4.0.1 10.5.0.1 10.6.0.1 10.1.0.1", "10.1.0.1 10.2.0.1 10.3.0.1 10.4.0.1"},
		{"twice", "10.1.0.1 10.1.0.1 ::ffff:10.1.0.1", "10.1.0.1"},
		{"none of ours", "0.0.0.0 224.0.0.1 2001:db8::1 ::", ""},
		{"nothing", "", ""},
	} {
		var found, want []netip.Addr
		for _, s := range strings.Fields(test.found) {
			found = append(found, addr(s))
		}
		for _, s := range strings.Fields(test.want) {
			want = append(want, addr(s))
		}
		if diff := cmp.Diff(want, usable(found, own), cmpopts.EquateComparable(netip.Addr{}), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
	}
}
