package cloudstack

import (
	"context"
	"errors"
	"net/netip"
	"regexp"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nm-cloud-seed/nm-cloud-seed/datasource/cloudstack/vrtest"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/lease"
)

// waiting is a VM whose password waits, none one whose does not.
func waiting() *vrtest.VM {
	vm := example()
	vm.Password = secret
	return vm
}

func none() *vrtest.VM { return example() }

// password fetches the password with so much time, and hears the error.
func (l *lab) password(from lease.Lease, time time.Duration) (Password, error) {
	ctx, cancel := context.WithTimeout(l.Context(), time)
	defer cancel()
	c := l.client(from)
	defer c.close()
	p, err := c.fetchPassword(ctx, from)
	return p, l.note(nil, err)
}

// loginPage is what a router's login page looks like.
var loginPage = vrtest.Fault{Body: []byte("<html><title>" + secret + "</title>"), ContentType: "text/html"}

func TestFetchPassword(t *testing.T) {
	t.Parallel()
	const foreign = "HTTP/1.1 200 OK\r\nServer: nginx\r\nContent-Length: 18\r\n\r\n" + secret
	router := func(vm *vrtest.VM) func(*lab) *vrtest.VR {
		return func(l *lab) *vrtest.VR { return l.passwords(1, vm) }
	}
	for _, test := range []struct {
		name   string
		first  func(l *lab) // at the address of the DHCP server, number 0
		second func(l *lab) *vrtest.VR
		from   int // whose password it is; -1: none is waiting
		asked  bool
		after  time.Duration // the router is asked
	}{
		{"VR", func(l *lab) { l.passwords(0, waiting()) }, router(none()), 0, false, 0},
		{"VR without a password", func(l *lab) { l.passwords(0, none()) }, router(waiting()), -1, false, 0},
		{"redundant VR", func(l *lab) { _ = l.listeners[0].Close() }, router(waiting()), 1, true, 0},
		{"redundant VR without a password", func(l *lab) { _ = l.listeners[0].Close() }, router(none()), -1, true, 0},
		{"foreign web server", func(l *lab) { l.passwords(0, waiting(), loginPage) }, router(waiting()), 1, true, 0},
		{"foreign web server that says a word", func(l *lab) { l.raw(0, foreign) }, router(waiting()), 1, true, 0},
		{"no HTTP", func(l *lab) { l.raw(0, secret+"\n") }, router(waiting()), 1, true, 0},
		{"bad_request", func(l *lab) { l.passwords(0, nil, vrtest.Fault{Body: []byte("bad_request")}) }, router(waiting()), 1, true, 0},
		{"empty", func(l *lab) { l.passwords(0, nil, vrtest.Fault{Empty: true}) }, router(waiting()), 1, true, 0},
		{"endless", func(l *lab) { l.passwords(0, nil, vrtest.Fault{Oversize: 1 << 40}) }, router(waiting()), 1, true, 0},
		{"endless header", func(l *lab) { l.passwords(0, waiting(), vrtest.Fault{HeaderBytes: 1 << 20}) }, router(waiting()), 1, true, 0},
		{"404", func(l *lab) { l.passwords(0, waiting(), vrtest.Fault{Status: 404}) }, router(waiting()), 1, true, 0},
		{"500", func(l *lab) { l.passwords(0, waiting(), vrtest.Fault{Status: 500}) }, router(waiting()), 1, true, 0},
		{"redirect", func(l *lab) { l.passwords(0, waiting(), vrtest.Fault{RedirectTo: "/"}) }, router(waiting()), 1, true, 0},
		{"reset", func(l *lab) { l.passwords(0, waiting(), vrtest.Fault{Reset: true}) }, router(waiting()), 1, true, 0},
		{"never whole", func(l *lab) {
			l.passwords(0, waiting(), vrtest.Fault{Times: 1, Truncate: 3}, vrtest.Fault{Truncate: 4})
		}, router(waiting()), 1, true, 0},
		{"silent", func(l *lab) { l.passwords(0, waiting(), vrtest.Fault{Hang: true}) }, router(waiting()), 1, true, silence},
		{"accepts, and no more", func(*lab) {}, router(waiting()), 1, true, silence},
		{"stalls after its first answer", func(l *lab) {
			l.passwords(0, waiting(), vrtest.Fault{Times: 1, Delay: 500 * ms}, vrtest.Fault{Hang: true})
		}, router(waiting()), 1, true, 500*ms + silence},
		{"drips", func(l *lab) { l.passwords(0, waiting(), vrtest.Fault{Drip: 300 * ms}) }, router(waiting()), 1, true, silence},
		{"slow", func(l *lab) { l.passwords(0, waiting(), vrtest.Fault{Delay: 700 * ms}) }, router(none()), 0, false, 0},
		{"slower than the router", func(l *lab) {
			l.passwords(0, waiting(), vrtest.Fault{Times: 1, Delay: silence + 200*ms}, vrtest.Fault{Delay: 600 * ms})
		}, func(l *lab) *vrtest.VR { return l.passwords(1, none(), vrtest.Fault{Delay: 400 * ms}) }, 0, true, silence},
	} {
		inFakeTime(t, test.name, func(t *testing.T) {
			l := newPipeLab(t, 2)
			test.first(l)
			second := test.second(l)
			start := time.Now()
			p, err := l.password(l.lease(0, 1), limit)
			var want Password
			if test.from >= 0 {
				want = Password{secret, l.addr(test.from)}
			}
			if diff := cmp.Diff(want, Password{p.Text, p.Server}, addresses); test.from >= 0 && (diff != "" || err != nil) {
				t.Errorf("got %v (-want +got):\n%s", err, diff)
			}
			if test.from < 0 && (p.Text != "" || !errors.Is(err, ErrNoPassword)) {
				t.Errorf("got %#v, %v, want %v", p, err, ErrNoPassword)
			}
			if asked := len(second.Requests()) > 0; asked != test.asked {
				t.Errorf("got router asked: %v, want %v", asked, test.asked)
			} else if asked {
				if after := second.Requests()[0].Time.Sub(start); after != test.after {
					t.Errorf("got router asked after %v, want %v", after, test.after)
				}
			}
		})
	}
}

