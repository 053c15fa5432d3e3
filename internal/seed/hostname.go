package seed

import (
	"net/netip"
	"strings"
)

// Limits of RFC 1035, section 2.3.4, in characters.
const (
	maxName  = 253
	maxLabel = 63
)

// qualify completes a host name without a dot to an FQDN, if the result is a
// valid DNS name; otherwise the name stays as it is.
//
// cloud-init 24.1 to 25.3 looks for the domain in DHCP leases when there is no
// dot, and can crash the whole stage in that. It splits an FQDN again into host
// name and domain, so the host name is the same either way.
func qualify(name, domain string) string {
	if domain == "" || strings.Contains(name, ".") {
		return name
	}
	full := name + "." + domain
	if !validName(full) {
		return name
	}
	// "10" in the domain "0.0.1": cloud-init would make it "ip-10-0-0-1".
	if _, err := netip.ParseAddr(full); err == nil {
		return name
	}
	return full
}

// validName says whether s is a DNS name without final dot. Underscores pass:
// they are no host name's letters, but common in internal domains.
func validName(s string) bool {
	if len(s) > maxName {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > maxLabel || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for _, c := range []byte(label) {
			if !isLetterOrDigit(c) && c != '-' && c != '_' {
				return false
			}
		}
	}
	return true
}

func isLetterOrDigit(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}
