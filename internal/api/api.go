// Package api is the D-Bus API: org.nmcloudseed1, its server and its client. The
// interface is described in dbus-policy/org.nmcloudseed1.xml.
//
//	a call ─▶ bus ─▶ systemd ─▶ nm-cloud-seed-bus.service: Server.Run
//	                              │ Look: the state in /run, at each call
//	                              │ Refresh: one at a time
//	                              └ exits when nobody has called for a while
package api

import (
	"time"

	"github.com/godbus/dbus/v5"
)

// The names on the bus.
const (
	Name      = "org.nmcloudseed1"
	Path      = "/org/nmcloudseed1"
	Interface = "org.nmcloudseed1.Seeder"

	errorPrefix     = Name + ".Error."
	propertiesIface = "org.freedesktop.DBus.Properties"
)

// Properties are what anybody may read. Nothing in it is secret.
type Properties struct {
	State, Text                                       string
	InstanceID, VirtualRouter, Device, SeedPath, From string
	FetchedAt                                         time.Time // zero: never, as the next
	Outcome, LastError                                string
	Started, Ended                                    time.Time
	Steps                                             []Step
	// Busy is that something else than a refresh goes on which changes them. It is no
	// property.
	Busy bool
}

// Step is what a run achieved.
type Step struct {
	Name string
	At   time.Duration // since Started
}

// variants are the properties by their names on the bus.
func (p Properties) variants() map[string]dbus.Variant {
	steps := []wireStep{}
	for _, s := range p.Steps {
		steps = append(steps, wireStep{s.Name, uint64(max(0, s.At.Microseconds()))})
	}
	values := map[string]any{
		"State": p.State, "Text": p.Text, "InstanceId": p.InstanceID, "VirtualRouter": p.VirtualRouter,
		"Device": p.Device, "SeedPath": p.SeedPath, "Source": p.From, "Outcome": p.Outcome, "LastError": p.LastError,
		"FetchedAt": micros(p.FetchedAt), "Started": micros(p.Started), "Ended": micros(p.Ended), "Steps": steps,
	}
	variants := make(map[string]dbus.Variant, len(values))
	for name, value := range values {
		variants[name] = dbus.MakeVariant(value)
	}
	return variants
}

type wireStep struct {
	Name string
	At   uint64
}

// micros is a time as systemd has it on the bus.
func micros(t time.Time) uint64 {
	if t.IsZero() {
		return 0
	}
	return uint64(max(0, t.UnixMicro()))
}
