// Package policy is what a bus is told of our D-Bus API: who may do what
// (dbus-daemon(1), "CONFIGURATION FILE"), what starts it, and the interface. The
// packages install the first two.
package policy

import _ "embed" // of the interface

// Interface is the introspection document of our object.
//
//go:embed org.nmcloudseed1.xml
var Interface string
