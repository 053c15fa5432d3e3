package qemu

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"
)

const pollingStep = 20 * time.Millisecond // for the console, which nobody announces

// End says how a machine ended.
type End string

// The ends of a machine.
const (
	PoweredOff End = "powered off"
	Reset      End = "reset" // rebooted, or the kernel panicked
	PowerCut   End = "power cut"
)

// VM is a running machine.
type VM struct {
	machine Machine
	ctx     context.Context
	cut     atomic.Bool
	kill    context.CancelFunc
	done    chan struct{} // closed when the rest is known
	end     End
	err     error
}

// Boot starts a machine and waits for its end. It is an error if ctx ends first.
func Boot(ctx context.Context, m Machine) (End, error) {
	vm, err := Start(ctx, m)
	if err != nil {
		return "", err
	}
	return vm.Wait()
}

// Start starts a machine, which is killed when ctx ends or this process dies.
func Start(ctx context.Context, m Machine) (*VM, error) {
	if m.Accel == "" {
		accel, err := Fastest(ctx, m.Kernel)
		if err != nil {
			return nil, err
		}
		m.Accel = accel
	}
	path, err := find("qemu-system-x86_64")
	if err != nil {
		return nil, err
	}
	// An old console must not be taken for this machine's.
	if err := os.WriteFile(m.Console, nil, 0o644); err != nil {
		return nil, fmt.Errorf("cannot make the console: %w", err)
	}
	wires, taps, err := plug(ctx, m.NICs)
	defer closeAll(taps) // QEMU has its own
	if err != nil {
		return nil, err
	}
	vm := &VM{machine: m, ctx: ctx, done: make(chan struct{})}
	ctx, vm.kill = context.WithCancel(ctx)
	cmd := exec.CommandContext(ctx, path, m.args(m.Accel, wires)...)
	cmd.ExtraFiles = taps
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	go vm.run(cmd, started)
	if err := <-started; err != nil {
		vm.kill()
		return nil, fmt.Errorf("cannot start QEMU: %w", err)
	}
	return vm, nil
}

// run runs QEMU from a thread that lives as long: Pdeathsig is about the thread
// that started it (https://go.dev/issue/27505).
func (vm *VM) run(cmd *exec.Cmd, started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var stderr bytes.Buffer
	var requests io.Writer
	cmd.Stderr = &stderr
	events, err := cmd.StdoutPipe()
	if err == nil {
		requests, err = cmd.StdinPipe()
	}
	if err == nil {
		err = cmd.Start()
	}
	started <- err
	if err != nil {
		return
	}
	defer close(vm.done)
	defer vm.kill()
	// Not as a file, as QEMU may drop what it has not dealt with at the end of
	// that. If it is gone already, that shows below.
	_, _ = io.WriteString(requests, qmpStart)
	reason := shutdownReason(events)
	_ = cmd.Wait() // ProcessState has it
	switch {
	case reason == "guest-shutdown":
		vm.end = PoweredOff
	case reason == "guest-reset", reason == "guest-panic":
		vm.end = Reset
	case vm.cut.Load():
		vm.end = PowerCut
	case vm.ctx.Err() != nil:
		vm.err = fmt.Errorf("cannot wait any longer for the guest to power off: %w", context.Cause(vm.ctx))
	default:
		vm.err = fmt.Errorf("cannot run QEMU: it ended by itself (%q, %v): %s",
			reason, cmd.ProcessState, bytes.TrimSpace(stderr.Bytes()))
	}
}

// Wait waits for the machine's end.
func (vm *VM) Wait() (End, error) {
	<-vm.done
	return vm.end, vm.err
}

// PowerCut ends the machine as a power cut does: what the guest has not
// written to its disk is lost. It returns when the machine is gone.
func (vm *VM) PowerCut() {
	vm.cut.Store(true)
	vm.kill()
	<-vm.done
}

// Await waits until the console has shown text.
func (vm *VM) Await(ctx context.Context, text string) error {
	tick := time.NewTicker(pollingStep)
	defer tick.Stop()
	for ended := false; ; {
		console, err := os.ReadFile(vm.machine.Console)
		switch {
		case err != nil:
			return fmt.Errorf("cannot read the console: %w", err)
		case bytes.Contains(console, []byte(text)):
			return nil
		case ended:
			_, err := vm.Wait()
			return errors.Join(fmt.Errorf("cannot find %q on the console: the machine has ended", text), err)
		}
		select {
		case <-tick.C:
		case <-vm.done:
			ended = true // and may have shown it just before
		case <-ctx.Done():
			return fmt.Errorf("cannot wait any longer for %q on the console: %w", text, context.Cause(ctx))
		}
	}
}
