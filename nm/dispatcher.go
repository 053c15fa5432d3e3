package nm

import (
	"strings"

	"github.com/godbus/dbus/v5"

	"github.com/nm-cloud-seed/nm-cloud-seed/internal/lease"
)

// Dispatched is the lease that NetworkManager-dispatcher(8) tells a script of, by
// its arguments (a device and an action) and its environment. It is none unless a
// connection has come up or its lease has changed.
func Dispatched(args, environ []string) (l lease.Lease, ok bool) {
	if len(args) != 2 || args[1] != "up" && args[1] != "dhcp4-change" {
		return l, false
	}
	const prefix = "DHCP4_"
	device, options := args[0], make(map[string]dbus.Variant)
	for _, variable := range environ {
		name, value, _ := strings.Cut(variable, "=")
		switch {
		case name == "DEVICE_IP_IFACE" && value != "": // the first argument is the device below, if there are two
			device = value
		case strings.HasPrefix(name, prefix):
			options[strings.ToLower(name[len(prefix):])] = dbus.MakeVariant(value)
		}
	}
	l, ok = fromOptions(options)
	l.Device = device
	return l, ok
}
