package seed

import (
	"strings"
	"testing"
)

func TestQualify(t *testing.T) {
	label := func(n int) string { return strings.Repeat("a", n) }
	long := strings.Join([]string{label(63), label(63), label(63)}, ".") // 191 characters
	for _, tt := range []struct {
		name, host, domain, want string
	}{
		{"completed", "vm-1", "cs1cloud.internal", "vm-1.cs1cloud.internal"},
		{"one label", "vm", "lan", "vm.lan"},
		{"capitals stay", "VM", "Example.ORG", "VM.Example.ORG"},
		{"underscore in a domain", "vm", "corp_net.lan", "vm.corp_net.lan"},
		{"no domain", "vm", "", "vm"},
		{"has a dot", "vm.example.org", "lan", "vm.example.org"},
		{"ends in a dot", "vm.", "lan", "vm."},
		{"address", "10.1.1.2", "lan", "10.1.1.2"},
		{"would become an address", "10", "0.0.1", "10"},
		{"no name", "", "lan", ""},
		{"space", "my vm", "lan", "my vm"},
		{"newline", "vm\n", "lan", "vm\n"},
		{"umlaut", "bär", "lan", "bär"},
		{"hyphen first", "-vm", "lan", "-vm"},
		{"hyphen last", "vm-", "lan", "vm-"},
		{"empty label in the domain", "vm", "a..b", "vm"},
		{"final dot in the domain", "vm", "lan.", "vm"},
		{"hostile domain", "vm", "lan\nx: y", "vm"},
		{"label of 63", label(63), "lan", label(63) + ".lan"},
		{"label of 64", label(64), "lan", label(64)},
		{"253 in all", label(61), long, label(61) + "." + long},
		{"254 in all", label(62), long, label(62)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := qualify(tt.host, tt.domain); got != tt.want {
				t.Errorf("qualify(%q, %q) = %q, want %q", tt.host, tt.domain, got, tt.want)
			}
		})
	}
}
