package cloudstack

import (
	"context"
	"fmt"
	"io"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/sirupsen/logrus"

	"github.com/nm-cloud-seed/nm-cloud-seed/datasource"
	"github.com/nm-cloud-seed/nm-cloud-seed/datasource/cloudstack/vrtest"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/lease"
)

var addresses = cmpopts.EquateComparable(addr("0.0.0.0"))

func TestFetch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, vm := newPipeLab(t, 1), example()
		vr := l.vr(0, vm)
		from := l.lease(0, 0)
		from.Domain = "cs1.example"
		inst, err := l.fetch(known(leases(from)))
		if err != nil {
			t.Fatal(err)
		}
		origin := datasource.Origin{Server: l.addr(0), Role: "DHCP server", Device: "lo", Index: 1, DHCP: l.addr(0), Router: l.addr(0), Domain: "cs1.example"}
		want := &datasource.Instance{ID: vmID, Metadata: values(vm), UserData: vm.UserData, Origin: origin}
		if diff := cmp.Diff(want, inst, addresses); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
		if diff := cmp.Diff([]datasource.Origin{origin}, l.found, addresses); diff != "" {
			t.Errorf("found (-want +got):\n%s", diff)
		}
		if text := l.heard(); strings.Contains(text, "again") {
			t.Errorf("got what went wrong at first, want nothing:\n%s", text)
		}
		if n := vr.Connections(); n > maxConnections {
			t.Errorf("got %d connections, want at most %d", n, maxConnections)
		}
		// The id, the index, user-data, and each other key once.
		if n, want := len(vr.Requests()), 3+len(vm.Metadata)-1; n != want {
			t.Errorf("got %d requests, want %d", n, want)
		}
	})
}

// All else is on pipes, whose time is exact; here are the sockets that a VM has.
func TestFetchOverTCP(t *testing.T) {
	t.Parallel()
	l, vm := newLab(t, 1), example()
	l.vr(0, vm)
	inst, err := l.fetch(known(leases(l.lease(0))))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(values(vm), inst.Metadata); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if diff := cmp.Diff(string(vm.UserData), string(inst.UserData)); diff != "" {
		t.Errorf("user-data (-want +got):\n%s", diff)
	}
}

func TestFetchOpensFewConnections(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, vm := newPipeLab(t, 1), example()
		for i := range 60 {
			vm.Set(fmt.Sprintf("key-%03d", i), secret)
		}
		vr := l.vr(0, vm, vrtest.Fault{Delay: 20 * time.Millisecond})
		inst, err := l.fetch(known(leases(l.lease(0))))
		if err != nil {
			t.Fatal(err)
		}
		if n := vr.Connections(); n > maxConnections || len(inst.Metadata) != 71 {
			t.Errorf("got %d keys over %d connections, want 71 over at most %d", len(inst.Metadata), n, maxConnections)
		}
	})
}

func TestFetchFindsTheVR(t *testing.T) {
	t.Parallel()
	page := vrtest.Fault{Body: []byte("<!DOCTYPE html><title>" + secret + "</title>"), ContentType: "text/html"}
	for _, test := range []struct {
		name   string
		first  func(l *lab)  // at the address of the DHCP server, number 0
		second string        // role of the winner
		after  time.Duration // the router is asked
	}{
		{"foreign web server", func(l *lab) { l.vr(0, nil, page) }, roleRouter, 0},
		{"no HTTP", func(l *lab) { l.raw(0, secret+"\n") }, roleRouter, 0},
		{"id with more than that", func(l *lab) {
			vm := example()
			vm.Set("instance-id", vmID+" "+secret)
			l.vr(0, vm)
		}, roleRouter, 0},
		{"redirect", func(l *lab) { l.vr(0, example(), vrtest.Fault{RedirectTo: "/login"}) }, roleRouter, 0},
		{"no data", func(l *lab) { l.vr(0, nil) }, roleRouter, 0},
		{"500", func(l *lab) { l.vr(0, nil, vrtest.Fault{Status: 500}) }, roleRouter, 0},
		{"empty id", func(l *lab) { l.vr(0, example(), vrtest.Fault{Empty: true}) }, roleRouter, 0},
		{"refused", func(l *lab) { _ = l.listeners[0].Close() }, roleRouter, 0},
		{"silent", func(l *lab) { l.vr(0, example(), vrtest.Fault{Hang: true}) }, roleRouter, silence},
		{"accepts, and no more", func(*lab) {}, roleRouter, silence},
		{"in time", func(l *lab) { l.vr(0, example(), vrtest.Fault{Times: 1, Delay: 300 * time.Millisecond}) }, roleServer, 0},
	} {
		inFakeTime(t, test.name, func(t *testing.T) {
			l := newPipeLab(t, 2)
			test.first(l)
			second := l.vr(1, example())
			start := time.Now()
			inst, err := l.fetch(known(leases(l.lease(0, 1))))
			if err != nil {
				t.Fatal(err)
			}
			if inst.Origin.Role != test.second || inst.ID != vmID {
				t.Errorf("got %s of %+v, want %s of the %s", inst.ID, inst.Origin, vmID, test.second)
			}
			if asked := len(second.Requests()) > 0; asked != (test.second == roleRouter) {
				t.Errorf("got router asked: %v, want %v", asked, !asked)
			} else if asked {
				if after := second.Requests()[0].Time.Sub(start); after != test.after {
					t.Errorf("got router asked after %v, want %v", after, test.after)
				}
			}
		})
	}
}

