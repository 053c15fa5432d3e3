package netservice

import (
	"io/fs"
	"path"
	"strconv"
	"strings"
)

const (
	networkdUnit  = "systemd-networkd.service"
	networkdLinks = "run/systemd/netif/links" // a file per interface index
	networkdRuns  = "run/systemd/netif/state" // systemd-networkd writes it when it runs
)

// networkdState returns what systemd-networkd says of a device (ADMIN_STATE in
// sd-network.c), empty if it says nothing: "pending", "initialized", "configuring",
// "configured", "unmanaged", "failed" or "linger".
func (f Files) networkdState(index int) string {
	if index <= 0 {
		return ""
	}
	for line := range strings.Lines(f.read(networkdLinks + "/" + strconv.Itoa(index))) {
		if state, found := strings.CutPrefix(strings.TrimSpace(line), "ADMIN_STATE="); found {
			return state
		}
	}
	return ""
}

// NetworkdRuns reports whether systemd-networkd says that it runs the device with an
// index. It does not yet while its state is "pending" or "initialized".
func (f Files) NetworkdRuns(index int) bool {
	switch f.networkdState(index) {
	case "configuring", "configured", "failed":
		return true
	}
	return false
}

// networkFile returns the systemd.network(5) file that systemd-networkd applies to a
// wired device: the first that matches. Without a name, any wired device will do,
// and a file that may match another system only does not count.
func (f Files) networkFile(device string) string {
	files := f.layered("*.network", "lib/systemd/network", "usr/lib/systemd/network", "usr/local/lib/systemd/network", "run/systemd/network", "etc/systemd/network")
	for _, file := range sortByName(files) {
		if to, err := fs.ReadLink(f.FS, file); err == nil && to == "/dev/null" {
			continue
		}
		values := f.keyfile(file)
		if !f.matches(values, device) {
			continue
		}
		if u := values["[Link]Unmanaged"]; len(u) > 0 && isTrue(u[len(u)-1]) {
			if device == "" {
				continue
			}
			return ""
		}
		return file
	}
	return ""
}

// keyfile returns the words of each "[Section]Key" of one of systemd's files. An
// empty value resets the key, as in systemd.syntax(7).
func (f Files) keyfile(file string) map[string][]string {
	values := make(map[string][]string)
	section := ""
	for line := range strings.Lines(f.read(file)) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "[") {
			section = line
			continue
		}
		key, text, found := strings.Cut(line, "=")
		if !found || strings.HasPrefix(line, "#") || strings.HasPrefix(line, ";") {
			continue
		}
		key = section + strings.TrimSpace(key)
		words := strings.Fields(text)
		if len(words) == 0 {
			values[key] = nil
			continue
		}
		values[key] = append(values[key], words...)
	}
	return values
}

// matches reports whether a [Match] section means a wired device. It does not look
// into all that a section may ask for: see other.
func (f Files) matches(values map[string][]string, device string) bool {
	matched, other := false, false
	for key, words := range values {
		key, is := strings.CutPrefix(key, "[Match]")
		if !is || len(words) == 0 {
			continue
		}
		matched = true
		switch key {
		case "Name":
			if !globs(words, func(pattern string) bool { return meansDevice(pattern, device) }) {
				return false
			}
		case "Type":
			if !globs(words, func(pattern string) bool { ok, _ := path.Match(pattern, "ether"); return ok }) {
				return false
			}
		case "Kind": // of virtual devices
			if !globs(words, func(string) bool { return false }) {
				return false
			}
		case "MACAddress", "PermanentMACAddress":
			if address := f.sysfs(device, "address"); address != "" && !globs(words, func(mac string) bool { return strings.EqualFold(strings.ReplaceAll(mac, "-", ":"), address) }) {
				return false
			}
		default:
			other = true
		}
	}
	return matched && (device != "" || !other)
}

// globs reports whether one of the patterns matches. The first one may begin with "!",
// which inverts the list.
func globs(patterns []string, match func(pattern string) bool) bool {
	first, inverted := strings.CutPrefix(patterns[0], "!")
	for n, pattern := range patterns {
		if n == 0 {
			pattern = first
		}
		if match(pattern) {
			return !inverted
		}
	}
	return inverted
}

// meansDevice reports whether a pattern is for a device. Without a name it reports
// whether the pattern is for devices with the usual names of wired ones.
func meansDevice(pattern, device string) bool {
	if device == "" {
		return pattern != "" && strings.ContainsAny(pattern[:1], `e*?[`)
	}
	matched, _ := path.Match(pattern, device)
	return matched
}

// isTrue reports whether systemd, NetworkManager and netplan take a word for true.
func isTrue(word string) bool {
	switch strings.ToLower(word) {
	case "1", "yes", "true", "on", "y", "t":
		return true
	}
	return false
}
