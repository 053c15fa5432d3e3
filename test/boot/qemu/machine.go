// Package qemu boots a Debian root file system as a virtual machine, for what a
// container cannot show: DMI, the kernel's command line, real devices, and a
// power cut.
//
//	kernel, initrd, err := qemu.Kernel(root)
//	err = qemu.MakeDisk(ctx, root, "disk.img", 2048)
//	end, err := qemu.Boot(ctx, qemu.Machine{Disk: "disk.img", Kernel: kernel, Initrd: initrd,
//		Console: "console.log", Product: "CloudStack KVM Hypervisor", NICs: []string{"eth0"}})
//	err = qemu.Extract(ctx, "disk.img", "/var/log", "results")
//
// It takes root. Nothing is mounted and no loop device is needed. In a lab (see
// the package of that name, with NoNM) a guest stands in for the lab's own VM:
//
//	┌─ guest ─┐            ┌─ netns "vm" ─┐   ┌ netns "vr0" ┐
//	│  enp0s3 ╪═ QEMU ═ tap ─── tc ─── eth0 ─── vr0 dnsmasq │
//	└─────────┘            └──────────────┘   └─────────────┘
package qemu

import (
	"cmp"
	"fmt"
	"strings"
)

// Machine is a virtual machine. Disk, Kernel and Console have to be set.
type Machine struct {
	Disk           string // an image of MakeDisk's, which the guest writes to
	Kernel, Initrd string // see the function Kernel
	Append         string // added to the kernel's command line
	Console        string // a new file for what the guest writes to /dev/ttyS0

	// Disks are further images, whatever is on them: /dev/vda and so on.
	Disks []string

	Manufacturer, Product, UUID string // what DMI says

	// NICs are network devices of this process's namespace that the guest
	// takes over, each with its hardware address.
	NICs []string

	MemoryMB int   // 1024 if zero
	Accel    Accel // found out if empty, see Fastest
}

// wire is a NIC as QEMU gets it.
type wire struct {
	mac string
	fd  int
}

// args is QEMU's command line. What it does not name, the machine does not have.
func (m Machine) args(accel Accel, wires []wire) []string {
	args := []string{
		"-nodefaults", "-no-user-config", "-display", "none",
		"-machine", "q35", "-accel", string(accel), "-cpu", accel.processor(),
		// One processor: emulated, two that wait for each other take twice as long.
		"-smp", "1", "-m", fmt.Sprint(cmp.Or(m.MemoryMB, 1024)),
		// What happens is told here, see qmp.go. A reset ends QEMU.
		"-qmp", "stdio", "-no-reboot",
		"-chardev", "file,id=console,path=" + escape(m.Console), "-serial", "chardev:console",
		"-kernel", m.Kernel, "-append", m.commandLine(),
		"-device", "virtio-rng-pci", // else the first boot waits for entropy
	}
	if m.Initrd != "" {
		args = append(args, "-initrd", m.Initrd)
	}
	if m.Disk != "" {
		// unsafe: a guest's fsync does not wait for this machine's disk. What the
		// guest has written is in this machine's memory, which a power cut of
		// the guest leaves as it is.
		args = append(args, "-drive", "if=none,id=disk,format=raw,cache=unsafe,file="+escape(m.Disk),
			"-device", "nvme,drive=disk,serial=1")
	}
	for i, disk := range m.Disks {
		args = append(args, "-drive", fmt.Sprintf("if=none,id=disk%d,format=raw,cache=unsafe,file=%s", i, escape(disk)),
			"-device", fmt.Sprintf("virtio-blk-pci,drive=disk%d", i))
	}
	if dmi := m.dmi(); dmi != "" {
		args = append(args, "-smbios", dmi)
	}
	for i, w := range wires {
		args = append(args, "-netdev", fmt.Sprintf("tap,id=net%d,fd=%d", i, w.fd),
			"-device", fmt.Sprintf("virtio-net-pci,netdev=net%d,mac=%s,romfile=", i, w.mac))
	}
	return args
}

// commandLine returns the kernel's command line. A panic ends the machine as a reset
// does, and nothing in it needs protection from the rest. systemd's own 90 s for a
// device or a unit without a limit are not enough where emulation is slow.
// https://www.freedesktop.org/software/systemd/man/latest/kernel-command-line.html
func (m Machine) commandLine() string {
	return strings.TrimSpace("root=/dev/nvme0n1 rw console=ttyS0 panic=-1 mitigations=off " +
		"systemd.default_device_timeout_sec=900 systemd.default_timeout_start_sec=900 " + m.Append)
}

func (m Machine) dmi() string {
	var dmi strings.Builder
	for _, f := range []struct{ name, value string }{
		{"manufacturer", m.Manufacturer}, {"product", m.Product}, {"uuid", m.UUID},
	} {
		if f.value != "" {
			fmt.Fprintf(&dmi, ",%s=%s", f.name, escape(f.value))
		}
	}
	if dmi.Len() == 0 {
		return ""
	}
	return "type=1" + dmi.String()
}

// escape writes a value as QEMU's options want it.
func escape(value string) string { return strings.ReplaceAll(value, ",", ",,") }
