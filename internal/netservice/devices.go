package netservice

import (
	"path"
	"strconv"
	"strings"
)

const classNet = "sys/class/net"

// wired returns the wired network devices of the running system.
func (f Files) wired() []string {
	var all []string
	for _, dir := range f.list(classNet, "*") {
		const ethernet = "1" // ARPHRD_ETHER of linux/if_arp.h
		uevent := f.read(dir + "/uevent")
		switch {
		case strings.TrimSpace(f.read(dir+"/type")) != ethernet:
		case strings.Contains(uevent, "DEVTYPE="): // a bridge, a bond, a VLAN, WLAN
		case f.exists(dir + "/tun_flags"):
		default:
			all = append(all, path.Base(dir))
		}
	}
	return all
}

// index returns the kernel's index of a device, 0 if it is not known.
func (f Files) index(device string) int {
	n, _ := strconv.Atoi(f.sysfs(device, "ifindex"))
	return n
}

// sysfs returns an attribute of a device.
func (f Files) sysfs(device, attribute string) string {
	if device == "" || strings.Contains(device, "/") {
		return ""
	}
	return strings.TrimSpace(f.read(classNet + "/" + device + "/" + attribute))
}
