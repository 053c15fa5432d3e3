package cloudstack

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"regexp"
	"testing"
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
	p, err := FetchPassword(ctx, from, l.port)
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
		after  time.Duration
		within time.Duration
	}{
		{"VR", func(l *lab) { l.passwords(0, waiting()) }, router(none()), 0, false, 0, silence},
		{"VR without a password", func(l *lab) { l.passwords(0, none()) }, router(waiting()), -1, false, 0, silence},
		{"redundant VR", func(l *lab) { _ = l.listeners[0].Close() }, router(waiting()), 1, true, 0, silence},
		{"redundant VR without a password", func(l *lab) { _ = l.listeners[0].Close() }, router(none()), -1, true, 0, silence},
		{"foreign web server", func(l *lab) { l.passwords(0, waiting(), loginPage) }, router(waiting()), 1, true, 0, silence},
		{"foreign web server that says a word", func(l *lab) { l.raw(0, foreign) }, router(waiting()), 1, true, 0, silence},
		{"no HTTP", func(l *lab) { l.raw(0, secret+"\n") }, router(waiting()), 1, true, 0, silence},
		{"bad_request", func(l *lab) { l.passwords(0, nil, vrtest.Fault{Body: []byte("bad_request")}) }, router(waiting()), 1, true, 0, silence},
		{"empty", func(l *lab) { l.passwords(0, nil, vrtest.Fault{Empty: true}) }, router(waiting()), 1, true, 0, silence},
		{"endless", func(l *lab) { l.passwords(0, nil, vrtest.Fault{Oversize: 1 << 40}) }, router(waiting()), 1, true, 0, silence},
		{"endless header", func(l *lab) { l.passwords(0, waiting(), vrtest.Fault{HeaderBytes: 1 << 20}) }, router(waiting()), 1, true, 0, silence},
		{"404", func(l *lab) { l.passwords(0, waiting(), vrtest.Fault{Status: 404}) }, router(waiting()), 1, true, 0, silence},
		{"500", func(l *lab) { l.passwords(0, waiting(), vrtest.Fault{Status: 500}) }, router(waiting()), 1, true, 0, silence},
		{"redirect", func(l *lab) { l.passwords(0, waiting(), vrtest.Fault{RedirectTo: "/"}) }, router(waiting()), 1, true, 0, silence},
		{"reset", func(l *lab) { l.passwords(0, waiting(), vrtest.Fault{Reset: true}) }, router(waiting()), 1, true, 0, silence},
		{"never whole", func(l *lab) {
			l.passwords(0, waiting(), vrtest.Fault{Times: 1, Truncate: 3}, vrtest.Fault{Truncate: 4})
		}, router(waiting()), 1, true, 0, silence},
		{"silent", func(l *lab) { l.passwords(0, waiting(), vrtest.Fault{Hang: true}) }, router(waiting()), 1, true, silence, limit},
		{"accepts, and no more", func(*lab) {}, router(waiting()), 1, true, silence, limit},
		{"stalls after its first answer", func(l *lab) {
			l.passwords(0, waiting(), vrtest.Fault{Times: 1, Delay: 500 * ms}, vrtest.Fault{Hang: true})
		}, router(waiting()), 1, true, 500*ms + silence, limit},
		{"drips", func(l *lab) { l.passwords(0, waiting(), vrtest.Fault{Drip: 300 * ms}) }, router(waiting()), 1, true, silence, limit},
		{"slow", func(l *lab) { l.passwords(0, waiting(), vrtest.Fault{Delay: 700 * ms}) }, router(none()), 0, false, 0, limit},
		{"slower than the router", func(l *lab) {
			l.passwords(0, waiting(), vrtest.Fault{Times: 1, Delay: silence + 200*ms}, vrtest.Fault{Delay: 600 * ms})
		}, func(l *lab) *vrtest.VR { return l.passwords(1, none(), vrtest.Fault{Delay: 400 * ms}) }, 0, true, silence, limit},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, 2)
			test.first(l)
			second := test.second(l)
			start := time.Now()
			p, err := l.password(l.lease(0, 1), limit)
			var want Password
			if test.from >= 0 {
				want = Password{secret, l.addr(test.from)}
			}
			if diff := cmp.Diff(want, Password{p.Text, p.Server}, addresses); test.from >= 0 && (diff != "" || err != nil) {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
			if test.from < 0 && (p.Text != "" || !errors.Is(err, ErrNoPassword)) {
				t.Errorf("got %#v, %v", p, err)
			}
			if asked := len(second.Requests()) > 0; asked != test.asked {
				t.Errorf("router was asked: %v", asked)
			} else if asked {
				if took := second.Requests()[0].Time.Sub(start); took < test.after || took > test.within {
					t.Errorf("router was asked after %v", took)
				}
			}
		})
	}
}

