package qemu

import (
	"context"
	"os"
	"path/filepath"
	"time"
)

// Accel is what runs the guest's instructions.
type Accel string

// The accelerators.
const (
	KVM Accel = "kvm" // the processor
	TCG Accel = "tcg" // QEMU
)

// processor is the one that a guest sees. To emulate QEMU's newest one costs a
// third of a boot: it is no Intel, so that Linux does not trust its clock, and
// each look at the time becomes a system call and an exit to QEMU; then there
// are page tables of five levels and wide registers. This one is the oldest
// that has all that the distributions ask for (x86-64-v2), but for CMPXCHG16B:
// QEMU 7.2 gets its flags wrong now and then, and Debian 13's kernel, which uses
// it in kmalloc, dies of a double fault.
func (a Accel) processor() string {
	if a == TCG {
		return "Nehalem,cx16=off"
	}
	return "max"
}

// probeLimit is plenty for KVM, which takes less than a second.
const probeLimit = 3 * time.Second

// Fastest returns KVM if it runs this kernel, else TCG. /dev/kvm proves
// nothing: some clouds have one on which QEMU starts and no kernel gets
// anywhere. So a machine without a disk has to reach the panic for the want of
// one. Finding out takes up to 3 s where there is a /dev/kvm: once is enough.
func Fastest(ctx context.Context, kernel string) (Accel, error) {
	f, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	if err != nil {
		return TCG, nil
	}
	f.Close()
	dir, err := os.MkdirTemp("", "qemu-probe-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	limited, cancel := context.WithTimeout(ctx, probeLimit)
	defer cancel()
	end, err := Boot(limited, Machine{Kernel: kernel, Console: filepath.Join(dir, "console"), Accel: KVM})
	if ctx.Err() != nil {
		return "", err
	}
	if err != nil || end != Reset {
		return TCG, nil
	}
	return KVM, nil
}
