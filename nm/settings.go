package nm

import (
	gnm "github.com/Wifx/gonetworkmanager/v2"
	"github.com/google/uuid"
)

// namespace makes the UUIDs of our temporary connections: one per interface
// name, the same at every boot. A random one would leave another lease file in
// /var/lib/NetworkManager each time, and could not be told from a user's own.
var namespace = uuid.MustParse("6f1b3c9e-0f4b-5c62-9a57-7d2a1f0e8b41")

// connectionUUID is the UUID of our temporary connection on an interface.
func connectionUUID(name string) string {
	return uuid.NewSHA1(namespace, []byte(name)).String()
}

// spareUUID is the one to use where somebody has saved a profile with the other.
func spareUUID(name string) string { return connectionUUID(name + " spare") } // no interface is called that

// handed is a temporary profile as NetworkManager is to go on with it until the
// system ends: it comes back after a lost carrier, unless there is any other.
func handed(name, id string) gnm.ConnectionSettings {
	settings := temporary(name, id)
	settings["connection"]["autoconnect"] = true
	settings["connection"]["autoconnect-priority"] = int32(-999) // the least
	return settings
}

// permanent is the profile as its owner would have made it: an ordinary one.
func permanent(name, id string) gnm.ConnectionSettings {
	settings := temporary(name, id)
	settings["connection"]["autoconnect"] = true
	settings["ipv4"] = map[string]any{"method": "auto"}
	settings["ipv6"] = map[string]any{"method": "auto"}
	return settings
}

// temporary is the profile of a temporary connection: IPv4 by DHCP and nothing
// else, see nm-settings-nmcli(5).
func temporary(name, id string) gnm.ConnectionSettings {
	return gnm.ConnectionSettings{
		"connection": {
			"id":             "nm-cloud-seed " + name,
			"uuid":           id,
			"type":           "802-3-ethernet", // also for a veth
			"interface-name": name,
			"autoconnect":    false,
		},
		"802-3-ethernet": {},
		"ipv4": {
			"method": "auto",
			// Without these two, an activation without any lease counts as done,
			// and duplicate address detection delays the lease itself.
			"may-fail":    false,
			"dad-timeout": int32(0),
		},
		"ipv6": {"method": "disabled"},
	}
}
