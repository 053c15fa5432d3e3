package lab

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
)

// operUp is IF_OPER_UP of linux/if.h, which golang.org/x/sys/unix does not have.
const operUp = 6

// routerIndex is the interface index of vr0. It must not be that of its peer:
// the kernel compares the two, without regard to their namespaces, and if they
// are the same it takes up to 1 s to notice a change of the carrier
// (linkwatch_urgent_event in net/core/link_watch.c).
const routerIndex = 1000

// nic is a NIC as it stands.
type nic struct {
	NIC
	present atomic.Bool

	mu   sync.Mutex // for the rest: one start or stop at a time
	dhcp *process
	slow *slowServer
	deaf func() // ends the deaf server in front of dnsmasq, if there is one
	due  int    // DISCOVERs still to be dropped
}

// ip runs one or more commands of ip(8) in a network namespace.
func ip(netns string, lines ...string) error {
	cmd := command(context.Background(), "ip", "-n", netns, "-batch", "-")
	cmd.Stdin = strings.NewReader(strings.Join(lines, "\n") + "\n")
	if _, err := output(cmd); err != nil {
		return fmt.Errorf("%w (input: %s)", err, strings.Join(lines, "; "))
	}
	return nil
}

// AddNIC plugs in a card that was Absent at the start.
func (l *Lab) AddNIC(i int) error {
	n, err := l.nic(i)
	if err != nil {
		return err
	}
	if n.present.Load() {
		return fmt.Errorf("cannot add eth%d: it is there already", i)
	}
	eth, vr := deviceName(i), netnsName(i)
	lines := []string{
		"link set lo up",
		fmt.Sprintf("link add vr0 index %d address %s type veth peer name %s address %s",
			routerIndex, routerMAC(i), eth, clientMAC(i)),
		// The first address is the one that dnsmasq takes as its own.
		fmt.Sprintf("addr add %v/%d brd + dev vr0", n.ServerID, n.Net.Bits()),
	}
	for _, a := range n.ExtraAddrs {
		lines = append(lines, fmt.Sprintf("addr add %v dev vr0", a))
	}
	// First the card, then the cable, so that the router's end is ready when
	// the VM sees a carrier; and before both dnsmasq, which can do without.
	if err := ip(vr, lines...); err != nil {
		return err
	}
	n.present.Store(true)
	if !n.NoDHCP {
		if err := l.StartDHCP(i); err != nil {
			return err
		}
	}
	if err := ip(vr, fmt.Sprintf("link set %s netns %s", eth, vmNetns)); err != nil {
		return err
	}
	if err := ip(vmNetns, fmt.Sprintf("link set %s up", eth)); err != nil {
		return err
	}
	return l.SetCarrier(i, !n.NoCarrier)
}

// SetCarrier plugs the cable of NIC i in or out, by taking the virtual router's
// end up or down. It returns when both ends have noticed.
func (l *Lab) SetCarrier(i int, on bool) error {
	n, err := l.nic(i)
	if err != nil {
		return err
	}
	if !n.present.Load() {
		return fmt.Errorf("cannot set the carrier of eth%d: it is absent", i)
	}
	state := map[bool]string{true: "up", false: "down"}[on]
	if err := ip(netnsName(i), "link set vr0 "+state); err != nil {
		return err
	}
	return l.awaitCarrier(i, on)
}

// awaitCarrier waits until both ends of a cable are up, or the VM's is down.
// Neither is at once, and until the kernel has activated the queue of an end
// (dev_activate, from linkwatch_do_dev) what that sends is lost. A DHCP client
// asks again only after seconds.
func (l *Lab) awaitCarrier(i int, on bool) error {
	reached := func(device string) func() (bool, error) {
		return func() (bool, error) {
			state, err := operState(device)
			return (state == operUp) == on, err
		}
	}
	if on {
		err := inNetns(netnsName(i), func() error {
			return await(fmt.Sprintf("the router's end of eth%d", i), nil, reached("vr0"))
		})
		if err != nil {
			return err
		}
	}
	return await(fmt.Sprintf("the carrier of eth%d", i), nil, reached(deviceName(i)))
}

// nic is NIC i.
func (l *Lab) nic(i int) (*nic, error) {
	if i < 0 || i >= len(l.nics) {
		return nil, fmt.Errorf("cannot use eth%d: the lab has %d NICs", i, len(l.nics))
	}
	return l.nics[i], nil
}

// ClientAddr is the address that the virtual router of NIC i gives to the VM.
func (l *Lab) ClientAddr(i int) netip.Addr { return l.nics[i].client() }

// VRAddr is the own address of NIC i's virtual router, the server identifier.
func (l *Lab) VRAddr(i int) netip.Addr { return l.nics[i].ServerID }

// MAC is the hardware address of NIC i.
func (l *Lab) MAC(i int) string { return clientMAC(i) }
