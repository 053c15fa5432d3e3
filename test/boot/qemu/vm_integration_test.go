//go:build integration

package qemu

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"
)

const limit = 10 * time.Minute // only a machine that hangs takes that long

func bounded(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	t.Cleanup(cancel)
	return ctx
}

func TestBootReportsHowTheGuestEnded(t *testing.T) {
	for want, then := range map[End][]byte{PoweredOff: powerOff, Reset: reset} {
		t.Run(string(want), func(t *testing.T) {
			m := machine(t, "hello", then)
			end, err := Boot(bounded(t), m)
			if end != want || err != nil {
				t.Errorf("got the end %q (%v), want %q", end, err, want)
			}
			if console, err := os.ReadFile(m.Console); string(console) != "hello" {
				t.Errorf("got the console %q (%v), want %q", console, err, "hello")
			}
		})
	}
}

func TestPowerCutEndsTheGuest(t *testing.T) {
	vm, err := Start(bounded(t), machine(t, "now", hang))
	if err != nil {
		t.Fatal(err)
	}
	if err := vm.Await(bounded(t), "now"); err != nil {
		t.Error(err)
	}
	vm.PowerCut()
	vm.PowerCut() // is over already
	if end, err := vm.Wait(); end != PowerCut || err != nil {
		t.Errorf("got the end %q (%v), want %q", end, err, PowerCut)
	}
}

func TestPowerCutAfterTheEndChangesNothing(t *testing.T) {
	vm, err := Start(bounded(t), machine(t, "", powerOff))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := vm.Wait(); err != nil {
		t.Fatal(err)
	}
	vm.PowerCut()
	if end, err := vm.Wait(); end != PoweredOff || err != nil {
		t.Errorf("got the end %q (%v), want %q", end, err, PoweredOff)
	}
}

func TestHangingGuestIsKilledWithTheContext(t *testing.T) {
	m := machine(t, "so far", hang)
	ctx, cancel := context.WithCancelCause(bounded(t))
	vm, err := Start(ctx, m)
	if err != nil {
		t.Fatal(err)
	}
	if err := vm.Await(ctx, "so far"); err != nil {
		t.Fatal(err)
	}
	enough := errors.New("enough")
	cancel(enough)
	if end, err := vm.Wait(); end != "" || !errors.Is(err, enough) {
		t.Errorf("got the end %q (%v), want none and %v", end, err, enough)
	}
	if console, err := os.ReadFile(m.Console); string(console) != "so far" {
		t.Errorf("got the console %q (%v), want %q", console, err, "so far")
	}
}

func TestAwaitEndsWhenTheConsoleShowsTheText(t *testing.T) {
	m := machine(t, "a line", powerOff)
	// Of an earlier machine.
	if err := os.WriteFile(m.Console, []byte("another line"), 0o600); err != nil {
		t.Fatal(err)
	}
	vm, err := Start(bounded(t), m)
	if err != nil {
		t.Fatal(err)
	}
	if err := vm.Await(bounded(t), "another line"); err == nil || !strings.Contains(err.Error(), "has ended") {
		t.Errorf("for a text that never comes: got %v, want that the guest has ended", err)
	}
	if err := vm.Await(bounded(t), "a line"); err != nil {
		t.Errorf("after the end of the guest: got %v, want none", err)
	}
}

func TestAwaitFailsWhenTheContextEnds(t *testing.T) {
	vm, err := Start(bounded(t), machine(t, "", hang))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := vm.Await(ctx, "more"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want %v", err, context.DeadlineExceeded)
	}
	vm.PowerCut()
}

func TestStartFailsWithoutKernelOrConsole(t *testing.T) {
	for name, spoil := range map[string]func(*Machine){
		"no kernel":  func(m *Machine) { m.Kernel += "x" },
		"no disk":    func(m *Machine) { m.Disk = m.Kernel + "x" },
		"no console": func(m *Machine) { m.Console = m.Kernel + "/console" },
		"no device":  func(m *Machine) { m.NICs = []string{"none"} },
	} {
		t.Run(name, func(t *testing.T) {
			m := machine(t, "", hang)
			spoil(&m)
			if end, err := Boot(bounded(t), m); end != "" || err == nil || !strings.HasPrefix(err.Error(), "cannot ") {
				t.Errorf("got the end %q (%v), want none and an error", end, err)
			}
		})
	}
}

// A kernel that gets nowhere under KVM, if there is a /dev/kvm, is TCG's.
func TestFastestUsesKVMOnlyIfItBoots(t *testing.T) {
	if accel, err := Fastest(bounded(t), machine(t, "", hang).Kernel); accel != TCG || err != nil {
		t.Errorf("got %q (%v), want %q", accel, err, TCG)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := os.Stat("/dev/kvm"); err != nil {
		return
	}
	if _, err := Fastest(ctx, machine(t, "", hang).Kernel); !errors.Is(err, context.Canceled) {
		t.Errorf("after the end of the context: got %v, want %v", err, context.Canceled)
	}
}

func TestMissingProgramIsNamedWithItsPackage(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	for name, pkg := range packages {
		if _, err := run(t.Context(), name); err == nil || !strings.Contains(err.Error(), "install the Debian package "+pkg) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
