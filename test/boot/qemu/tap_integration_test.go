//go:build integration

package qemu

import (
	"context"
	"encoding/binary"
	"os"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nm-cloud-seed/nm-cloud-seed/test/lab"
)

const dhcpAt = 14 + 20 + 8 // after the headers of Ethernet, IPv4 and UDP

// A guest's DHCP client hears the lab's dnsmasq, with complete checksums, also
// the guest that comes after the first.
func TestGuestHasTheLabsNIC(t *testing.T) {
	lab.Run(t, lab.Config{NoNM: true}, func(l *lab.Lab) {
		for range 2 {
			wires, taps, err := plug(t.Context(), []string{"eth0"})
			if err != nil {
				t.Fatal(err)
			}
			if len(wires) != 1 || wires[0].mac != l.MAC(0) || wires[0].fd != 3 {
				t.Errorf("QEMU gets %v", wires)
			}
			if _, err := taps[0].Write(discover()); err != nil {
				t.Fatal(err)
			}
			offer := receive(t, taps[0], func(frame []byte) bool {
				return len(frame) > dhcpAt+20 && frame[23] == unix.IPPROTO_UDP && frame[dhcpAt] == 2
			})
			if got, want := offer[dhcpAt+16:dhcpAt+20], l.ClientAddr(0).As4(); !slices.Equal(got, want[:]) {
				t.Errorf("offered: %v", got)
			}
			if sum := udpSum(offer); sum != 0xffff {
				t.Errorf("the sum is %#x: the checksum is wrong", sum)
			}
			closeAll(taps)
		}
	})
}

// receive returns the first frame that is wanted.
func receive(t *testing.T, tap *os.File, wanted func(frame []byte) bool) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for buf := make([]byte, 2000); ctx.Err() == nil; {
		ready, err := unix.Poll([]unix.PollFd{{Fd: int32(tap.Fd()), Events: unix.POLLIN}}, 100)
		if err != nil || ready == 0 {
			continue
		}
		n, err := tap.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		if wanted(buf[:n]) {
			return buf[:n]
		}
	}
	t.Fatal("nothing came")
	return nil
}

// discover is a DHCPDISCOVER (RFC 2131) of the lab's VM as a frame.
func discover() []byte {
	mac := []byte{2, 0, 0, 0, 1, 0}
	dhcp := make([]byte, 240, 300)
	copy(dhcp, []byte{1, 1, 6, 0, 'x', 'i', 'd', '!'})
	copy(dhcp[28:], mac)
	copy(dhcp[236:], []byte{99, 130, 83, 99})
	dhcp = append(dhcp, 53, 1, 1, 255)[:300]

	udp := binary.BigEndian.AppendUint16([]byte{0, 68, 0, 67}, uint16(8+len(dhcp)))
	udp = append(udp, 0, 0) // no checksum
	ip := []byte{0x45, 0, 0, 0, 0, 0, 0, 0, 64, unix.IPPROTO_UDP, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255}
	binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)+len(udp)+len(dhcp)))
	binary.BigEndian.PutUint16(ip[10:], ^sum(0, ip))
	return slices.Concat([]byte{255, 255, 255, 255, 255, 255}, mac, []byte{8, 0}, ip, udp, dhcp)
}

// udpSum is what RFC 768 sums up, 0xffff if the checksum in it is right.
func udpSum(frame []byte) uint16 {
	udp := frame[34:]
	udp = udp[:binary.BigEndian.Uint16(udp[4:])]
	return sum(unix.IPPROTO_UDP+uint32(len(udp)), slices.Concat(frame[26:34], udp))
}

// sum is the internet checksum's sum (RFC 1071).
func sum(start uint32, b []byte) uint16 {
	if len(b)%2 == 1 {
		b = append(slices.Clone(b), 0)
	}
	for i := 0; i < len(b); i += 2 {
		start += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for start > 0xffff {
		start = start>>16 + start&0xffff
	}
	return uint16(start)
}
