package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

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
func (w *world) bootVirtual(ctx context.Context, console *os.File, cmdline []string, moment *cut) (wasCut bool, err error) {
	m := w.machine
	// The lab's mounts may hide the path.
	m.Console = fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), console.Fd())
	m.Append = strings.Join(cmdline, " ")
	vm, err := qemu.Start(ctx, m)
	if err != nil {
		return false, err
	}
	if moment != nil {
		if err := w.await(ctx, vm, *moment); err != nil {
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

// await waits for the moment at which the power fails.
func (w *world) await(ctx context.Context, vm *qemu.VM, moment cut) error {
	if moment.console != "" {
		return vm.Await(ctx, moment.console)
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		times := 0
		for _, r := range w.vr.Requests() {
			if r.DomURequest == moment.request {
				times++
			}
		}
		if times >= moment.times {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("cannot wait any longer for %s: %w", moment.request, context.Cause(ctx))
		case <-tick.C:
		}
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
