package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ackOption is DHCP's option 53, the message type: DHCPACK (RFC 2132, 9.6). A
// server puts it first, after the magic cookie.
var ackOption = []byte{99, 130, 83, 99, 53, 1, 5}

// sniff sends the time of each DHCPACK that leaves the virtual router, as the
// kernel stamps it: a program that reads signals or a log may come late. It
// has to be called in the router's network namespace.
func sniff(acks chan<- time.Time) error {
	vr0, err := net.InterfaceByName("vr0")
	if err != nil {
		return err
	}
	all := binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, unix.ETH_P_ALL))
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("cannot listen for DHCP: %w", err)
	}
	err = errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1),
		unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: vr0.Index}),
	)
	if err != nil {
		return errors.Join(fmt.Errorf("cannot listen for DHCP: %w", err), unix.Close(fd))
	}
	go func() { // until the process ends
		packet, control := make([]byte, 2048), make([]byte, 256)
		for {
			n, size, _, _, err := unix.Recvmsg(fd, packet, control, 0)
			if errors.Is(err, unix.EINTR) {
				continue
			}
			if err != nil {
				return // once then says that there was no DHCPACK
			}
			if bytes.Contains(packet[:n], ackOption) {
				acks <- stamp(control[:size])
			}
		}
	}()
	return nil
}

// stamp reads the kernel's time (SO_TIMESTAMPNS in socket(7)).
func stamp(control []byte) time.Time {
	messages, err := unix.ParseSocketControlMessage(control)
	for _, m := range messages {
		var t unix.Timespec
		if err == nil && m.Header.Type == unix.SCM_TIMESTAMPNS && len(m.Data) >= int(unsafe.Sizeof(t)) {
			t = *(*unix.Timespec)(unsafe.Pointer(&m.Data[0]))
			return time.Unix(t.Unix())
		}
	}
	return time.Now()
}