// What is over after a moment costs a moment, and nothing else.
func TestFetchTriesAgain(t *testing.T) {
	t.Parallel()
	once := func(path string, f vrtest.Fault) []vrtest.Fault {
		f.Match = vrtest.Path(path)
		f.Times = max(f.Times, 1)
		return []vrtest.Fault{f}
	}
	const id = indexPath + "instance-id"
	for _, test := range []struct {
		name   string
		faults []vrtest.Fault
	}{
		{"id 503", once(id, vrtest.Fault{Status: 503, Times: 2})},
		{"id 404", once(id, vrtest.Fault{Status: 404, Times: 3})},
		{"id empty", once(id, vrtest.Fault{Empty: true, Times: 2})},
		{"id truncated", once(id, vrtest.Fault{Truncate: 10})},
		{"id reset", once(id, vrtest.Fault{Reset: true, Times: 3})},
		{"all 404 for a while", []vrtest.Fault{{Status: 404, For: 300 * time.Millisecond}}},
		{"all 500 for a while", []vrtest.Fault{{Status: 500, For: 300 * time.Millisecond}}},
		{"index 404", once(indexPath, vrtest.Fault{Status: 404})},
		{"index empty", once(indexPath, vrtest.Fault{Empty: true})},
		{"index truncated", once(indexPath, vrtest.Fault{Truncate: 40})},
		{"index without length", once(indexPath, vrtest.Fault{NoLength: true})},
		{"index drips", once(indexPath, vrtest.Fault{Drip: time.Millisecond})},
		{"user-data 500", once(userDataPath, vrtest.Fault{Status: 500, Times: 2})},
		{"user-data truncated", once(userDataPath, vrtest.Fault{Truncate: 5})},
		{"user-data reset", once(userDataPath, vrtest.Fault{Reset: true, Times: 3})},
		{"user-data drips", once(userDataPath, vrtest.Fault{Drip: time.Millisecond})},
		{"key 503", once(keyPath, vrtest.Fault{Status: 503})},
		{"key truncated", once(keyPath, vrtest.Fault{Truncate: 20})},
		{"key reset", once(keyPath, vrtest.Fault{Reset: true, Times: 6})},
		{"huge header", once(keyPath, vrtest.Fault{HeaderBytes: 100 << 10})},
		{"each first answer is reset", []vrtest.Fault{{Reset: true, Times: 3}}},
	} {
		inFakeTime(t, test.name, func(t *testing.T) {
			l, vm := newPipeLab(t, 1), example()
			l.vr(0, vm, test.faults...)
			inst, err := l.fetch(known(leases(l.lease(0))))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(values(vm), inst.Metadata); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if string(inst.UserData) != string(vm.UserData) || len(inst.Warnings) > 0 {
				t.Errorf("user-data %q, warnings %q", inst.UserData, inst.Warnings)
			}
		})
	}
}

func TestFetchRetriesAfterSilence(t *testing.T) {
	t.Parallel()
	for path, after := range map[string]time.Duration{ // the least, without the pause
		indexPath + "instance-id": probeTimeout, indexPath: leafTimeout, keyPath: leafTimeout,
	} {
		inFakeTime(t, path, func(t *testing.T) {
			l, vm := newPipeLab(t, 1), example()
			vr := l.vr(0, vm, vrtest.Fault{Match: vrtest.Path(path), Times: 1, Hang: true})
			inst, err := l.fetch(known(leases(l.lease(0))))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(values(vm), inst.Metadata); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			var asked []time.Time
			for _, r := range vr.Requests() {
				if r.Path == path {
					asked = append(asked, r.Time)
				}
			}
			if len(asked) != 2 {
				t.Fatalf("got %d requests for %s, want 2", len(asked), path)
			}
			if pause := asked[1].Sub(asked[0]); pause < after || pause > after+maxPause {
				t.Errorf("got the second request after %v, want it %v to %v after the first", pause, after, after+maxPause)
			}
		})
	}
}

