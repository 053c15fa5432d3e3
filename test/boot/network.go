package main

import (
	"context"
	"fmt"
	"net/netip"
	"strings"

	"github.com/nm-cloud-seed/nm-cloud-seed/test/lab"
)

// networks are those of a scenario. Where the virtual router has a name server,
// that knows the VM.
func networks(nics []lab.NIC) []lab.NIC {
	if len(nics) == 0 {
		nics = make([]lab.NIC, 1)
	}
	for n := range nics {
		if nics[n].HostRecords == nil {
			nics[n].HostRecords = records(byte(n), "data-server")
		}
	}
	return nics
}

// records are the names in network n: the VM's, whichever it is, and these for
// the virtual router.
func records(n byte, names ...string) map[string]netip.Addr {
	vm := netip.AddrFrom4([4]byte{10, 1, n + 1, 100})
	all := map[string]netip.Addr{hostname: vm, otherHostname: vm}
	for _, name := range names {
		all[name] = netip.AddrFrom4([4]byte{10, 1, n + 1, 1})
	}
	return all
}

// nicOf is the NIC of a boot in whose network the virtual router is.
func (w *world) nicOf(b boot) int {
	if w.machines {
		return b.on
	}
	return w.router
}

// powerOn makes the NICs what they are when a machine is switched on:
// NetworkManager leaves them as they are when it ends, and the lab keeps them. A
// virtual machine's own NICs are behind them.
func (w *world) powerOn(ctx context.Context, b boot) error {
	var batch string
	netns, devices := w.network(b)
	for _, eth := range devices {
		batch += fmt.Sprintf("link set %s down\naddr flush dev %[1]s\n", eth)
		if w.virtual != nil {
			batch += fmt.Sprintf("link set %s up\n", eth)
		}
	}
	cmd := w.Command(ctx, "ip", "-n", netns, "-batch", "-")
	cmd.Stdin = strings.NewReader(batch)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("cannot reset the NICs: %w: %s", err, out)
	}
	return nil
}

// network is the network namespace of a boot, with its NICs. Booting in the lab's
// own, rather than giving eth0 away, the lab keeps it, and the boot after next has
// it, too.
func (w *world) network(b boot) (netns string, devices []string) {
	if w.machines && w.virtual == nil {
		return machineNetns(b.on), []string{"eth0"}
	}
	return "vm", w.devices()
}

func machineNetns(n int) string { return fmt.Sprintf("machine%d", n) }

// part gives each machine its NIC, in a network namespace of its own. A virtual
// machine is given what it needs of the lab's.
func (w *world) part(ctx context.Context) error {
	for n, eth := range w.devices() {
		for _, args := range [][]string{{"netns", "add", machineNetns(n)}, {"link", "set", eth, "netns", machineNetns(n), "name", "eth0"}} {
			if out, err := w.Command(ctx, "ip", args...).CombinedOutput(); err != nil {
				return fmt.Errorf("cannot part the machines: %w: %s", err, out)
			}
		}
	}
	return nil
}

// devices are the scenario's NICs.
func (w *world) devices() (all []string) {
	for n := range max(1, len(w.nics)) {
		all = append(all, fmt.Sprintf("eth%d", n))
	}
	return all
}
