package cloudstack

import (
	"fmt"
	"io"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/sys/unix"

	"github.com/nm-cloud-seed/nm-cloud-seed/datasource"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/lease"
)

const ms = time.Millisecond

// The candidates of eth0 and eth1.
const (
	server0 = "eth0 10.1.0.1"
	router0 = "eth0 10.1.0.254"
	data0   = "eth0 data-server"
	server1 = "eth1 10.2.0.1"
)

type answers = map[string][]answer

func is(after time.Duration) []answer { return []answer{{after: after}} }

func no(after time.Duration, err error) []answer { return []answer{{after: after, err: err}} }

func at(d time.Duration, v lease.View) arrival { return arrival{d, v} }

func TestSearchOneDevice(t *testing.T) {
	t.Parallel()
	one := []arrival{at(0, known(leases(eth0)))}
	for _, test := range []struct {
		name     string
		arrivals []arrival
		answers  answers
		want     []string
	}{
		{"server id", one, answers{server0: is(20 * ms), router0: is(1 * ms)}, []string{
			"0s ask " + server0, "20ms " + server0 + " wins",
		}},
		{"server id refuses", one, answers{server0: no(5*ms, errRefused), router0: is(20 * ms)}, []string{
			"0s ask " + server0, "5ms ask " + router0, "25ms " + router0 + " wins",
		}},
		{"server id and router are none", one, answers{
			server0: no(5*ms, errForeign), router0: no(5*ms, errForeign), data0: is(30 * ms),
		}, []string{
			"0s ask " + server0, "5ms ask " + router0, "10ms ask " + data0, "40ms " + data0 + " wins",
		}},
		{"answer at the last moment", one, answers{server0: is(999 * ms), router0: is(1 * ms)}, []string{
			"0s ask " + server0, "999ms " + server0 + " wins",
		}},
		{"server id is silent", one, answers{router0: is(20 * ms)}, []string{
			"0s ask " + server0, "1s ask " + router0, "1.02s " + router0 + " wins",
		}},
		{"late answer, before the router's", one, answers{server0: is(1100 * ms), router0: is(500 * ms)}, []string{
			"0s ask " + server0, "1s ask " + router0, "1.1s " + server0 + " wins",
		}},
		{"late answer, while data-server is asked", one, answers{server0: is(2100 * ms), data0: is(500 * ms)}, []string{
			"0s ask " + server0, "1s ask " + router0, "2s ask " + data0, "2.1s " + server0 + " wins",
		}},
		{"late failure", one, answers{server0: no(1200*ms, errRefused), router0: is(400 * ms)}, []string{
			"0s ask " + server0, "1s ask " + router0, "1.4s " + router0 + " wins",
		}},
		{"all are silent", one, nil, []string{
			"0s ask " + server0, "1s ask " + router0, "2s ask " + data0, "7s over",
		}},
		{"all refuse", one, answers{
			server0: no(1*ms, errRefused), router0: no(1*ms, errRefused), data0: no(1*ms, errRefused),
		}, []string{
			"0s ask " + server0, "1ms ask " + router0, "2ms ask " + data0, "3ms over",
		}},
		{"no data yet", one, answers{
			server0: no(1*ms, errNotFound), router0: no(1*ms, errRefused), data0: no(1*ms, errRefused),
		}, []string{
			"0s ask " + server0, "1ms ask " + router0, "2ms ask " + data0, "3ms over",
		}},
		{"no lease", []arrival{at(0, known(nil, "eth0"))}, nil, []string{"0s over"}},
		{"lease without any candidate", []arrival{at(0, known(leases(lease.Lease{Device: "eth0"})))}, nil, []string{"2s over"}},
		{"lease changes", []arrival{at(0, known(leases(eth0))), at(300*ms, known(leases(with(eth0, "10.9.0.1"))))}, answers{
			server0: is(400 * ms), "eth0 10.9.0.1": is(400 * ms),
		}, []string{
			"0s ask " + server0, "300ms ask eth0 10.9.0.1", "700ms eth0 10.9.0.1 wins",
		}},
		{"lease changes, but not what leads to the VR", []arrival{at(0, known(leases(eth0))), at(300*ms, known(leases(named(eth0))))}, answers{
			server0: is(400 * ms),
		}, []string{
			"0s ask " + server0, "400ms " + server0 + " wins",
		}},
		{"lease goes", []arrival{at(0, known(leases(eth0))), at(300*ms, known(nil))}, nil, []string{
			"0s ask " + server0, "300ms over",
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got := world{test.arrivals, test.answers}.run(1)
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func with(l lease.Lease, server string) lease.Lease {
	l.Server = addr(server)
	return l
}

func named(l lease.Lease) lease.Lease {
	l.Domain, l.Temporary, l.Index = "cs1.example", true, 7
	return l
}

func TestSearchTwoDevices(t *testing.T) {
	t.Parallel()
	both := []arrival{at(0, known(leases(eth1, eth0)))}
	refuse := answers{server0: no(1*ms, errForeign), router0: no(1*ms, errForeign), data0: no(1*ms, errForeign), server1: is(1 * ms)}
	eth2 := with(eth1, "10.3.0.1")
	eth2.Device, eth2.Index = "eth2", 5
	ask0 := []string{"0s ask " + server0}
	for _, test := range []struct {
		name     string
		rounds   int
		arrivals []arrival
		answers  answers
		want     []string
	}{
		{"default device first", 1, both, answers{server0: is(900 * ms), server1: is(1 * ms)},
			append(ask0, "900ms "+server0+" wins")},
		{"whatever the order", 1, []arrival{at(0, known(leases(eth0, eth1)))}, answers{server0: is(900 * ms), server1: is(1 * ms)},
			append(ask0, "900ms "+server0+" wins")},
		{"certain failure", 1, both, refuse,
			append(ask0, "1ms ask "+router0, "2ms ask "+data0, "3ms ask "+server1, "4ms "+server1+" wins")},
		{"silent, while others fail slowly", 1, []arrival{at(0, known(leases(eth0, eth1, eth2)))}, answers{
			router0: no(3*time.Second, errForeign), data0: no(3*time.Second, errForeign),
			server0: append(no(probeTimeout, errSilent), is(1*ms)...), server1: no(3*time.Second, unix.EHOSTUNREACH), "eth2 10.3.0.1": no(3*time.Second, unix.EHOSTUNREACH),
		}, []string{
			"0s ask " + server0, "1s ask " + router0, "2s ask " + data0, "3s ask " + server1, "5s ask eth2 10.3.0.1",
			"7s ask " + router0, "7s ask " + server1, "8s ask " + server0, "8s ask " + data0, "8.001s " + server0 + " wins",
		}},
		{"silent", 1, both, answers{server1: is(1 * ms)},
			append(ask0, "1s ask "+router0, "2s ask "+data0, "3s ask "+server1, "3.001s "+server1+" wins")},
		{"late answer wins while the other device is asked", 1, both, answers{server0: is(3100 * ms), server1: is(900 * ms)},
			append(ask0, "1s ask "+router0, "2s ask "+data0, "3s ask "+server1, "3.1s "+server0+" wins")},
		{"refused: it may be coming up", 5, both, answers{
			server0: append(slowly(errRefused, 2), is(20*ms)...), router0: no(1*ms, errForeign), data0: no(1*ms, errForeign), server1: is(1 * ms),
		}, append(ask0, "100ms ask "+router0, "101ms ask "+data0, "102ms over",
			"602ms ask "+server0, "702ms ask "+router0, "703ms ask "+data0, "704ms over",
			"1.204s ask "+server0, "1.224s "+server0+" wins")},
		{"no data is no certain failure", 5, both, answers{
			server0: append(slowly(errNotFound, 2), is(20*ms)...), router0: no(1*ms, errRefused), data0: no(1*ms, errRefused), server1: is(1 * ms),
		}, append(ask0, "100ms ask "+router0, "101ms ask "+data0, "102ms over",
			"602ms ask "+server0, "702ms ask "+router0, "703ms ask "+data0, "704ms over",
			"1.204s ask "+server0, "1.224s "+server0+" wins")},
		{"no data for 2 s, over several rounds", 9, both, answers{
			server0: no(500*ms, errNotFound), router0: no(1*ms, errRefused), data0: no(1*ms, errRefused), server1: is(10 * ms),
		}, append(ask0, "500ms ask "+router0, "501ms ask "+data0, "502ms over",
			"1.002s ask "+server0, "1.502s ask "+router0, "1.503s ask "+data0, "1.504s over",
			"2.004s ask "+server0, "2.504s ask "+router0, "2.505s ask "+data0, "2.506s ask "+server1, "2.516s "+server1+" wins")},
		{"default lease comes in time", 1, []arrival{at(0, known(leases(eth1), "eth0")), at(9900*ms, known(leases(eth1, eth0)))}, answers{
			server0: is(20 * ms), server1: is(1 * ms),
		}, []string{"9.9s ask " + server0, "9.92s " + server0 + " wins"}},
		{"default lease does not come", 1, []arrival{at(0, known(leases(eth1), "eth0"))}, answers{server1: is(1 * ms)},
			[]string{"10s ask " + server1, "10.001s " + server1 + " wins"}},
		{"NetworkManager goes away", 1, []arrival{at(0, lease.View{Leases: leases(eth1)})}, answers{server1: is(1 * ms)},
			[]string{"10s ask " + server1, "10.001s " + server1 + " wins"}},
		{"nobody is waiting any more", 1, []arrival{at(0, known(leases(eth1), "eth0")), at(3*time.Second, known(leases(eth1)))}, answers{server1: is(1 * ms)},
			[]string{"3s ask " + server1, "3.001s " + server1 + " wins"}},
		{"no default network: by index", 1, []arrival{at(0, known(leases(eth2, eth1)))}, answers{server1: is(900 * ms), "eth2 10.3.0.1": is(1 * ms)},
			[]string{"2s ask " + server1, "2.9s " + server1 + " wins"}},
		{"waiting does not matter once the default lease is there", 1, []arrival{at(0, known(leases(eth1, eth0), "eth2"))}, refuse,
			append(ask0, "1ms ask "+router0, "2ms ask "+data0, "3ms ask "+server1, "4ms "+server1+" wins")},
		{"the better lease comes in time", 1,
			[]arrival{at(0, known(leases(eth1))), at(100*ms, known(leases(eth1, eth0)))}, answers{server0: is(800 * ms), server1: is(200 * ms)},
			[]string{"100ms ask " + server0, "900ms " + server0 + " wins"}},
		{"the better lease comes, but fails after the worse one answered", 1,
			[]arrival{at(0, known(leases(eth1))), at(100*ms, known(leases(eth1, eth0)))},
			answers{server0: no(800*ms, errForeign), router0: no(1*ms, errForeign), data0: no(1*ms, errForeign), server1: is(200 * ms)},
			[]string{"100ms ask " + server0, "900ms ask " + router0, "901ms ask " + data0, "902ms ask " + server1, "1.102s " + server1 + " wins"}},
		{"the better lease comes while the worse one is asked", 1,
			[]arrival{at(0, known(leases(eth1))), at(2100*ms, known(leases(eth1, eth0)))}, answers{server0: is(800 * ms), server1: is(200 * ms)},
			[]string{"2s ask " + server1, "2.1s ask " + server0, "2.9s " + server0 + " wins"}},
		{"the default lease has nobody to ask", 1, []arrival{at(0, known(leases(lease.Lease{Device: "eth3", Index: 1}, eth1)))}, answers{server1: is(1 * ms)},
			[]string{"2s ask " + server1, "2.001s " + server1 + " wins"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got := world{test.arrivals, test.answers}.run(test.rounds)
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// slowly fails so many rounds, after 100 ms each.
func slowly(err error, rounds int) (list []answer) {
	for range rounds {
		list = append(list, answer{after: 100 * ms, err: err})
	}
	return list
}

func TestCandidates(t *testing.T) {
	t.Parallel()
	router, vip := addr("10.1.0.254"), addr("10.1.0.1")
	for _, test := range []struct {
		name  string
		lease lease.Lease
		want  []candidate
	}{
		{"all", eth0, []candidate{
			{"eth0", roleServer, eth0.Server}, {"eth0", roleRouter, router}, {device: "eth0", role: roleDataServer},
		}},
		{"the VR is everything", lease.Lease{Device: "eth0", Server: vip, Routers: []netip.Addr{vip, vip}, DNS: []netip.Addr{vip}}, []candidate{
			{"eth0", roleServer, vip}, {device: "eth0", role: roleDataServer},
		}},
		{"two routers", lease.Lease{Device: "eth0", Server: vip, Routers: []netip.Addr{router, addr("10.1.0.253")}}, []candidate{
			{"eth0", roleServer, vip}, {"eth0", roleRouter, router}, {"eth0", roleRouter, addr("10.1.0.253")},
		}},
		{"static address", lease.Lease{Device: "eth0", Routers: []netip.Addr{router}}, []candidate{{"eth0", roleRouter, router}}},
		{"nothing", lease.Lease{Device: "eth0"}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got := candidates(test.lease)
			if diff := cmp.Diff(test.want, got, cmp.AllowUnexported(candidate{}), cmpopts.EquateComparable(netip.Addr{})); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestPassingFailures(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		err  error
		want bool
	}{
		{errNotFound, true},
		{fmt.Errorf("%w: HTTP status 503", datasource.ErrNotReady), true},
		{io.EOF, true},
		{fmt.Errorf("cannot read the whole answer: %w", io.ErrUnexpectedEOF), true},
		{unix.ECONNRESET, true},
		{unix.EADDRNOTAVAIL, true},
		{errRefused, true},
		{errForeign, false},
		{datasource.ErrRefused, false},
	} {
		if got := passing(test.err); got != test.want {
			t.Errorf("passing(%v) = %v, want %v", test.err, got, test.want)
		}
	}
}