// The error is all that an operator at the console gets to see.
func TestFetchFails(t *testing.T) {
	t.Parallel()
	waiting := lease.Device{Name: "eth1", State: lease.Waiting, Detail: "activating"}
	unusable := lease.Device{Name: "eth2", State: lease.Unusable, Detail: "unmanaged by NetworkManager"}
	both := func(leases ...lease.Lease) []lease.View {
		v := known(leases)
		v.Devices = append(v.Devices, waiting, unusable)
		return []lease.View{v}
	}
	nobody := lease.Lease{Device: "eth3"}
	for _, test := range []struct {
		name string
		time time.Duration
		view func(l *lab) []lease.View
		want string
	}{
		{"no NetworkManager", 200 * ms, func(*lab) []lease.View { return nil }, "^no instance metadata before the deadline: NetworkManager is not on the bus$"},
		{"no device", 200 * ms, func(*lab) []lease.View { return []lease.View{{Running: true}} }, ": there is no wired device$"},
		{"no lease", 200 * ms, func(*lab) []lease.View { return both() }, "^no instance metadata before the deadline: eth1: activating; eth2: unmanaged by NetworkManager$"},
		{"every candidate", 2 * time.Second, func(l *lab) []lease.View {
			l.vr(0, nil)
			l.vr(1, nil, vrtest.Fault{Body: []byte(secret)})
			l.vr(2, nil, vrtest.Fault{Hang: true})
			return both(l.lease(0, 1, 2, 50))
		}, "^no instance metadata before the deadline: " +
			`lo: DHCP server 127\.0\.0\.2: the answer is 404 Not Found; ` +
			`lo: router 127\.0\.0\.3: the answer of 18 bytes is no instance-id: not a virtual router; ` +
			`lo: router 127\.0\.0\.4: no answer in time; ` +
			`lo: router 127\.0\.0\.52: connection refused; ` +
			`eth1: activating; eth2: unmanaged by NetworkManager$`},
		{"each device", grace + 2*time.Second, func(l *lab) []lease.View {
			gone := l.lease(0)
			gone.Device, gone.Index = "nm-cloud-seed0", 9
			return []lease.View{known(leases(l.lease(50, 51), gone))}
		}, `: lo: DHCP server 127\.0\.0\.52: connection refused; lo: router 127\.0\.0\.53: connection refused; ` +
			`nm-cloud-seed0: DHCP server 127\.0\.0\.2: no such device$`},
		{"nobody to ask", 200 * ms, func(*lab) []lease.View { return []lease.View{known(leases(nobody))} },
			": eth3: the lease names no DHCP server, router or DNS server$"},
		{"default network's lease does not come", 200 * ms, func(l *lab) []lease.View {
			other := l.lease(0)
			other.Routers = nil
			return both(other)
		},
			": lo: not asked yet; eth1: activating; eth2: unmanaged by NetworkManager$"},
		{"VR that does not deliver", 500 * ms, func(l *lab) []lease.View {
			l.vr(0, example(), vrtest.Fault{Match: vrtest.Path(userDataPath), Status: 500})
			return []lease.View{known(leases(l.lease(0)))}
		}, `: cannot fetch the metadata from 127\.0\.0\.2: user-data: not ready: the answer is HTTP status 500`},
		{"VR that falls silent", 800 * ms, func(l *lab) []lease.View {
			l.vr(0, example(), vrtest.Fault{Match: vrtest.Path(userDataPath), Times: 1, Status: 500}, vrtest.Fault{Match: vrtest.Path(userDataPath), Hang: true})
			return []lease.View{known(leases(l.lease(0)))}
		}, `: cannot fetch the metadata from 127\.0\.0\.2: user-data: not ready: the answer is HTTP status 500`},
	} {
		inFakeTime(t, test.name, func(t *testing.T) {
			l := newPipeLab(t, 3)
			views := queue(test.view(l)...)
			ctx, cancel := context.WithTimeout(t.Context(), test.time)
			defer cancel()
			inst, err := l.fetchWith(ctx, l.fetcher(), views)
			if inst != nil || err == nil || !regexp.MustCompile(test.want).MatchString(err.Error()) {
				t.Errorf("got %v, %v\nwant an error like %s", inst, err, test.want)
			}
		})
	}
}