// What is over after a moment costs a moment, and nothing else.
func TestFetchPasswordTriesAgain(t *testing.T) {
	t.Parallel()
	const twice = passwordPause + 2*passwordPause
	for _, test := range []struct {
		name   string
		faults []vrtest.Fault
		took   time.Duration
	}{
		{"first answer truncated", []vrtest.Fault{{Times: 1, Truncate: 5}}, passwordPause},
		{"second answer truncated", []vrtest.Fault{{Match: second(), Truncate: 5}}, passwordPause},
		{"second answer empty", []vrtest.Fault{{Match: second(), Empty: true}}, passwordPause},
		{"second answer is that none is waiting", []vrtest.Fault{{Match: second(), Body: []byte(savedPassword)}}, passwordPause},
		{"reset", []vrtest.Fault{{Times: 2, Reset: true}}, twice},
		{"503", []vrtest.Fault{{Times: 2, Status: 503}}, twice},
		{"in bytes one by one", []vrtest.Fault{{Drip: ms}}, 2 * time.Duration(len(secret)) * ms},
		{"503 for a while", []vrtest.Fault{{For: 1500 * ms, Status: 503}}, twice + 4*passwordPause},
		{"503 until the last try", []vrtest.Fault{{For: passwordPatience, Status: 503}}, passwordPatience},
	} {
		inFakeTime(t, test.name, func(t *testing.T) {
			l := newPipeLab(t, 1)
			l.passwords(0, waiting(), test.faults...)
			start := time.Now()
			if p, err := l.password(l.lease(0), limit); err != nil || p.Text != secret {
				t.Errorf("got %v, %v, want the password", p, err)
			}
			if took := time.Since(start); took != test.took {
				t.Errorf("got it after %v, want %v", took, test.took)
			}
		})
	}
}

