package netservice

import (
	"path"
	"slices"
	"strings"
)

const interfaces = "etc/network/interfaces"

// ifupdownInstalled reports whether the program is there that brings the devices of
// interfaces(5) up.
func (f Files) ifupdownInstalled() bool {
	return f.exists("usr/sbin/ifup") || f.exists("sbin/ifup")
}

// Stanza returns the file of interfaces(5) with an iface stanza for a device, empty if
// there is none. NetworkManager leaves such a device alone, whether ifupdown is
// installed or not, unless its configuration says managed=true.
func (f Files) Stanza(device string) (found string) {
	f.eachStanza(func(file, of string) bool {
		if of == device {
			found = file
		}
		return found == ""
	})
	return found
}

// eachStanza goes over the iface stanzas, as long as do returns true.
func (f Files) eachStanza(do func(file, device string) bool) {
	files, read := []string{interfaces}, 0
	for len(files) > 0 && read < maxFiles {
		file := files[0]
		files = files[1:]
		read++
		for line := range strings.Lines(f.read(file)) {
			words := strings.Fields(line)
			switch {
			case len(words) < 2:
			case words[0] == "iface":
				if !do(file, words[1]) {
					return
				}
			case words[0] == "source":
				pattern := inEtcNetwork(words[1])
				files = append(files, f.list(path.Dir(pattern), path.Base(pattern))...)
			case words[0] == "source-directory":
				files = append(files, f.list(inEtcNetwork(words[1]), "*")...)
			}
		}
	}
}

// IfupdownRuns reports whether ifupdown runs devices at boot, which NetworkManager leaves
// to it.
func (f Files) IfupdownRuns() bool {
	runs := false
	f.eachStanza(func(_, device string) bool {
		runs = runs || device != "lo"
		return !runs
	})
	return runs && f.ifupdownInstalled() && !f.ManagesIfupdown()
}

// inEtcNetwork returns the name of a file that interfaces(5) names, without the
// leading slash: one that is not absolute is below /etc/network.
func inEtcNetwork(name string) string {
	if !path.IsAbs(name) {
		name = path.Join("/etc/network", name)
	}
	return strings.TrimPrefix(path.Clean(name), "/")
}

// ManagesIfupdown reports whether NetworkManager manages the devices of interfaces(5).
func (f Files) ManagesIfupdown() bool {
	managed := f.NMConf()["[ifupdown]managed"]
	return len(managed) > 0 && slices.Contains([]string{"true", "yes", "1", "on"}, strings.ToLower(managed[0].Text))
}