// Who is still asking after two minutes asks less often, but never stops.
func TestFetchSlowsDown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		begin, log := time.Now(), logrus.New()
		log.SetOutput(io.Discard)
		var rounds []time.Duration // when each was over
		f := New(Options{Log: log, Status: func(string) { rounds = append(rounds, time.Since(begin)) }})
		// The rounds of a lease that names nobody take no time after the first.
		if inst, err := f.Fetch(ctx, queue(known(leases(lease.Lease{Device: "eth0"})))); inst != nil || err == nil {
			t.Errorf("got %v, %v", inst, err)
		}
		around := func(got, want time.Duration) bool { return got >= want*3/4 && got <= want*5/4 }
		pauses := map[time.Duration]int{}
		for i := 1; i < len(rounds); i++ {
			at, pause := rounds[i-1], rounds[i]-rounds[i-1]
			switch {
			case at > impatience+time.Minute:
				pauses[longPause]++
				if !around(pause, longPause) {
					t.Errorf("%v after %v", pause, at)
				}
			case at < impatience && pause > maxPause*5/4:
				t.Errorf("%v already after %v", pause, at)
			case at < impatience && i > 6:
				pauses[maxPause]++
				if !around(pause, maxPause) {
					t.Errorf("%v after %v", pause, at)
				}
			}
		}
		if pauses[maxPause] < 40 || pauses[longPause] < 150 {
			t.Errorf("so many of each pause: %v", pauses)
		}
		if len(rounds) == 0 || rounds[len(rounds)-1] < time.Hour-2*longPause {
			t.Errorf("it gave up: %v", rounds)
		}
	})
}

func TestFetchIsStopped(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		faults []vrtest.Fault
		want   string
	}{
		{"while searching", []vrtest.Fault{{Hang: true}}, "lo: DHCP server 127.0.0.2: "},
		{"while fetching", []vrtest.Fault{{Match: vrtest.Path(keyPath), Hang: true}}, "cannot fetch the metadata from 127.0.0.2: "},
		{"while waiting", []vrtest.Fault{{Status: 404}}, "lo: DHCP server 127.0.0.2: the answer is 404 Not Found"},
	} {
		inFakeTime(t, test.name, func(t *testing.T) {
			l := newPipeLab(t, 1)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			asked := make(chan struct{}, 100)
			faults := append([]vrtest.Fault{{Match: func(r vrtest.Request) bool {
				if test.faults[0].Match == nil || test.faults[0].Match(r) {
					asked <- struct{}{}
				}
				return false
			}}}, test.faults...)
			l.vr(0, example(), faults...)
			done := make(chan error, 1)
			go func() {
				_, err := l.fetchWith(ctx, l.fetcher(), queue(known(leases(l.lease(0)))))
				done <- err
			}()
			<-asked
			synctest.Wait() // until it hangs, or waits
			start := time.Now()
			cancel()
			err := <-done
			if want := "stopped before there was any instance metadata: " + test.want; err == nil || !strings.HasPrefix(err.Error(), want) {
				t.Errorf("got %v, want %s...", err, want)
			}
			if took := time.Since(start); took != 0 {
				t.Errorf("got the end %v after the context's, want it at once", took)
			}
		})
	}
}

// TestFetchTellsTheDefaultNetworksDomain: a network that is not the VM's default has no
// domain of its own in CloudStack.
func TestFetchTellsTheDefaultNetworksDomain(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ own, network, want string }{
		{"", "corp.example", "corp.example"},
		{"cs1.example", "corp.example", "cs1.example"},
		{"", "", ""},
	} {
		synctest.Test(t, func(t *testing.T) {
			l := newPipeLab(t, 2)
			l.vr(0, example())
			data, network := l.lease(0), l.lease(1)
			data.Routers = nil
			data.Domain, network.Domain = tt.own, tt.network
			network.Device = "eth1"
			inst, err := l.fetch(known(leases(data, network)))
			if err != nil {
				t.Fatal(err)
			}
			if inst.Origin.Domain != tt.want || inst.Origin.Device != data.Device {
				t.Errorf("%+v: got %q from %s, want %q from %s", tt, inst.Origin.Domain, inst.Origin.Device, tt.want, data.Device)
			}
		})
	}
}
