package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/nm-cloud-seed/nm-cloud-seed/internal/daemon"
)

// Where another service runs the network, cloud-init finds the virtual router by that
// service's lease. There the package has nothing to do, and must not do any harm.

// networkdProfile has systemd-networkd run the NIC.
const networkdProfile = "[Match]\nName=eth0\n[Network]\nDHCP=yes\n"

// byNetworkd is an image whose network systemd-networkd runs. NetworkManager leaves
// the NIC alone by its name: the generator cannot know that there is no other NIC.
var byNetworkd = also(inContainer,
	"/etc/cloud/cloud.cfg.d/97-no-network.cfg", "network: {config: disabled}\n",
	"/etc/NetworkManager/conf.d/unmanaged.conf", "[keyfile]\nunmanaged-devices=interface-name:eth0\n",
	"/etc/systemd/network/10-eth0.network", networkdProfile,
)

const netplanFile = "/etc/netplan/50-cloud-init.yaml"

// byNetplan is an image like Ubuntu's: netplan gives the network to systemd-networkd,
// and NetworkManager leaves all wired devices alone.
var byNetplan = also(inContainer,
	"/etc/cloud/cloud.cfg.d/97-no-network.cfg", "network: {config: disabled}\n",
	"/usr/lib/NetworkManager/conf.d/10-globally-managed-devices.conf", "[keyfile]\nunmanaged-devices=*,except:type:wifi,except:type:gsm,except:type:cdma\n",
	netplanFile, "network: {version: 2, ethernets: {eth0: {dhcp4: true}}}\n",
)

// withoutNetplanFile is the same before its first boot.
var withoutNetplanFile = maps.Collect(func(yield func(string, string) bool) {
	for name, text := range byNetplan {
		if name != netplanFile && !yield(name, text) {
			return
		}
	}
})

// siteNetplan writes netplan's file when cloud-init's local stage does. A container has
// no udev, without which cloud-init's own way takes minutes.
const siteNetplan = `[Unit]
DefaultDependencies=no
After=cloud-init-local.service
Before=network-pre.target sysinit.target
Wants=network-pre.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c 'umask 077; echo "network: {version: 2, ethernets: {eth0: {dhcp4: true}}}" >/etc/netplan/50-cloud-init.yaml'
ExecStart=/usr/bin/systemctl daemon-reload

[Install]
WantedBy=sysinit.target
`

// byIfupdown is an image whose network ifupdown runs.
var byIfupdown = also(inContainer,
	"/etc/cloud/cloud.cfg.d/97-no-network.cfg", "network: {config: disabled}\n",
	"/etc/network/interfaces", "auto lo\niface lo inet loopback\nauto eth0\niface eth0 inet dhcp\n",
)

// worksByItself is cloud-init with its own search. It complains that it has no wget(1)
// to ask for a password.
var worksByItself = but(worksAlone, "cloud-init log")

const enableNetworkd = "systemctl enable systemd-networkd.service"

// purgedAfter purges the package at the end of a boot.
func purgedAfter(boot int) (name, text string) {
	return fmt.Sprintf("%s/then-%d", guestReport, boot), "dpkg --purge nm-cloud-seed\n"
}