// What is over after a moment costs a moment, and nothing else.
func TestFetchPasswordTriesAgain(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		faults []vrtest.Fault
		within time.Duration
	}{
		{"first answer truncated", []vrtest.Fault{{Times: 1, Truncate: 5}}, silence},
		{"second answer truncated", []vrtest.Fault{{Match: second(), Truncate: 5}}, silence},
		{"second answer empty", []vrtest.Fault{{Match: second(), Empty: true}}, silence},
		{"second answer is that none is waiting", []vrtest.Fault{{Match: second(), Body: []byte(savedPassword)}}, silence},
		{"reset", []vrtest.Fault{{Times: 2, Reset: true}}, 2 * silence},
		{"503", []vrtest.Fault{{Times: 2, Status: 503}}, 2 * silence},
		{"in bytes one by one", []vrtest.Fault{{Drip: ms}}, silence},
		{"503 for a while", []vrtest.Fault{{For: 1500 * ms, Status: 503}}, passwordPatience + 400*ms}, // the last try is at the end of the time
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, 1)
			l.passwords(0, waiting(), test.faults...)
			start := time.Now()
			if p, err := l.password(l.lease(0), limit); err != nil || p.Text != secret {
				t.Errorf("got %v, %v", p, err)
			}
			if took := time.Since(start); took > test.within {
				t.Errorf("it took %v", took)
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
	l := newLab(t, 2)
	_ = l.listeners[1].Close() // number 0 accepts, and no more
	time.AfterFunc(silence+400*ms, func() {
		ln, err := net.Listen("tcp4", netip.AddrPortFrom(l.addr(1), l.port).String())
		if err != nil {
			t.Error(err)
			return
		}
		l.listeners[1] = ln
		l.passwords(1, waiting())
	})
	start := time.Now()
	p, err := l.password(l.lease(0, 1), limit)
	if err != nil || p.Text != secret || p.Server != l.addr(1) {
		t.Errorf("got %v, %v", p, err)
	}
	if took := time.Since(start); took > passwordPatience+silence {
		t.Errorf("it took %v", took)
	}
}

