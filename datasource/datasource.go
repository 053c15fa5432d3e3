// Package datasource is the contract between a cloud's metadata service and
// the rest: what an instance is, and how a fetch can fail.
package datasource

import (
	"errors"
	"net/netip"
)

// Sentinel errors, to be tested with errors.Is.
var (
	// ErrNotReady means that asking again later may succeed.
	ErrNotReady = errors.New("not ready")
	// ErrRefused means that what answered is no metadata service for this VM,
	// or that its answer breaks a limit: asking again will not help.
	ErrRefused = errors.New("refused")
)

// Instance is what the metadata service says about this VM. UserData and the
// values of Metadata may hold secrets: they never go to a log or an error.
type Instance struct {
	ID       string            // instance-id
	Metadata map[string]string // every key of the service's index that it serves
	UserData []byte            // as served, never decompressed; empty if there is none
	Origin   Origin
	Warnings []string // keys that were left out, and why
}

// Origin says where an Instance came from.
type Origin struct {
	Server netip.Addr // who served it
	Role   string     // how the server was found: "DHCP server", "router", "data-server"
	Device string     // the device it was asked through
	Index  int        // that device's kernel interface index, 0 if unknown
	DHCP   netip.Addr // the DHCP server of that device's network, or zero
	Router netip.Addr // the first router of that device's network, or zero
	Domain string     // the DNS domain of that device's network, or else of the default network, or empty
}
