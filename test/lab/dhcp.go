package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"syscall"
)

// dnsmasqArgs makes dnsmasq answer as a CloudStack virtual router does: known
// hardware addresses only, leases without an end.
func dnsmasqArgs(i int, n NIC) []string {
	args := []string{
		"--no-daemon", // in the foreground, without changing the user, logging to stderr
		"--conf-file=/dev/null", "--pid-file=", "--no-resolv", "--no-hosts",
		"--interface=vr0", "--except-interface=lo", "--bind-interfaces",
		"--domain=" + n.Domain, "--local=/" + n.Domain + "/",
		"--log-facility=-",
	}
	if n.OfferDelay == 0 { // otherwise slowServer does it
		args = append(args,
			"--leasefile-ro", "--dhcp-authoritative", "--log-dhcp",
			"--no-ping", // pinging an address first delays the OFFER by 3 s
			fmt.Sprintf("--dhcp-range=%v,static,%v,infinite", n.Net.Addr(), net.IP(net.CIDRMask(n.Net.Bits(), 32))),
			fmt.Sprintf("--dhcp-host=%s,%v,%s,infinite", clientMAC(i), n.client(), n.Hostname),
			// dnsmasq adds these options by itself; one without a value stops it.
			option("router", n.NoRouter || n.NonDefault, n.Router),
			option("dns-server", n.NonDefault, n.DNS...),
			optionText("domain-name", n.NonDefault || n.NoDomain, n.Domain),
		)
	}
	for _, o := range n.DHCPOptions {
		args = append(args, "--dhcp-option="+o)
	}
	for _, name := range slices.Sorted(maps.Keys(n.HostRecords)) {
		record := "--host-record=" + name
		if !strings.Contains(name, ".") {
			record += "," + name + "." + n.Domain
		}
		args = append(args, fmt.Sprintf("%s,%v", record, n.HostRecords[name]))
	}
	if n.DNSOff {
		args = append(args, "--port=0")
	}
	return args
}

func option(name string, off bool, addrs ...netip.Addr) string {
	var texts []string
	for _, a := range addrs {
		texts = append(texts, a.String())
	}
	return optionText(name, off, texts...)
}

func optionText(name string, off bool, values ...string) string {
	if off {
		values = nil
	}
	return "--dhcp-option=" + strings.Join(append([]string{"option:" + name}, values...), ",")
}

// StartDHCP starts dnsmasq, DHCP and DNS, on NIC i's virtual router and returns
// when it answers. With DropFirst, the first time, it returns with a server in
// its place that only listens, and dnsmasq follows by itself.
func (l *Lab) StartDHCP(i int) error {
	n, err := l.nic(i)
	if err != nil {
		return err
	}
	if !n.present.Load() {
		return fmt.Errorf("cannot start DHCP: eth%d is absent", i)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.deaf != nil || n.slow != nil || n.dhcp != nil && n.dhcp.running() {
		return fmt.Errorf("cannot start DHCP on the router of eth%d: it runs already", i)
	}
	if n.due > 0 {
		return l.startDeaf(i, n)
	}
	return l.startServer(i, n)
}

// startServer needs n.mu.
func (l *Lab) startServer(i int, n *nic) error {
	if n.OfferDelay > 0 {
		conn, err := listenDHCP(i)
		if err != nil {
			return err
		}
		mac, err := net.ParseMAC(clientMAC(i))
		if err != nil {
			return fmt.Errorf("cannot serve DHCP: %w", err)
		}
		n.slow = &slowServer{nic: n.NIC, mac: mac, conn: conn, log: func(text string) { l.note(dhcpLog(i), text) }}
		go n.slow.serve()
	}
	return l.startDnsmasq(i, n)
}

// startDnsmasq needs n.mu.
func (l *Lab) startDnsmasq(i int, n *nic) error {
	log, err := l.logFile(dhcpLog(i))
	if err != nil {
		return err
	}
	defer log.Close()
	from, err := log.Seek(0, io.SeekEnd)
	if err != nil {
		return fmt.Errorf("cannot open a log: %w", err)
	}
	err = inNetns(netnsName(i), func() (err error) {
		n.dhcp, err = start("dnsmasq", command(context.Background(), "dnsmasq", dnsmasqArgs(i, n.NIC)...), log)
		return err
	})
	if err != nil {
		return err
	}
	// Its sockets are bound before it says this.
	err = await("dnsmasq", n.dhcp, func() (bool, error) {
		return strings.Contains(l.readLog(dhcpLog(i))[from:], ": started, version"), nil
	})
	if err != nil {
		return explainStart(err, l.readLog(dhcpLog(i))[from:])
	}
	return nil
}

// startDeaf puts a DHCP server in dnsmasq's place that answers nothing, and
// dnsmasq in its place after n.due DISCOVERs. It needs n.mu.
func (l *Lab) startDeaf(i int, n *nic) error {
	conn, err := listenDHCP(i)
	if err != nil {
		return err
	}
	n.deaf = func() { conn.Close() }
	go func() {
		buf := make([]byte, 1500)
		for {
			size, _, err := conn.ReadFrom(buf)
			if err != nil {
				return // StopDHCP
			}
			if messageType(buf[:size]) != dhcpDiscover {
				continue
			}
			l.note(dhcpLog(i), droppedDiscover)
			n.mu.Lock()
			n.due--
			if n.due > 0 || n.deaf == nil {
				n.mu.Unlock()
				continue
			}
			n.deaf = nil
			err = conn.Close()
			err = errors.Join(err, l.startServer(i, n))
			n.mu.Unlock()
			if err != nil {
				l.note(dhcpLog(i), err.Error())
			}
			return
		}
	}()
	return nil
}

// StopDHCP kills dnsmasq on NIC i's virtual router.
func (l *Lab) StopDHCP(i int) error {
	n, err := l.nic(i)
	if err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.deaf != nil {
		n.deaf()
		n.deaf = nil
	}
	if n.slow != nil {
		n.slow.close()
		n.slow = nil
	}
	n.dhcp.stop(syscall.SIGKILL)
	return nil
}

// droppedDiscover is the line in a DHCP log for each DHCPDISCOVER that DropFirst
// leaves without an answer.
const droppedDiscover = "dropped a DISCOVER"

func dhcpLog(i int) string { return fmt.Sprintf("dnsmasq-%s.log", netnsName(i)) }

// DHCPLog is what dnsmasq of NIC i's virtual router has logged so far.
func (l *Lab) DHCPLog(i int) string { return l.readLog(dhcpLog(i)) }

// note adds a line to a log.
func (l *Lab) note(name, text string) {
	f, err := l.logFile(name)
	if err != nil {
		fmt.Fprintln(os.Stderr, text)
		return
	}
	defer f.Close()
	fmt.Fprintln(f, text)
}
