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
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nm-cloud-seed/nm-cloud-seed/datasource/cloudstack/vrtest"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/lease"
)

func TestFetchGoesOnWhenTheViewsEnd(t *testing.T) {
	t.Parallel()
	for _, before := range []bool{false, true} {
		inFakeTime(t, fmt.Sprint("closed before: ", before), func(t *testing.T) {
			l := newPipeLab(t, 1)
			vr := l.vr(0, nil)
			views := queue(known(leases(l.lease(0))))
			if before {
				close(views)
			}
			time.AfterFunc(150*ms, func() {
				if !before {
					close(views)
				}
				vr.SetDefaultVM(example())
			})
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			if inst, err := l.fetchWith(ctx, l.fetcher(), views); err != nil || inst.ID != vmID {
				t.Errorf("got %v, %v, want instance %s", inst, err, vmID)
			}
		})
	}
}

// Without any view there is nothing to do but to wait; not in a busy loop.
func TestFetchWaitsWhenThereIsNoView(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newPipeLab(t, 1)
		views := queue()
		close(views)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		f, rounds := l.fetcher(), 0
		f.Status = func(string) {
			if rounds++; rounds > 10 { // in a busy loop, the second would never pass
				cancel()
			}
		}
		_, err := l.fetchWith(ctx, f, views)
		if want := ": NetworkManager is not on the bus"; err == nil || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("got %v, want ...%s", err, want)
		}
		if rounds > 10 {
			t.Errorf("got %d rounds in a second, want at most 10", rounds)
		}
	})
}

func TestFetchWaitsForALease(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newPipeLab(t, 1)
		l.vr(0, example())
		views := queue(known(nil, "lo"), known(nil, "lo"))
		start := time.Now()
		time.AfterFunc(700*ms, func() { views <- known(leases(l.lease(0))) })
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		defer cancel()
		_, err := l.fetchWith(ctx, l.fetcher(), views)
		if took := time.Since(start); err != nil || took != 700*ms {
			t.Errorf("got %v after %v, want the instance after 700 ms", err, took)
		}
		if want := "waiting for a lease: lo: activating"; !strings.Contains(l.heard(), want) {
			t.Errorf("got status %q, want %q in it", l.status, want)
		}
	})
}

// While the candidate is silent, the device gets another address, and maybe
// another server with it.
func TestFetchStartsOverWhenTheLeaseChanges(t *testing.T) {
	t.Parallel()
	for _, server := range []int{0, 1} {
		inFakeTime(t, fmt.Sprint("server ", server), func(t *testing.T) {
			l := newPipeLab(t, 2)
			before, after := l.lease(0), l.lease(server)
			after.Address = netip.MustParsePrefix("127.0.0.9/8")
			views := make(chan lease.View, 10) // more than there are requests: none may wait for a fetch that has ended
			views <- known(leases(before))
			hang := vrtest.Fault{Hang: true, Match: func(r vrtest.Request) bool {
				if r.Client == after.Address.Addr() {
					return false
				}
				views <- known(leases(after))
				return true
			}}
			vrs := []*vrtest.VR{l.vr(0, example(), hang), l.vr(1, example(), hang)}
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			start := time.Now()
			inst, err := l.fetchWith(ctx, l.fetcher(), views)
			if err != nil || inst.Origin.Server != l.addr(server) {
				t.Fatalf("got %v, %v, want the instance of %v", inst, err, l.addr(server))
			}
			if took := time.Since(start); took != 0 { // the silent request is not waited for
				t.Errorf("got the instance after %v, want it when the lease changes", took)
			}
			old := 0
			for _, r := range slices.Concat(vrs[0].Requests(), vrs[1].Requests()) {
				if r.Client != after.Address.Addr() {
					old++
				}
			}
			if old > 3 { // instance-id, index and user-data, before the lease changed
				t.Errorf("got %d requests from the old address, want at most 3", old)
			}
		})
	}
}

// A VR with another machine's data is none of ours, where ours is known. Where
// the configuration says so, it is taken all the same, with a warning.
func TestFetchRefusesAnotherMachinesData(t *testing.T) {
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
		inFakeTime(t, test.name, func(t *testing.T) {
			l := newPipeLab(t, 2)
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
					t.Errorf("got %v, %v, want an error with %q", inst, err, says)
				}
				return
			}
			if err != nil || inst.ID != test.want || inst.Metadata["instance-id"] != test.want {
				t.Fatalf("got %v, %v, want instance %s", inst, err, test.want)
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
func TestGraceIsCountedFromTheFirstRound(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newPipeLab(t, 1)
		l.vr(0, nil)
		f, v := l.fetcher(), &viewer{view: known(leases(l.lease(0)))}
		start := time.Now()
		for range 2 {
			if p, err := f.search(t.Context(), v); p != nil || !errors.Is(err, errNoVR) {
				t.Fatalf("got %v, %v, want %v", p, err, errNoVR)
			}
			if first := f.asked["lo"]; !first.Equal(start) {
				t.Errorf("got first asked at %v, want %v", first, start)
			}
			time.Sleep(silence + ms)
		}
	})
}

// Not parallel: it counts the goroutines of all bubbles. No time passes after
// the fetch: the VR would close idle connections itself, after 5 s.
func TestFetchLeavesNothingRunning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newPipeLab(t, 3)
		l.vr(0, nil, vrtest.Fault{Hang: true})
		l.vr(1, nil)
		l.vr(2, example(), vrtest.Fault{Match: vrtest.Path(keyPath), Hang: true, Times: 1})
		synctest.Wait() // until they listen
		_, before := bubbled()
		for _, timeout := range []time.Duration{1200 * ms, limit} {
			ctx, cancel := context.WithTimeout(t.Context(), timeout)
			_, err := l.fetchWith(ctx, l.fetcher(), queue(known(leases(l.lease(0, 1, 2)))))
			cancel()
			if (err == nil) != (timeout == limit) {
				t.Fatal(err)
			}
			synctest.Wait()
			if n := l.pipes.connections(); n > 0 {
				t.Errorf("after %v: got %d open connections, want 0", timeout, n)
			}
			if stacks, n := bubbled(); n > before {
				t.Fatalf("after %v: got %d goroutines, want %d:\n%s", timeout, n, before, stacks)
			}
		}
	})
}

// bubbled returns and counts the stacks of the goroutines in synctest bubbles:
// outside, the runtime and the testing package start some of their own.
func bubbled() (string, int) {
	buffer := make([]byte, 1<<22)
	stacks := slices.DeleteFunc(strings.Split(string(buffer[:runtime.Stack(buffer, true)]), "\n\n"), func(stack string) bool {
		head, _, _ := strings.Cut(stack, "\n")
		return !strings.Contains(head, "synctest bubble")
	})
	return strings.Join(stacks, "\n\n"), len(stacks)
}
