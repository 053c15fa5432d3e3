package lab

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"
)

// slowServer is a small DHCP server (RFC 2131) that takes its time for each
// DHCPOFFER. dnsmasq's own --dhcp-reply-delay does not serve here: it handles
// nothing else meanwhile, so that the DISCOVERs of a client that asks again
// queue up and each waits for those before it, as on no slow network.
type slowServer struct {
	nic  NIC
	mac  net.HardwareAddr
	conn net.PacketConn
	log  func(text string)

	mu      sync.Mutex
	pending []*time.Timer
}

// Message types of option 53, and options (RFC 2132).
const (
	dhcpDiscover, dhcpOffer, dhcpRequest, dhcpAck, dhcpNak = 1, 2, 3, 5, 6

	optionMask, optionRouter, optionDNS, optionHostname, optionDomain         = 1, 3, 6, 12, 15
	optionRequested, optionLeaseTime, optionType, optionServerID, optionClose = 50, 51, 53, 54, 255
)

// optionsAt is where the options of a BOOTP packet start, behind the cookie.
const optionsAt = 240

var magicCookie = []byte{99, 130, 83, 99}

// listenDHCP opens the server's socket on a NIC's router.
func listenDHCP(i int) (conn net.PacketConn, err error) {
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
		// For broadcasts without a route.
		controlErr := c.Control(func(fd uintptr) { err = syscall.BindToDevice(int(fd), "vr0") })
		if controlErr != nil {
			return controlErr
		}
		return err
	}}
	err = inNetns(netnsName(i), func() (err error) {
		conn, err = lc.ListenPacket(context.Background(), "udp4", ":67")
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("cannot listen for DHCP on the router of eth%d: %w", i, err)
	}
	return conn, nil
}

// serve answers until the connection is closed.
func (s *slowServer) serve() {
	buf := make([]byte, 1500)
	for {
		size, _, err := s.conn.ReadFrom(buf)
		if err != nil {
			return // closed
		}
		request := bytes.Clone(buf[:size])
		answer := s.answer(request)
		if answer == nil {
			continue
		}
		if messageType(answer) == dhcpOffer {
			s.log("DHCPDISCOVER(vr0) " + s.mac.String())
			s.mu.Lock()
			s.pending = append(s.pending, time.AfterFunc(s.nic.OfferDelay, func() { s.send(answer) }))
			s.mu.Unlock()
			continue
		}
		s.send(answer)
	}
}

func (s *slowServer) send(answer []byte) {
	name := map[byte]string{dhcpOffer: "DHCPOFFER", dhcpAck: "DHCPACK", dhcpNak: "DHCPNAK"}[messageType(answer)]
	s.log(fmt.Sprintf("%s(vr0) %v %v", name, s.nic.client(), s.mac))
	if _, err := s.conn.WriteTo(answer, &net.UDPAddr{IP: net.IPv4bcast, Port: 68}); err != nil {
		s.log("cannot send it: " + err.Error()) // no carrier, or closed
	}
}

func (s *slowServer) close() {
	s.conn.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.pending {
		t.Stop()
	}
}

// answer is the answer to a request, nil for none: known hardware addresses
// only, as a virtual router does it.
func (s *slowServer) answer(request []byte) []byte {
	if len(request) < optionsAt || request[0] != 1 || !bytes.Equal(request[28:34], s.mac) {
		return nil
	}
	options := dhcpOptions(request)
	client, server := s.nic.client().AsSlice(), s.nic.ServerID.AsSlice()
	var kind byte
	switch messageType(request) {
	case dhcpDiscover:
		kind = dhcpOffer
	case dhcpRequest:
		if id, ok := options[optionServerID]; ok && !bytes.Equal(id, server) {
			return nil // the client chose another server
		}
		wanted, ok := options[optionRequested]
		if !ok {
			wanted = request[12:16] // ciaddr: renewing
		}
		if kind = dhcpAck; !bytes.Equal(wanted, client) {
			kind = dhcpNak
		}
	default:
		return nil
	}

	a := make([]byte, optionsAt)
	a[0], a[1], a[2] = 2, 1, 6
	copy(a[4:8], request[4:8]) // xid
	copy(a[10:12], request[10:12])
	copy(a[28:44], request[28:44])
	copy(a[236:], magicCookie)
	option := func(code byte, value ...byte) { a = append(append(a, code, byte(len(value))), value...) }
	option(optionType, kind)
	option(optionServerID, server...)
	if kind != dhcpNak {
		copy(a[16:20], client)
		copy(a[20:24], server)
		option(optionLeaseTime, 255, 255, 255, 255)
		option(optionMask, net.CIDRMask(s.nic.Net.Bits(), 32)...)
		option(optionHostname, []byte(s.nic.Hostname)...)
		if !s.nic.NonDefault {
			if !s.nic.NoDomain {
				option(optionDomain, []byte(s.nic.Domain)...)
			}
			if !s.nic.NoRouter {
				option(optionRouter, s.nic.Router.AsSlice()...)
			}
			if len(s.nic.DNS) > 0 {
				option(optionDNS, addrBytes(s.nic.DNS)...)
			}
		}
	}
	return append(a, optionClose)
}

func addrBytes(addrs []netip.Addr) (b []byte) {
	for _, a := range addrs {
		b = binary.BigEndian.AppendUint32(b, binary.BigEndian.Uint32(a.AsSlice()))
	}
	return b
}

// dhcpOptions are the options of a packet, as far as they are whole.
func dhcpOptions(packet []byte) map[byte][]byte {
	options := make(map[byte][]byte)
	if len(packet) < optionsAt {
		return options
	}
	for rest := packet[optionsAt:]; len(rest) > 0 && rest[0] != optionClose; {
		if rest[0] == 0 { // padding
			rest = rest[1:]
			continue
		}
		if len(rest) < 2 || len(rest) < 2+int(rest[1]) {
			break
		}
		options[rest[0]] = rest[2 : 2+int(rest[1])]
		rest = rest[2+int(rest[1]):]
	}
	return options
}

// messageType is option 53, 0 if there is none.
func messageType(packet []byte) byte {
	if v := dhcpOptions(packet)[optionType]; len(v) == 1 {
		return v[0]
	}
	return 0
}