func TestFetchPasswordFails(t *testing.T) {
	t.Parallel()
	var cut []vrtest.Fault
	for i := range int64(40) {
		cut = append(cut, vrtest.Fault{Times: 1, Truncate: 1 + i%5})
	}
	for _, test := range []struct {
		name          string
		time          time.Duration
		lease         func(l *lab) lease.Lease
		want          string
		after, within time.Duration
	}{
		{"nobody to ask", limit, func(*lab) lease.Lease { return lease.Lease{Device: "lo"} }, "the lease names nobody to ask", 0, silence},
		{"foreign alone", limit, func(l *lab) lease.Lease {
			l.passwords(0, waiting(), loginPage)
			l.passwords(1, waiting(), vrtest.Fault{Status: 404})
			l.raw(2, "HTTP/1.0 200 OK\r\n\r\n"+secret)
			return l.lease(0, 1, 2)
		}, "DHCP server 127.0.0.2: refused: the password server's answer is a page, not a password; " +
			"router 127.0.0.3: the answer is 404 Not Found; " +
			"router 127.0.0.4: refused: the answer is not from a CloudStack password server", 0, silence},
		{"refused until the end", limit, func(l *lab) lease.Lease {
			l.passwords(0, waiting(), loginPage)
			from := l.lease(50, 0)
			from.DNS = []netip.Addr{l.addr(60)}
			return from
		}, "DHCP server 127.0.0.52: connection refused; router 127.0.0.2: refused: the password server's answer is a page, not a password; " +
			"data-server: cannot resolve data-server: .*", passwordPatience, passwordPatience + silence},
		{"never whole", limit, func(l *lab) lease.Lease {
			l.passwords(0, waiting(), cut...)
			return l.lease(0)
		}, "DHCP server 127.0.0.2: not ready: asked twice, the password server gave different answers", passwordPatience, passwordPatience + silence},
		{"no device", limit, func(l *lab) lease.Lease {
			from := l.lease(0)
			from.Device = "nm-cloud-seed0"
			return from
		}, "DHCP server 127.0.0.2: no such device", 0, silence},
		{"silence until the end", limit, func(l *lab) lease.Lease {
			l.passwords(0, waiting(), vrtest.Fault{Hang: true})
			return l.lease(0)
		}, "DHCP server 127.0.0.2: no answer in time", probeTimeout, probeTimeout + silence},
		{"deadline", 300 * ms, func(l *lab) lease.Lease {
			l.passwords(0, waiting(), vrtest.Fault{Hang: true})
			return l.lease(50, 0, 1)
		}, "DHCP server 127.0.0.52: connection refused; router 127.0.0.2: no answer in time; router 127.0.0.3: not asked yet", 300 * ms, silence},
		{"deadline while waiting", 1500 * ms, func(l *lab) lease.Lease { return l.lease(50) },
			"DHCP server 127.0.0.52: connection refused", 1500 * ms, 2 * silence},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, 3)
			from, start := test.lease(l), time.Now()
			p, err := l.password(from, test.time)
			want := "^cannot get the password on " + from.Device + ": " + test.want + "$"
			if p.Text != "" || err == nil || !regexp.MustCompile(want).MatchString(err.Error()) {
				t.Errorf("got %v, %v\nwant %s", p, err, want)
			}
			if took := time.Since(start); took < test.after || took > test.within {
				t.Errorf("it took %v", took)
			}
		})
	}
}

func TestFetchPasswordIsStopped(t *testing.T) {
	t.Parallel()
	l := newLab(t, 1)
	ctx, cancel := context.WithCancel(t.Context())
	l.passwords(0, waiting(), vrtest.Fault{Match: func(vrtest.Request) bool {
		time.AfterFunc(50*ms, cancel)
		return true
	}, Hang: true})
	start := time.Now()
	_, err := FetchPassword(ctx, l.lease(0), l.port)
	if err == nil || err.Error() != "cannot get the password on lo: DHCP server 127.0.0.2: no answer in time" {
		t.Errorf("got %v", err)
	}
	if took := time.Since(start); took > silence {
		t.Errorf("it took %v", took)
	}
}

// The password is on the default network alone, and for one address.
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
	p, err := l.password(from, limit)
	if err != nil || p.Text != secret || p.Server != l.addr(1) {
		t.Errorf("got %v, %v", p, err)
	}
	if n := len(other.Requests()); n > 0 {
		t.Errorf("the other network had %d requests", n)
	}
	for _, r := range vr.Requests() {
		if r.Client != own {
			t.Errorf("asked from %v", r.Client)
		}
	}
	if vr.PasswordAcknowledged(own) {
		t.Error("the password is acknowledged before it is applied")
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
			t.Errorf("%s: got %q, %v", test.name, got.Device, ok)
		}
	}
}

func TestUnknown(t *testing.T) {
	t.Parallel()
	found := []netip.Addr{addr("10.1.0.1"), addr("10.9.0.1"), addr("10.1.0.254"), addr("10.9.0.2")}
	want := []netip.Addr{addr("10.9.0.1"), addr("10.9.0.2")}
	if diff := cmp.Diff(want, unknown(found, eth0), addresses); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
