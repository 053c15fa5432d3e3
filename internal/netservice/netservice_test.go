package netservice

import (
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

const (
	ubuntu      = "usr/lib/NetworkManager/conf.d/10-globally-managed-devices.conf"
	allBut      = "[keyfile]\nunmanaged-devices=*,except:type:wifi,except:type:gsm,except:type:cdma\n"
	networkd    = "usr/lib/systemd/system/systemd-networkd.service"
	networkdOn  = "etc/systemd/system/multi-user.target.wants/systemd-networkd.service"
	planner     = "usr/sbin/netplan"
	byCloudInit = "etc/netplan/50-cloud-init.yaml"
	eth0        = "network: {version: 2, ethernets: {eth0: {dhcp4: true}}}\n"
	ethFile     = "etc/systemd/network/10-eth.network"
)

// system returns files by name and text.
func system(files map[string]string) Files {
	fsys := make(fstest.MapFS)
	for name, text := range files {
		fsys[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return Files{FS: fsys}
}

// with adds files to others, by name and text; "-" removes one.
func with(files map[string]string, more ...string) map[string]string {
	all := make(map[string]string)
	for name, text := range files {
		all[name] = text
	}
	for n := 0; n < len(more); n += 2 {
		if all[more[n]] = more[n+1]; more[n+1] == "-" {
			delete(all, more[n])
		}
	}
	return all
}

func TestEthernet(t *testing.T) {
	t.Parallel()
	netplan := map[string]string{ubuntu: allBut, networkd: "[Unit]\n", networkdOn: "[Unit]\n", planner: "", byCloudInit: eth0}
	byFile := map[string]string{ubuntu: allBut, networkd: "[Unit]\n", networkdOn: "[Unit]\n", ethFile: "[Match]\nName=e*\n[Network]\nDHCP=yes\n"}
	for _, tt := range []struct {
		name  string
		files map[string]string
		want  Service
	}{
		{"Debian", nil, NetworkManager},
		{"Debian, systemd-networkd enabled for nothing", map[string]string{networkd: "[Unit]\n", networkdOn: "[Unit]\n"}, NetworkManager},
		{"netplan for NetworkManager", with(netplan, "etc/netplan/01-nm.yaml", "network: {renderer: NetworkManager}\n"), NetworkManager},

		{"Ubuntu's default", netplan, Networkd},
		{"without a renderer, by netplan's generator", with(netplan, networkdOn, "-"), Networkd},
		{"networkd by name", with(netplan, "etc/netplan/01.yaml", "network: {renderer: networkd}\n"), Networkd},
		{"a later renderer wins", with(netplan, "lib/netplan/00.yaml", "network: {renderer: NetworkManager}\n", "etc/netplan/60.yaml", "network: {renderer: networkd}\n"), Networkd},
		{"a file hides one of the same name", with(netplan, "lib/netplan/50-cloud-init.yaml", "network: {renderer: NetworkManager}\n"), Networkd},
		{"a device's later renderer wins", with(netplan, "etc/netplan/10.yaml", "network: {ethernets: {eth0: {renderer: NetworkManager}}}\n", "etc/netplan/60.yaml", "network: {ethernets: {eth0: {renderer: networkd}}}\n"), Networkd},
		{".network file", byFile, Networkd},
		{".network file by type", with(byFile, ethFile, "[Match]\nType=ether\nKind=!*\n"), Networkd},
		{"NetworkManager.conf's word", with(byFile, ubuntu, "-", "etc/NetworkManager/NetworkManager.conf", "[device]\nmatch-device=type:ethernet\nmanaged=0\n"), Networkd},

		{"a first boot: cloud-init is still to write netplan's file", with(netplan, byCloudInit, "-"), Unknown},
		{"NetworkManager manages other NICs", with(netplan, ubuntu, "-"), Unknown},
		{"netplan gives a device to NetworkManager", with(netplan, "etc/netplan/60.yaml", "network: {ethernets: {eth1: {renderer: NetworkManager}}}\n"), Unknown},
		{"netplan gives all wired devices to NetworkManager", with(netplan, "etc/netplan/60.yaml", "network: {ethernets: {renderer: NetworkManager}}\n"), Unknown},
		{"netplan gives a bridge to NetworkManager", with(netplan, "etc/netplan/60.yaml", "network: {bridges: {br0: {renderer: NetworkManager}}}\n"), Unknown},
		{"netplan's file is no YAML", with(netplan, "etc/netplan/60.yaml", "network: {\n"), Unknown},
		{"netplan has no wired device", with(netplan, byCloudInit, "network: {version: 2}\n"), Unknown},
		{"systemd-networkd is masked", with(netplan, networkd, ""), Unknown},
		{"systemd-networkd is not there", with(netplan, networkd, "-"), Unknown},
		{"systemd-networkd is not enabled", with(byFile, networkdOn, "-"), Unknown},
		{"/run hides the file as netplan does", with(byFile, "run/NetworkManager/conf.d/10-globally-managed-devices.conf", ""), Unknown},
		{"/etc hides the file", with(netplan, "etc/NetworkManager/conf.d/10-globally-managed-devices.conf", ""), Unknown},
		{"/etc has the last word", with(netplan, "etc/NetworkManager/conf.d/99.conf", "[keyfile]\nunmanaged-devices=none\n"), Unknown},
		{"only one NIC is left alone", with(byFile, ubuntu, "[keyfile]\nunmanaged-devices=interface-name:eth0\n"), Unknown},
		{"all but one NIC", with(byFile, ubuntu, "[keyfile]\nunmanaged-devices=*,except:interface-name:eth1\n"), Unknown},
		{"a section takes a NIC back", with(byFile, "etc/NetworkManager/conf.d/1.conf", "[device-x]\nmatch-device=interface-name:eth1\nmanaged=1\n"), Unknown},
		{"nothing for wired devices", with(byFile, ethFile, "[Match]\nName=wl*\n"), Unknown},
		{"for containers only", with(byFile, ethFile, "[Match]\nName=e*\nVirtualization=container\n"), Unknown},
		{"for virtual devices only", with(byFile, ethFile, "[Match]\nName=*\nKind=bridge\n"), Unknown},
		{"for others than Ethernet", with(byFile, ethFile, "[Match]\nName=*\nType=!ether\n"), Unknown},
		{"for nothing", with(byFile, ethFile, "[Network]\nDHCP=yes\n"), Unknown},
		{"systemd-networkd leaves them alone", with(byFile, ethFile, "[Match]\nName=e*\n[Link]\nUnmanaged=yes\n"), Unknown},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, reason := system(tt.files).Ethernet()
			if got != tt.want || (reason == "") != (tt.want == Unknown) {
				t.Errorf("got %q by %q, want %q and a reason only if it is known", got, reason, tt.want)
			}
		})
	}
}

func TestInCharge(t *testing.T) {
	t.Parallel()
	const link = "run/systemd/netif/links/3"
	nic := map[string]string{"sys/class/net/eth0/ifindex": "3\n", "sys/class/net/eth0/address": "02:00:00:00:00:01\n"}
	file := with(nic, networkd, "[Unit]\n", networkdOn, "[Unit]\n", ethFile, "[Match]\nName=eth0\n")
	stanza := with(nic, "usr/sbin/ifup", "", "etc/network/interfaces", "auto lo\niface lo inet loopback\nauto eth0\niface eth0 inet dhcp\n")
	for _, tt := range []struct {
		name  string
		files map[string]string
		want  Service
	}{
		{"nothing", nic, Unknown},
		{"networkd has it", with(nic, link, "ADMIN_STATE=configured\n"), Networkd},
		{"networkd is about to have it", with(nic, link, "# private\nADMIN_STATE=configuring\n"), Networkd},
		{"networkd has failed", with(nic, link, "ADMIN_STATE=failed\n"), Networkd},
		{"networkd leaves it alone", with(file, link, "ADMIN_STATE=unmanaged\n"), Unknown},
		{"networkd has another", with(nic, "run/systemd/netif/links/4", "ADMIN_STATE=configured\n"), Unknown},
		{"networkd has not decided, with a file", with(file, link, "ADMIN_STATE=pending\n"), Networkd},
		{"networkd has not decided, without a file", with(file, link, "ADMIN_STATE=initialized\n", ethFile, "-"), Unknown},
		{"networkd is to start", file, Networkd},
		{"networkd was started, as netplan does", with(file, networkdOn, "-", "run/systemd/netif/state", ""), Networkd},
		{"networkd is not to start", with(file, networkdOn, "-"), Unknown},
		{"networkd is to leave it alone", with(file, ethFile, "[Match]\nName=eth0\n[Link]\nUnmanaged=yes\n"), Unknown},
		{"by its address", with(file, ethFile, "[Match]\nPermanentMACAddress=02-00-00-00-00-01\n"), Networkd},
		{"by another address", with(file, ethFile, "[Match]\nMACAddress=02:00:00:00:00:02\n"), Unknown},
		{"all but this", with(file, ethFile, "[Match]\nName=!eth0 eth1\n"), Unknown},
		{"all but others", with(file, ethFile, "[Match]\nName=!eth1\n"), Networkd},
		{"the first file counts", with(file, "usr/lib/systemd/network/00.network", "[Match]\nName=*\n[Link]\nUnmanaged=yes\n"), Unknown},
		{"ifupdown", stanza, Ifupdown},
		{"ifupdown, by another file", with(stanza, "etc/network/interfaces", "source interfaces.d/*\n", "etc/network/interfaces.d/50-cloud-init", "iface eth0 inet dhcp\n"), Ifupdown},
		{"ifupdown, by a directory", with(stanza, "etc/network/interfaces", "source-directory /etc/network/interfaces.d\n", "etc/network/interfaces.d/x", "iface eth0 inet dhcp\n"), Ifupdown},
		{"ifupdown, files in a circle", with(stanza, "etc/network/interfaces", "source interfaces\nsource interfaces\n"), Unknown},
		{"ifupdown has another", with(stanza, "etc/network/interfaces", "iface eth1 inet dhcp\n"), Unknown},
		{"ifupdown is not installed", with(stanza, "usr/sbin/ifup", "-"), Unknown},
		{"ifupdown, but NetworkManager manages its devices", with(stanza, "etc/NetworkManager/NetworkManager.conf", "[ifupdown]\nmanaged=true\n"), Unknown},
		{"dhcpcd", with(nic, "usr/lib/systemd/system/dhcpcd.service", "[Unit]\n", "etc/systemd/system/multi-user.target.wants/dhcpcd.service", ""), "dhcpcd"},
		{"dhcpcd is not enabled", with(nic, "usr/lib/systemd/system/dhcpcd.service", "[Unit]\n"), Unknown},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := system(tt.files).InCharge("eth0"); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestOthers(t *testing.T) {
	t.Parallel()
	const eth, links, notes = "sys/class/net/", "run/systemd/netif/links/", "run/NetworkManager/devices/"
	two := map[string]string{
		eth + "lo/type": "772\n", eth + "lo/ifindex": "1\n",
		eth + "eth0/type": "1\n", eth + "eth0/ifindex": "2\n", links + "2": "ADMIN_STATE=configured\n",
		eth + "eth1/type": "1\n", eth + "eth1/ifindex": "3\n", links + "3": "ADMIN_STATE=configuring\n",
		eth + "br0/type": "1\n", eth + "br0/uevent": "DEVTYPE=bridge\nINTERFACE=br0\n",
		eth + "tap0/type": "1\n", eth + "tap0/tun_flags": "0x1002\n",
	}
	dhcpcd := with(two, links+"2", "-", links+"3", "-",
		"usr/lib/systemd/system/dhcpcd.service", "[Unit]\n", "etc/systemd/system/multi-user.target.wants/dhcpcd.service", "")
	eth0, both := []string{"eth0"}, []string{"eth0", "eth1"}
	for _, tt := range []struct {
		name  string
		files map[string]string
		want  map[Service][]string
		all   bool
	}{
		{"no device", nil, nil, false},
		{"all", two, map[Service][]string{Networkd: both}, true},
		{"one is another's", with(two, links+"3", "ADMIN_STATE=unmanaged\n"), map[Service][]string{Networkd: eth0}, false},
		{"one is not decided yet", with(two, links+"3", "ADMIN_STATE=pending\n"), map[Service][]string{Networkd: eth0}, false},
		{"systemd-networkd does not run", with(two, links+"2", "-", links+"3", "-"), nil, false},
		{"two services", with(two, links+"3", "-", "usr/sbin/ifup", "", "etc/network/interfaces", "iface eth1 inet dhcp\n"), map[Service][]string{Networkd: eth0, Ifupdown: {"eth1"}}, true},
		{"dhcpcd", dhcpcd, map[Service][]string{"dhcpcd": both}, true},
		{"dhcpcd, which NetworkManager leaves one", with(dhcpcd, notes+"2", "[device]\nmanaged=false\n", notes+"3", "[device]\nmanaged=true\nconnection-uuid=x\n"), map[Service][]string{"dhcpcd": eth0}, false},
		{"NetworkManager has both as well, but systemd-networkd has its leases", with(two, notes+"2", "[device]\nmanaged=true\n"), map[Service][]string{Networkd: both}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, all := system(tt.files).Others()
			if diff := cmp.Diff(tt.want, got); diff != "" || all != tt.all {
				t.Errorf("got all: %t, want %t (-want +got):\n%s", all, tt.all, diff)
			}
		})
	}
}
