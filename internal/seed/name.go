package seed

import (
	"cmp"
	"maps"
	"net/netip"
	"strings"

	"github.com/nm-cloud-seed/nm-cloud-seed/datasource"
)

// noDomain is the domain that cloud-init's datasources take for none.
const noDomain = "localdomain"

// lastResort is the host name where the virtual router gives none, and the machine has
// none.
const lastResort = "localhost"

// NameFacts are all that decides under which name a VM is seeded.
type NameFacts struct {
	Given      string // the virtual router's local-hostname
	Current    string // the machine's host name, for when nothing useful is given
	Domain     string // of the network; empty if it has none
	PreferFQDN bool   // cloud-init makes the FQDN the host name (prefer_fqdn_over_hostname)
	Recorded   string // the FQDN that cloud-init has recorded for this instance; empty if none
}

// Name is under which name a VM is seeded.
type Name struct {
	Local string // local-hostname in the seed
	// FQDN is for cloud-init's configuration where Local has no domain: with it,
	// cloud-init asks no DHCP client for a domain. Empty: it is not needed.
	FQDN string
	// Lease is the domain for the compatibility lease, never empty: it answers
	// what asks the datasource itself, such as cloud-init's phone_home.
	Lease string
	// Replaced reports that Given was no host name, and Local is another one.
	Replaced bool
}

// Decide returns the name to seed. It is such that the datasource never has to look
// for a domain, and that a VM that has been set up keeps its host name:
//
//   - A name with a domain stays as it is.
//   - Where cloud-init's record of this instance has no domain, it gets none: the VM
//     was set up without us, or without a domain.
//   - Where the record has one, the name gets the network's, as cloud-init has it, or
//     the recorded one. If the FQDN is the host name, always the recorded one.
//   - Without a record it gets the network's, but if the FQDN is the host name, none:
//     the host name is what the virtual router gives.
func (f NameFacts) Decide() Name {
	host, domain := split(f.Given)
	replaced := host == "" && f.Given != ""
	if host == "" {
		host, domain = split(f.Current)
	}
	if host == "" {
		host = lastResort
	}
	network := f.Domain
	if network == noDomain || !validName(network) {
		network = ""
	}
	if domain == "" {
		domain = f.suffix(host, network)
	}
	if full := qualify(host, domain); domain != noDomain && full != host {
		return Name{Local: full, Lease: domain, Replaced: replaced}
	}
	fqdn := host
	if domain == noDomain {
		fqdn += "." + domain
	}
	return Name{Local: host, FQDN: fqdn, Lease: cmp.Or(network, noDomain), Replaced: replaced}
}

// suffix chooses the domain for a host name without one; network is the network's, or
// empty.
func (f NameFacts) suffix(host, network string) string {
	recorded, qualified := strings.CutPrefix(f.Recorded, host+".")
	switch {
	case f.Recorded == host:
		return ""
	case qualified && (f.PreferFQDN || network == ""):
		return recorded
	case f.PreferFQDN:
		return ""
	}
	return network
}

// split returns the host name that cloud-init makes of a name, and the domain, empty
// if there is none. A domain that is none is left out; host is empty if the name cannot
// be one.
func split(name string) (host, domain string) {
	name = strings.TrimSuffix(strings.TrimSpace(name), ".")
	if a, err := netip.ParseAddr(name); err == nil && a.Is4() {
		return "ip-" + strings.ReplaceAll(name, ".", "-"), "" // get_hostname in sources/__init__.py
	}
	host, domain, _ = strings.Cut(name, ".")
	if !validName(host) {
		return "", ""
	}
	if domain == noDomain || !validName(domain) {
		domain = ""
	}
	return host, domain
}

// Of returns the instance under this name, as it is to be seeded.
func (n Name) Of(inst *datasource.Instance) *datasource.Instance {
	named := *inst
	named.Metadata = maps.Clone(inst.Metadata)
	if named.Metadata == nil {
		named.Metadata = map[string]string{}
	}
	named.Metadata["local-hostname"] = n.Local
	named.Origin.Domain = "" // Local has it
	return &named
}
