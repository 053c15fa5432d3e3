//go:build integration

package daemon

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nm-cloud-seed/nm-cloud-seed/datasource"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/cloudinit"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/config"
	"github.com/nm-cloud-seed/nm-cloud-seed/test/debroot"
)

//go:embed testdata/names.py
var names string

const (
	dropInLink = "etc/cloud/cloud.cfg.d/99-nm-cloud-seed.cfg"
	template   = "## template: jinja\n"
)

// named is a VM, and the names that it has to have.
type named struct {
	given    string // local-hostname; "-" is none
	base     string // the host name that is made of it
	own      string // the domain that it has itself
	domain   string // of the network
	prefer   bool
	user     string // user-data
	recorded string // the FQDN of cloud-init's record
}

// allNames returns the combinations that matter.
func allNames() (all []named) {
	for _, n := range []named{
		{given: "web-1", base: "web-1"}, {given: "web-1.", base: "web-1"}, {given: "web-1.localdomain", base: "web-1"},
		{given: "web-1.example.org", base: "web-1", own: "example.org"}, {given: "10.1.1.2", base: "ip-10-1-1-2"}, {given: "0x1", base: "0x1"},
		{given: "", base: "img"}, {given: "-", base: "img"}, {given: "a\nb", base: "img"},
	} {
		for _, n.domain = range []string{"", "cs2cloud.internal", "localdomain"} {
			for _, n.prefer = range []bool{false, true} {
				for _, n.user = range []string{"", "hostname: foo", "hostname: a.b", "fqdn: x.y", "hostname: foo\nfqdn: x.y"} {
					all = append(all, n)
				}
				n.user = ""
				for _, n.recorded = range []string{n.base, n.base + ".old"} {
					all = append(all, n)
				}
				n.recorded = ""
			}
		}
	}
	for _, user := range []string{"hostname: foo", "hostname: a.b", "fqdn: x.y"} {
		all = append(all, named{given: "web-1", base: "web-1", user: template + user})
	}
	return all
}

// want returns the host name and the FQDN that the VM has to have in the end.
func (n named) want() (host, fqdn string) {
	host, domain := n.base, n.own
	network := n.domain
	if network == "localdomain" {
		network = ""
	}
	switch {
	case domain != "":
	case n.recorded == n.base:
	case n.recorded != "" && (n.prefer || network == ""):
		domain = "old"
	case !n.prefer:
		domain = network
	}
	fqdn = host
	if domain != "" {
		fqdn += "." + domain
	}
	for line := range strings.Lines(strings.TrimPrefix(n.user, template)) {
		switch key, value, _ := strings.Cut(strings.TrimSpace(line), ": "); {
		case key == "fqdn":
			fqdn = value
			if !strings.Contains(n.user, "hostname") {
				host, _, _ = strings.Cut(value, ".")
			}
		case strings.Contains(value, "."):
			host, _, _ = strings.Cut(value, ".")
			fqdn = value
		default:
			host = value
		}
	}
	if n.prefer {
		host = fqdn
	}
	return host, fqdn
}