// second matches the second request, and no other.
func second() func(vrtest.Request) bool {
	n := 0
	return func(vrtest.Request) bool { n++; return n == 2 }
}

// A VR that comes up is found, also while a better candidate is silent.
func TestFetchPasswordOfVRComingUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newPipeLab(t, 2)
		_ = l.listeners[1].Close() // number 0 accepts, and no more
		time.AfterFunc(silence+400*ms, func() {
			l.listeners[1] = l.pipes.listen(netip.AddrPortFrom(l.addr(1), l.port))
			l.passwords(1, waiting())
		})
		start := time.Now()
		p, err := l.password(l.lease(0, 1), limit)
		if err != nil || p.Text != secret || p.Server != l.addr(1) {
			t.Errorf("got %v, %v, want the password of %v", p, err, l.addr(1))
		}
		// The router is asked after silence, and again after 250 and 500 ms.
		if took, want := time.Since(start), silence+3*passwordPause; took != want {
			t.Errorf("got it after %v, want %v", took, want)
		}
	})
}

func TestFetchPasswordFails(t *testing.T) {
	t.Parallel()
	var cut []vrtest.Fault
	for i := range int64(40) {
		cut = append(cut, vrtest.Fault{Times: 1, Truncate: 1 + i%5})
	}
	for _, test := range []struct {
		name  string
		time  time.Duration
		lease func(l *lab) lease.Lease
		want  string
		took  time.Duration
	}{
		{"nobody to ask", limit, func(*lab) lease.Lease { return lease.Lease{Device: "lo"} }, "the lease names nobody to ask", 0},
		{"foreign alone", limit, func(l *lab) lease.Lease {
			l.passwords(0, waiting(), loginPage)
			l.passwords(1, waiting(), vrtest.Fault{Status: 404})
			l.raw(2, "HTTP/1.0 200 OK\r\n\r\n"+secret)
			return l.lease(0, 1, 2)
		}, "DHCP server 127.0.0.2: refused: the password server's answer is a page, not a password; " +
			"router 127.0.0.3: the answer is 404 Not Found; " +
			"router 127.0.0.4: refused: the answer is not from a CloudStack password server", 0},
		{"refused until the end", limit, func(l *lab) lease.Lease {
			l.passwords(0, waiting(), loginPage)
			from := l.lease(50, 0)
			from.DNS = []netip.Addr{l.addr(60)}
			return from
		}, "DHCP server 127.0.0.52: connection refused; router 127.0.0.2: refused: the password server's answer is a page, not a password; " +
			"data-server: cannot resolve data-server: connection refused", passwordPatience},
		{"never whole", limit, func(l *lab) lease.Lease {
			l.passwords(0, waiting(), cut...)
			return l.lease(0)
		}, "DHCP server 127.0.0.2: not ready: asked twice, the password server gave different answers", passwordPatience},
		{"no device", limit, func(l *lab) lease.Lease {
			from := l.lease(0)
			from.Device = "nm-cloud-seed0"
			return from
		}, "DHCP server 127.0.0.2: no such device", 0},
		{"silence until the end", limit, func(l *lab) lease.Lease {
			l.passwords(0, waiting(), vrtest.Fault{Hang: true})
			return l.lease(0)
		}, "DHCP server 127.0.0.2: no answer in time", probeTimeout},
		{"deadline", 300 * ms, func(l *lab) lease.Lease {
			l.passwords(0, waiting(), vrtest.Fault{Hang: true})
			return l.lease(50, 0, 1)
		}, "DHCP server 127.0.0.52: connection refused; router 127.0.0.2: no answer in time; router 127.0.0.3: not asked yet", 300 * ms},
		{"deadline while waiting", 1500 * ms, func(l *lab) lease.Lease { return l.lease(50) },
			"DHCP server 127.0.0.52: connection refused", 1500 * ms},
	} {
		inFakeTime(t, test.name, func(t *testing.T) {
			l := newPipeLab(t, 3)
			from, start := test.lease(l), time.Now()
			p, err := l.password(from, test.time)
			want := "^cannot get the password on " + from.Device + ": " + test.want + "$"
			if p.Text != "" || err == nil || !regexp.MustCompile(want).MatchString(err.Error()) {
				t.Errorf("got %v, %v\nwant an error like %s", p, err, want)
			}
			if took := time.Since(start); took != test.took {
				t.Errorf("got it after %v, want %v", took, test.took)
			}
		})
	}
}

