package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/nm-cloud-seed/nm-cloud-seed/test/boot/qemu"
)

// Sizes of the images, which are sparse.
const (
	diskMB    = 3072
	furtherMB = 64
)

// build makes a virtual machine of the image.
func (w *world) build(ctx context.Context) (err error) {
	m := *w.virtual
	m.NICs = w.devices()
	if m.Kernel, m.Initrd, err = qemu.Kernel(w.image.root); err != nil {
		return err
	}
	if m.Accel, err = qemu.Fastest(ctx, m.Kernel); err != nil {
		return err
	}
	if w.disk {
		m.Disks = []string{filepath.Join(imageDir, "further.img")}
		if err := os.WriteFile(m.Disks[0], nil, 0o600); err != nil {
			return err
		}
		if err := os.Truncate(m.Disks[0], furtherMB<<20); err != nil {
			return err
		}
	}
	m.Disk = filepath.Join(imageDir, "disk.img")
	w.machine = m
	return qemu.MakeDisk(ctx, w.image.root, m.Disk, diskMB)
}

// bootVirtual boots the machine until it powers off, and copies what there is
// to see from its disk back to the image. After a power cut there is nothing.
func (w *world) bootVirtual(ctx context.Context, console *os.File, cmdline []string, dir string, b boot) (wasCut bool, err error) {
	m := w.machine
	if w.machines {
		m.NICs = m.NICs[b.on:][:1]
		m.UUID = []string{instance, otherInstance}[b.on]
	}
	// The lab's mounts may hide the path.
	m.Console = fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), console.Fd())
	m.Append = strings.Join(cmdline, " ")
	vm, err := qemu.Start(ctx, m)
	if err != nil {
		return false, err
	}
	if b.cut != nil {
		alive, ended := context.WithCancelCause(ctx)
		go func() {
			_, _ = vm.Wait() // again below
			ended(errors.New("the machine has ended"))
		}()
		if err := w.await(alive, dir, *b.cut); err != nil {
			return false, err
		}
		vm.PowerCut()
	}
	switch end, err := vm.Wait(); {
	case err == nil && end == qemu.PowerCut:
		return true, nil
	case err == nil && end != qemu.PoweredOff:
		err = fmt.Errorf("the machine did not power off: %s", end)
		fallthrough
	default:
		return false, errors.Join(err, w.copyBack(context.WithoutCancel(ctx)))
	}
}

// copyBack replaces the image's report and journal by the disk's.
func (w *world) copyBack(ctx context.Context) (err error) {
	for _, dir := range []string{guestReport, "/var/log/journal"} {
		to := w.image.path(dir)
		err = errors.Join(err, os.RemoveAll(to), qemu.Extract(ctx, w.machine.Disk, dir, filepath.Dir(to)))
	}
	return err
}