// build seeds the VM with our own code.
func (n named) build(t *testing.T, root string) {
	inst := &datasource.Instance{ID: "i", Metadata: map[string]string{"instance-id": "i", "availability-zone": "z", "local-hostname": n.given}, Origin: datasource.Origin{
		Server: netip.MustParseAddr("10.1.1.1"), Index: 2, Device: "eth0", Domain: n.domain,
	}}
	if n.given == "-" {
		delete(inst.Metadata, "local-hostname")
	}
	if n.user != "" {
		inst.UserData = []byte("#cloud-config\n" + strings.TrimPrefix(n.user, template) + "\n")
		if strings.HasPrefix(n.user, template) {
			inst.UserData = append([]byte(template), inst.UserData...)
		}
	}
	for name, text := range map[string]string{
		"etc/cloud/cloud.cfg":              fmt.Sprintf("prefer_fqdn_over_hostname: %t\nsystem_info: {distro: debian}\n", n.prefer),
		"proc/sys/kernel/hostname":         "img\n",
		"user-data":                        string(inst.UserData),
		"var/lib/cloud/data/instance-id":   "i\n",
		"var/lib/cloud/data/set-hostname":  fmt.Sprintf("{\"hostname\": %q, \"fqdn\": %q}", n.base, n.recorded),
		"run/systemd/netif/links/1":        "",
		"etc/cloud/cloud.cfg.d/05_own.cfg": "{}\n",
	} {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("/run/nm-cloud-seed/private/cloud.cfg", filepath.Join(root, dropInLink)); err != nil {
		t.Fatal(err)
	}
	d, _ := newDaemon(root, config.Config{})
	name := d.nameFor(inst)
	if err := d.seed(inst, name); err != nil {
		t.Fatal(err)
	}
	if kept, err := (cloudinit.Files{Root: root}).PlaceLease(filepath.Join(root, RunDir)); kept != "" || err != nil {
		t.Fatalf("got %q, %v, want the lease placed", kept, err)
	}
	(&handover{Daemon: d, fqdn: name.FQDN}).over(t.Context(), inst)
}

// TestCloudInitAsksNoDHCPClient has the cloud-init of each Debian release say which names a
// VM has that we have seeded, and fails if that asks a DHCP client, or anything but our lease.
func TestCloudInitAsksNoDHCPClient(t *testing.T) {
	t.Parallel()
	dir, all := t.TempDir(), allNames()
	for i, n := range all {
		n.build(t, filepath.Join(dir, fmt.Sprintf("%04d", i)))
	}
	const inside = `mount -t tmpfs tmpfs "$2/run" && mount --bind /proc "$2/proc" && mount --bind "$1" "$2/mnt" && exec chroot "$2" python3 -c "$3"`
	for _, suite := range []string{"bookworm", "trixie", "sid"} {
		t.Run(suite, func(t *testing.T) {
			root, err := debroot.Image(suite).Open()
			if err != nil {
				t.Fatal(err)
			}
			var stderr bytes.Buffer
			cmd := exec.CommandContext(t.Context(), "unshare", "--mount", "sh", "-ec", inside, "sh", dir, root, names)
			cmd.Stderr = &stderr
			out, err := cmd.Output()
			lines := strings.Split(strings.TrimSpace(string(out)), "\n")
			if err != nil || len(lines) != len(all)+1 {
				t.Fatalf("%v, %d answers for %d names\n%s", err, len(lines)-1, len(all), stderr.Bytes())
			}
			family(t, lines[0])
			for i, n := range all {
				if !t.Run(fmt.Sprintf("%d", i), func(t *testing.T) { n.judge(t, suite, lines[i+1]) }) {
					t.Logf("%d is %+v", i, n)
				}
			}
		})
	}
}

// family compares the distributions whose host name is the FQDN.
func family(t *testing.T, answer string) {
	var theirs []string
	if err := json.Unmarshal([]byte(answer), &theirs); err != nil {
		t.Fatal(err)
	}
	if len(theirs) < 5 || !slices.Contains(theirs, "rhel") {
		t.Errorf("got the distributions %v, want more, with rhel", theirs)
	}
	for _, name := range theirs {
		if slices.Contains([]string{"freebsd", "openbsd", "netbsd", "dragonfly", "alpine"}, name) {
			continue // no systemd
		}
		root := machine(t, map[string]string{"etc/cloud/cloud.cfg": "system_info: {distro: " + name + "}\n"})
		if c, err := (cloudinit.Files{Root: root}).Config(); err != nil || !c.PreferFQDN() {
			t.Errorf("%s: got %v, and its host name is not the FQDN, want it so, as in cloud-init", name, err)
		}
	}
}

func (n named) judge(t *testing.T, suite, answer string) {
	var got map[string][]string
	if err := json.Unmarshal([]byte(answer), &got); err != nil {
		t.Fatal(err)
	}
	host, fqdn := n.want()
	want := fmt.Sprint([]string{host, fqdn})
	hidden, dotted := strings.HasPrefix(n.user, template), strings.Contains(n.user, "hostname: a.b")
	// Here another FQDN may count, and the lease has to do.
	byLease := n.own == "" && (hidden || dotted)
	if byLease && hidden && !dotted && suite != "bookworm" && !strings.Contains(n.user, "fqdn") {
		want = fmt.Sprint([]string{host, fqdn + ".localdomain"})
	}
	for when, names := range got {
		text := fmt.Sprint(names)
		lease := !strings.HasSuffix(when, "no lease")
		switch {
		case lease && len(names) != 2:
			t.Errorf("%s: got %s, want a host name and an FQDN", when, text)
		case strings.HasPrefix(when, "late") && (lease || !byLease) && text != want:
			t.Errorf("%s: got %s, want %s", when, text, want)
		case strings.HasPrefix(when, "early") && (lease || !byLease) && len(names) != 2:
			t.Errorf("%s: got %s, want a host name and an FQDN", when, text)
		case strings.HasPrefix(when, "direct") && lease && names[0] != n.base:
			t.Errorf("%s: got %s, want the host name %s", when, text, n.base)
		case slices.Contains(names, ""):
			t.Errorf("%s: got %s, want no empty name", when, text)
		}
	}
}
