package seed

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nm-cloud-seed/nm-cloud-seed/datasource"
)

func TestDecideName(t *testing.T) {
	const lan, web, full = "lan", "web-1", "web-1.lan"
	qualified := func(name, domain string) Name { return Name{Local: name + "." + domain, Lease: domain} }
	alone := func(name string) Name { return Name{Local: name, FQDN: name, Lease: "localdomain"} }
	known := func(n Name) Name { n.Lease = lan; return n } // the network's domain, though it is not used
	replaced := func(n Name) Name { n.Replaced = true; return n }
	label := strings.Repeat("a", 63)
	for _, tt := range []struct {
		name string
		NameFacts
		want Name
	}{
		{"a domain", NameFacts{Given: web, Domain: lan}, qualified(web, lan)},
		{"no domain", NameFacts{Given: web}, alone(web)},
		{"recorded without a domain", NameFacts{Given: web, Domain: lan, Recorded: web}, known(alone(web))},
		{"recorded with the domain", NameFacts{Given: web, Domain: lan, Recorded: full}, qualified(web, lan)},
		{"recorded with another domain", NameFacts{Given: web, Domain: "new", Recorded: full}, qualified(web, "new")},
		{"recorded with a domain, the network has none", NameFacts{Given: web, Recorded: full}, qualified(web, lan)},
		{"the record of another name", NameFacts{Given: web, Domain: lan, Recorded: "db-1.corp"}, qualified(web, lan)},
		{"the record of a longer name", NameFacts{Given: web, Recorded: "web-10.corp"}, alone(web)},
		{"a hostile record", NameFacts{Given: web, Recorded: "web-1.a\nb: c"}, alone(web)},

		{"FQDN preferred", NameFacts{Given: web, Domain: lan, PreferFQDN: true}, known(alone(web))},
		{"FQDN preferred, no domain", NameFacts{Given: web, PreferFQDN: true}, alone(web)},
		{"FQDN preferred, recorded without a domain", NameFacts{Given: web, Domain: lan, PreferFQDN: true, Recorded: web}, known(alone(web))},
		{"FQDN preferred, recorded with a domain", NameFacts{Given: web, Domain: "new", PreferFQDN: true, Recorded: full}, qualified(web, lan)},
		{"FQDN preferred, recorded, no domain", NameFacts{Given: web, PreferFQDN: true, Recorded: full}, qualified(web, lan)},
		{"FQDN preferred, the record of another name", NameFacts{Given: web, Domain: lan, PreferFQDN: true, Recorded: "db-1.lan"}, known(alone(web))},

		{"the network's domain is localdomain", NameFacts{Given: web, Domain: "localdomain"}, alone(web)},
		{"given with localdomain", NameFacts{Given: "web-1.localdomain", Domain: lan}, qualified(web, lan)},
		{"given with localdomain, no domain", NameFacts{Given: "web-1.localdomain"}, alone(web)},
		{"recorded with localdomain", NameFacts{Given: web, PreferFQDN: true, Recorded: "web-1.localdomain"}, Name{Local: web, FQDN: "web-1.localdomain", Lease: "localdomain"}},

		{"given with a domain", NameFacts{Given: "web-1.example.org", Domain: lan}, qualified(web, "example.org")},
		{"given with a domain, FQDN preferred", NameFacts{Given: "web-1.example.org", PreferFQDN: true}, qualified(web, "example.org")},
		{"a final dot", NameFacts{Given: "web-1.", Domain: lan}, qualified(web, lan)},
		{"a final dot, no domain", NameFacts{Given: "web-1."}, alone(web)},
		{"a final dot after the domain", NameFacts{Given: "web-1.example.org."}, qualified(web, "example.org")},
		{"a domain that is none", NameFacts{Given: "web-1.a..b"}, alone(web)},
		{"a line feed", NameFacts{Given: "web-1\n"}, alone(web)},
		{"an address", NameFacts{Given: "10.1.1.2", Domain: lan}, qualified("ip-10-1-1-2", lan)},
		{"an address, no domain", NameFacts{Given: "10.1.1.2"}, alone("ip-10-1-1-2")},
		{"would become an address", NameFacts{Given: "10", Domain: "0.0.1"}, Name{Local: "10", FQDN: "10", Lease: "0.0.1"}},
		{"a nonsensical domain", NameFacts{Given: web, Domain: "a b"}, alone(web)},
		{"recorded with a domain, and a nonsensical one", NameFacts{Given: web, Domain: "a b", Recorded: full}, qualified(web, lan)},
		{"63 characters", NameFacts{Given: label}, alone(label)},

		{"nothing given", NameFacts{Current: "debian", Domain: lan}, qualified("debian", lan)},
		{"nothing given, no domain", NameFacts{Current: "debian\n"}, alone("debian")},
		{"nothing given, and the machine has an FQDN", NameFacts{Current: "img.example.org"}, qualified("img", "example.org")},
		{"nothing given, and the machine has no name", NameFacts{Current: "(none)"}, alone("localhost")},
		{"nothing at all", NameFacts{}, alone("localhost")},
		{"a space", NameFacts{Given: "my vm", Current: "debian"}, replaced(alone("debian"))},
		{"only a dot", NameFacts{Given: ".", Current: "debian"}, replaced(alone("debian"))},
		{"a dot first", NameFacts{Given: ".web-1", Current: "debian"}, replaced(alone("debian"))},
		{"64 characters", NameFacts{Given: label + "a", Current: "debian"}, replaced(alone("debian"))},
		{"several lines", NameFacts{Given: "web-1\ndb-1", Current: "debian"}, replaced(alone("debian"))},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := tt.Decide()
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			// Once cloud-init has recorded it, nothing changes any more.
			tt.Recorded = got.FQDN
			if got.FQDN == "" {
				tt.Recorded = got.Local
			}
			if diff := cmp.Diff(got, tt.Decide()); diff != "" {
				t.Errorf("the next boot, -this +next:\n%s", diff)
			}
		})
	}
}

// TestNameOf: the instance itself stays as it is, for the next boot.
func TestNameOf(t *testing.T) {
	inst := &datasource.Instance{Metadata: map[string]string{"local-hostname": "a"}, Origin: datasource.Origin{Domain: "lan"}}
	named := Name{Local: "b"}.Of(inst)
	if inst.Metadata["local-hostname"] != "a" || inst.Origin.Domain != "lan" || !strings.Contains(string(MetaData(named)), `"local-hostname": "b"`) {
		t.Errorf("got %v and %s, want a.lan and b", inst, MetaData(named))
	}
	if named := (Name{Local: "b"}).Of(&datasource.Instance{}); named.Metadata["local-hostname"] != "b" {
		t.Errorf("without metadata: got %v, want b", named.Metadata)
	}
}
