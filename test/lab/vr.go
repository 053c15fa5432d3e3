package lab

import (
	"context"
	"fmt"
	"net"
	"net/netip"

	"github.com/nm-cloud-seed/nm-cloud-seed/datasource/cloudstack/vrtest"
)

// ServeVR serves vr's metadata and passwords at the address of NIC i's virtual
// router, until ctx ends.
func (l *Lab) ServeVR(ctx context.Context, i int, vr *vrtest.VR) error {
	if err := l.Serve(ctx, i, netip.AddrPortFrom(l.VRAddr(i), 80), vr.ServeMetadata); err != nil {
		return err
	}
	return l.Serve(ctx, i, netip.AddrPortFrom(l.VRAddr(i), 8080), vr.ServePasswords)
}

// Serve listens on a TCP address in the network of NIC i's virtual router and
// starts serve with that listener, such as [vrtest.VR.ServeMetadata]. serve must
// close the listener and return when ctx ends. An error that it returns is
// written to the lab's logs.
func (l *Lab) Serve(ctx context.Context, i int, addr netip.AddrPort, serve func(context.Context, net.Listener) error) error {
	listener, err := l.Listen(i, addr.String())
	if err != nil {
		return fmt.Errorf("cannot serve on the router of eth%d: %w", i, err)
	}
	go func() {
		if err := serve(ctx, listener); err != nil {
			l.note(vrLog(i), fmt.Sprintf("cannot serve %v any longer: %v", addr, err))
		}
	}()
	return nil
}

func vrLog(i int) string { return netnsName(i) + ".log" }