func TestFetchPasswordIsStopped(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newPipeLab(t, 1)
		ctx, cancel := context.WithCancel(t.Context())
		l.passwords(0, waiting(), vrtest.Fault{Match: func(vrtest.Request) bool {
			time.AfterFunc(50*ms, cancel)
			return true
		}, Hang: true})
		start := time.Now()
		c := l.client(l.lease(0))
		defer c.close()
		_, err := c.fetchPassword(ctx, l.lease(0))
		if want := "cannot get the password on lo: DHCP server 127.0.0.2: no answer in time"; err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
		if took := time.Since(start); took != 50*ms {
			t.Errorf("got it after %v, want it when the context ends, after 50 ms", took)
		}
	})
}

// The password is on the default network alone, and for one address. Unlike in
// the tests above, the connections are TCP.
func TestFetchPasswordOfSeveralNICs(t *testing.T) {
	t.Parallel()
	l := newLab(t, 2)
	own := addr("127.0.0.9")
	other, vr := l.passwords(0, nil), l.passwords(1, nil)
	vr.SetVM(own, waiting())
	first, second := l.lease(0), l.lease(1)
	first.Routers = nil
	second.Index, second.Address = 2, netip.PrefixFrom(own, 8)
	from, ok := DefaultNetwork(known(leases(first, second)))
	if !ok {
		t.Fatal("there is no default network")
	}
	p, err := FetchPassword(t.Context(), from, l.port)
	if err != nil || p.Text != secret || p.Server != l.addr(1) {
		t.Errorf("got %v, %v, want the password of %v", p, err, l.addr(1))
	}
	if n := len(other.Requests()); n > 0 {
		t.Errorf("got %d requests to the other network, want none", n)
	}
	for _, r := range vr.Requests() {
		if r.Client != own {
			t.Errorf("got a request from %v, want %v", r.Client, own)
		}
	}
	if vr.PasswordAcknowledged(own) {
		t.Error("got the password acknowledged, want that only when it is applied")
	}
	if err := AcknowledgePassword(t.Context(), from, l.port, p.Server); err != nil || !vr.PasswordAcknowledged(own) {
		t.Errorf("got %v, acknowledged: %v, want true", err, vr.PasswordAcknowledged(own))
	}
}

func TestDefaultNetwork(t *testing.T) {
	t.Parallel()
	static := eth1
	static.Device, static.Index = "eth2", 4
	for _, test := range []struct {
		name   string
		leases []lease.Lease
		want   string
	}{
		{"none", nil, ""},
		{"default one", leases(eth1, eth0), "eth0"},
		{"no default one", leases(static, eth1), "eth1"},
	} {
		got, ok := DefaultNetwork(known(test.leases))
		if got.Device != test.want || ok != (test.want != "") {
			t.Errorf("%s: got %q, %v, want %q", test.name, got.Device, ok, test.want)
		}
	}
}

func TestDataServerIsNotAskedTwice(t *testing.T) {
	t.Parallel()
	found := []netip.Addr{addr("10.1.0.1"), addr("10.9.0.1"), addr("10.1.0.254"), addr("10.9.0.2")}
	want := []netip.Addr{addr("10.9.0.1"), addr("10.9.0.2")}
	if diff := cmp.Diff(want, unknown(found, eth0), addresses); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