func harmless() []scenario {
	var all []scenario
	idle := plus(worksByItself, nothingToDo("eth0 belongs to systemd-networkd")...)
	givenUp := []boot{
		{what: "first boot", checks: idle},
		{what: "reboot", checks: plus(idle, same)},
		{what: "without the package", checks: plus(worksByItself, same, purgedNow)},
	}
	netplan := []string{"e2fsprogs", "netplan.io"}
	ifupdown := []string{"ifupdown", "isc-dhcp-client"}
	for _, suite := range suites {
		byNetworkd, boots := byNetworkd, len(givenUp)
		if suite == "sid" { // whose systemd-networkd leaves no lease that cloud-init reads
			byNetworkd, boots = also(byNetworkd, "/etc/hosts", dataServer), 1 // cloud-init replaces /etc/hosts
		}
		all = append(all,
			scenario{
				name: suite + "/networkd-without", about: "systemd-networkd runs the network, without the package: cloud-init finds the virtual router itself",
				suite: suite, bare: true, extended: "a look at cloud-init alone",
				files: byNetworkd, setup: enableNetworkd, doctor: noPackage,
				boots: []boot{{what: "first boot", checks: worksByItself}},
			},
			beforeRelease(suite != "trixie", "the same on Debian 13", scenario{
				name: suite + "/networkd", about: "systemd-networkd runs the network: the package does nothing, and can be removed",
				suite: suite, files: also(byNetworkd, pair(purgedAfter(2))...), setup: enableNetworkd,
				boots: givenUp[:boots],
			})[0],
		)
	}
	all = append(all,
		scenario{
			name: "trixie/netplan-without", about: "netplan and systemd-networkd run the network, without the package",
			suite: "trixie", bare: true, extended: "a look at cloud-init alone", packages: netplan,
			files: byNetplan, setup: enableNetworkd, doctor: noPackage[:1],
			boots: []boot{{what: "first boot", checks: worksByItself}},
		},
		scenario{
			name: "trixie/netplan-networkd", about: "netplan gives the network to systemd-networkd: the generator writes nothing",
			suite: "trixie", packages: netplan,
			files: also(byNetplan, guestReport+"/purge", ""), setup: enableNetworkd,
			boots: []boot{{what: "first boot", checks: slices.Concat(worksByItself, inert, []check{notNeeded("netplan gives the network to systemd-networkd")})}},
		},
		scenario{
			name: "trixie/netplan-first", about: "netplan's file is written in the boot, and systemd reloaded, as cloud-init does on Ubuntu",
			suite: "trixie", packages: netplan, setup: enableNetworkd + " site-netplan.service",
			files:  also(withoutNetplanFile, "/etc/systemd/system/site-netplan.service", siteNetplan),
			doctor: []string{"problem NetworkManager.devices", "warning NetworkManager.alone", "warning cloud-init.dhcp-client"},
			boots: []boot{
				{what: "first boot", checks: plus(worksByItself, nothingToDo("netplan gives the network to systemd-networkd")...)},
				{what: "reboot", checks: plus(worksByItself, same, notNeeded("netplan gives the network to systemd-networkd"))},
			},
		},
		scenario{
			name: "bookworm/ifupdown-without", about: "ifupdown runs the network, without the package",
			suite: "bookworm", bare: true, extended: "a look at cloud-init alone", packages: ifupdown,
			files: byIfupdown, doctor: noPackage,
			boots: []boot{{what: "first boot", checks: worksByItself}},
		},
		scenario{
			name: "bookworm/ifupdown", about: "ifupdown runs the network: the package does nothing",
			suite: "bookworm", extended: "the networkd scenarios, but for ifupdown", packages: ifupdown,
			files: byIfupdown,
			boots: []boot{{what: "first boot", checks: plus(worksByItself, nothingToDo("eth0 belongs to ifupdown")...)}},
		},
	)
	return all
}

// nothingToDo: the run was over at once, says why, and held nothing up.
func nothingToDo(why string) []check {
	return []check{
		phase(daemon.Idle),
		{"reason", func(r *report) error {
			s, err := r.state()
			if err == nil && s.Text != "nothing to do: "+why {
				return fmt.Errorf("the service says %q, want that %s", s.Text, why)
			}
			return err
		}},
		{"not resident", gone},
		{"no connection", noConnection},
		healthyHere,
	}
}

// noConnection: NetworkManager was not asked for a connection.
func noConnection(r *report) error {
	if !r.has("nmcli") || strings.Contains(r.text("nmcli"), "nm-cloud-seed") {
		return fmt.Errorf("NetworkManager's connections are %q", brief(r.text("nmcli")))
	}
	return nil
}

// notNeeded: the service has not run, and status and doctor say why.
func notNeeded(why string) check {
	return check{"not needed", func(r *report) error {
		if said := r.text("status.stderr"); !strings.Contains(said, "has not run since the system started: "+why) {
			return fmt.Errorf("the status says %q, want %q", brief(said), why)
		}
		if said := r.text("doctor"); !strings.Contains(said, why) {
			return fmt.Errorf("the doctor does not say %q", why)
		}
		return healthyHere.judge(r)
	}}
}

// purgedNow: the package is gone.
var purgedNow = check{"purged", func(r *report) error {
	if r.has("status") || r.has("status.stderr") || r.units[ours] != nil {
		return errors.New("the package is still there")
	}
	return nil
}}

func pair(name, text string) []string { return []string{name, text} }
