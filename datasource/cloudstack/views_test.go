package cloudstack

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nm-cloud-seed/nm-cloud-seed/datasource/cloudstack/vrtest"
)

func TestViewsEnd(t *testing.T) {
	t.Parallel()
	for _, before := range []bool{false, true} {
		l := newLab(t, 1)
		vr := l.vr(0, nil)
		views := queue(known(leases(l.lease(0))))
		if before {
			close(views)
		}
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		defer cancel()
		time.AfterFunc(150*time.Millisecond, func() {
			if !before {
				close(views)
			}
			vr.SetDefaultVM(example())
		})
		if inst, err := l.fetchWith(ctx, l.fetcher(), views); err != nil || inst.ID != vmID {
			t.Errorf("closed before: %v: %v", before, err)
		}
	}
}

// Without any view there is nothing to do but to wait; not in a busy loop.
func TestViewsEndAtOnce(t *testing.T) {
	t.Parallel()
	l := newLab(t, 1)
	views := queue()
	close(views)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err := l.fetchWith(ctx, l.fetcher(), views)
	if err == nil || !strings.HasSuffix(err.Error(), ": NetworkManager is not on the bus") {
		t.Errorf("got %v", err)
	}
	if len(l.status) > 10 {
		t.Errorf("%d rounds in a second", len(l.status))
	}
}

func TestLeaseComesLater(t *testing.T) {
	t.Parallel()
	l := newLab(t, 1)
	l.vr(0, example())
	views := queue(known(nil, "lo"), known(nil, "lo"))
	start := time.Now()
	time.AfterFunc(700*time.Millisecond, func() { views <- known(leases(l.lease(0))) })
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	_, err := l.fetchWith(ctx, l.fetcher(), views)
	if err != nil || time.Since(start) < 700*time.Millisecond {
		t.Errorf("got %v after %v", err, time.Since(start))
	}
	if !strings.Contains(l.heard(), "waiting for a lease: lo: activating") {
		t.Errorf("status %q", l.status)
	}
}

// While the candidate is silent, the device gets another address, and maybe
// another server with it.
func TestLeaseChanges(t *testing.T) {
	t.Parallel()
	for _, server := range []int{0, 1} {
		t.Run(fmt.Sprint("server ", server), func(t *testing.T) {
			t.Parallel()
			l := newLab(t, 2)
			before, after := l.lease(0), l.lease(server)
			after.Address = netip.MustParsePrefix("127.0.0.9/8")
			views := queue(known(leases(before)))
			hang := vrtest.Fault{Hang: true, Match: func(r vrtest.Request) bool {
				if r.Client == after.Address.Addr() {
					return false
				}
				views <- known(leases(after))
				return true
			}}
			vrs := []*vrtest.VR{l.vr(0, example(), hang), l.vr(1, example(), hang)}
			ctx, cancel := context.WithTimeout(t.Context(), probeTimeout-time.Second)
			defer cancel()
			inst, err := l.fetchWith(ctx, l.fetcher(), views)
			if err != nil || inst.Origin.Server != l.addr(server) {
				t.Fatalf("got %v", err)
			}
			old := 0
			for _, r := range slices.Concat(vrs[0].Requests(), vrs[1].Requests()) {
				if r.Client != after.Address.Addr() {
					old++
				}
			}
			if old > 3 { // instance-id, index and user-data, before the lease changed
				t.Errorf("%d requests from the old address", old)
			}
		})
	}
}

// A VR with another machine's data is none of ours, where ours is known. Where
// the configuration says so, it is taken all the same, with a warning.
func TestAnotherMachinesData(t *testing.T) {
	t.Parallel()
	const other = "00000000-0000-4000-8000-000000000001"
	for _, test := range []struct {
		name, uuid    string
		any           bool
		first, second string // whose data the DHCP server and the router have
		want          string // empty: an error
	}{
		{"the router has ours", vmID, false, other, vmID, vmID},
		{"the router has ours, in upper case", strings.ToUpper(vmID), false, other, vmID, vmID},
		{"nobody has ours", vmID, false, other, "", ""},
		{"not known", "", false, other, vmID, other},
		{"nobody has ours, any will do", vmID, true, other, "", other},
		{"ours, any will do", vmID, true, vmID, other, vmID},
		{"ours, in upper case, any will do", strings.ToUpper(vmID), true, vmID, other, vmID},
		{"not known, any will do", "", true, other, "", other},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, 2)
			for i, id := range []string{test.first, test.second} {
				var vm *vrtest.VM
				if id != "" {
					vm = example()
					vm.Set("instance-id", id)
				}
				l.vr(i, vm)
			}
			f := l.fetcher()
			f.UUID, f.AnyInstance = test.uuid, test.any
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			defer cancel()
			inst, err := l.fetchWith(ctx, f, queue(known(leases(l.lease(0, 1)))))
			if test.want == "" {
				if says := "it has the data of instance " + other + ", and this machine is " + vmID; err == nil || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), "check-instance-id=no in nm-cloud-seed.conf") {
					t.Errorf("got %v, %v", inst, err)
				}
				return
			}
			if err != nil || inst.ID != test.want || inst.Metadata["instance-id"] != test.want {
				t.Fatalf("got %v, %v", inst, err)
			}
			var warnings []string
			if test.uuid != "" && !strings.EqualFold(test.want, test.uuid) {
				warnings = []string{"this is the data of instance " + other + ", and this machine is " + vmID +
					": taken all the same, as the configuration says (check-instance-id=no)"}
			}
			if diff := cmp.Diff(warnings, inst.Warnings); diff != "" {
				t.Errorf("warnings (-want +got):\n%s", diff)
			}
		})
	}
}

// The grace of the default device is counted from its first round, not anew in
// each.
func TestGraceGoesOn(t *testing.T) {
	t.Parallel()
	l := newLab(t, 1)
	l.vr(0, nil)
	f, v := l.fetcher(), &viewer{view: known(leases(l.lease(0)))}
	start := time.Now()
	for range 2 {
		if p, err := f.search(t.Context(), v); p != nil || !errors.Is(err, errNoVR) {
			t.Fatalf("got %v, %v", p, err)
		}
		if first := f.asked["lo"]; first.Before(start) || first.After(start.Add(silence)) {
			t.Errorf("first asked at %v, not at %v", first, start)
		}
		time.Sleep(silence - time.Since(start) + ms)
	}
}

// Not parallel: it counts the goroutines of the process.
func TestNothingIsLeftRunning(t *testing.T) {
	l := newLab(t, 3)
	l.vr(0, nil, vrtest.Fault{Hang: true})
	l.vr(1, nil)
	l.vr(2, example(), vrtest.Fault{Match: vrtest.Path(keyPath), Hang: true, Times: 1})
	time.Sleep(10 * time.Millisecond) // until they listen
	before := runtime.NumGoroutine()
	for _, timeout := range []time.Duration{1200 * time.Millisecond, limit} {
		ctx, cancel := context.WithTimeout(t.Context(), timeout)
		_, err := l.fetchWith(ctx, l.fetcher(), queue(known(leases(l.lease(0, 1, 2)))))
		cancel()
		if (err == nil) != (timeout == limit) {
			t.Fatal(err)
		}
	}
	// The VR would close idle connections itself, after 5 s.
	for end := time.Now().Add(2 * time.Second); runtime.NumGoroutine() > before; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			stacks := make([]byte, 1<<20)
			t.Fatalf("%d goroutines, %d before:\n%s", runtime.NumGoroutine(), before, stacks[:runtime.Stack(stacks, true)])
		}
	}
}
