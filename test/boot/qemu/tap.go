package qemu

import (
	"context"
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// firstFD is the first of exec.Cmd's ExtraFiles in the new process.
const firstFD = 3

// plug makes a tap for each device. They disappear when they are closed.
func plug(ctx context.Context, devices []string) (wires []wire, taps []*os.File, err error) {
	for i, device := range devices {
		nic, err := net.InterfaceByName(device)
		if err != nil {
			return nil, taps, fmt.Errorf("cannot give %s to a guest: %w", device, err)
		}
		tap, err := openTap("tap-" + device)
		if err != nil {
			return nil, taps, fmt.Errorf("cannot give %s to a guest: %w", device, err)
		}
		taps = append(taps, tap)
		if err := join(ctx, device, "tap-"+device); err != nil {
			return nil, taps, fmt.Errorf("cannot give %s to a guest: %w", device, err)
		}
		wires = append(wires, wire{nic.HardwareAddr.String(), firstFD + i})
	}
	return wires, taps, nil
}

// openTap makes a tap in this process's network namespace. It has no
// IFF_VNET_HDR: so the kernel completes the checksums that it leaves open on a
// veth pair, and a DHCP client that looks at them hears dnsmasq.
func openTap(name string) (*os.File, error) {
	const device = "/dev/net/tun"
	fd, err := unix.Open(device, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("cannot open %s: %w", device, err)
	}
	f := os.NewFile(uintptr(fd), device)
	ifreq, err := unix.NewIfreq(name)
	if err == nil {
		ifreq.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, ifreq)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("cannot make %s: %w", name, err)
	}
	return f, nil
}

// join makes one cable of two devices: whatever comes in at one goes out at the
// other, and this machine's own network stack sees nothing of it, also after
// the guest's end. That is less than a bridge, which would take the guest's hardware address, the first
// device's, for its own.
func join(ctx context.Context, a, b string) error {
	if _, err := run(ctx, "ip", "link", "set", b, "up"); err != nil {
		return err
	}
	for _, d := range [][2]string{{a, b}, {b, a}} {
		// From an earlier machine; there may be none.
		_, _ = run(ctx, "tc", "qdisc", "del", "dev", d[0], "ingress")
		if _, err := run(ctx, "tc", "qdisc", "add", "dev", d[0], "ingress"); err != nil {
			return err
		}
		// All that u32 can match, as not every kernel has matchall.
		if _, err := run(ctx, "tc", "filter", "add", "dev", d[0], "parent", "ffff:", "protocol", "all",
			"u32", "match", "u32", "0", "0", "action", "mirred", "egress", "redirect", "dev", d[1]); err != nil {
			return err
		}
	}
	return nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}
