//go:build integration

package lab_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nm-cloud-seed/nm-cloud-seed/datasource/cloudstack"
	"github.com/nm-cloud-seed/nm-cloud-seed/datasource/cloudstack/vrtest"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/doctor"
	"github.com/nm-cloud-seed/nm-cloud-seed/nm"
	"github.com/nm-cloud-seed/nm-cloud-seed/test/lab"
)

// isCloudStack is the configuration of a VM whose firmware does not say so.
func (s *scenario) isCloudStack() {
	s.must(os.WriteFile("/etc/nm-cloud-seed.conf", []byte("[main]\nplatform=cloudstack\n"), 0o644))
}

// examine has the doctor look, and gives some of its checks by name.
func (s *scenario) examine() (checks map[string]doctor.Check, text string) {
	s.Helper()
	r := doctor.System(s.Context(), doctor.Here())
	var b bytes.Buffer
	s.must(r.Print(&b, 0, func(_ doctor.State, text string) string { return text }))
	s.Log(b.String())
	checks = make(map[string]doctor.Check)
	for _, c := range r.Checks {
		checks[c.Name] = c
	}
	return checks, b.String()
}

// stateOfAll is all that may change in NetworkManager, and on the disk.
func (s *scenario) stateOfAll() string {
	s.Helper()
	out, err := s.Nmcli(s.Context(), "-t", "-f", "DEVICE,STATE,CONNECTION", "device")
	s.must(err)
	var files []string
	for _, dir := range []string{"/run", "/var/lib", "/etc/NetworkManager"} {
		s.must(filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
			if path == "/run/lab" { // is the lab's own
				return filepath.SkipDir
			}
			files = append(files, path)
			return err
		}))
	}
	return out + strings.Join(append(s.list(), files...), "\n")
}

// TestDoctorChangesNothing: what it sees of a real NetworkManager and a virtual router, that it
// changes nothing, and that the password is still there.
func TestDoctorChangesNothing(t *testing.T) {
	const secret = "MARKER-OF-A-SECRET"
	nics := []lab.NIC{{}, {NonDefault: true}}
	start(t, lab.Config{NICs: nics, Profiles: map[string]string{"owner.nmconnection": dhcpProfile}}, func(s *scenario) {
		s.isCloudStack()
		vr := vrtest.New()
		vm := vrtest.Example(instance, s.ClientAddr(0))
		vm.Password, vm.UserData = secret, []byte(secret)
		vm.Set("token", secret)
		vr.SetVM(s.ClientAddr(0), vm)
		s.must(s.ServeVR(s.Context(), 0, vr))
		s.eventually("a lease", func() bool {
			view, _, err := nm.Look(s.Context())
			return err == nil && len(view.Leases) == 1
		})
		before := s.stateOfAll()
		var checks map[string]doctor.Check
		var text string
		s.undisturbed(func() { checks, text = s.examine() })
		if diff := cmp.Diff(before, s.stateOfAll()); diff != "" {
			s.Errorf("got these changes, want none (-before +after):\n%s", diff)
		}
		if strings.Contains(text, secret) {
			s.Errorf("got a report with %q, want it without secrets", secret)
		}
		if log := s.NMLog(); strings.Contains(log, "nm-cloud-seed") {
			s.Errorf("got this log of NetworkManager, want it without nm-cloud-seed:\n%s", log)
		}
		for name, want := range map[string]string{
			"platform.cloudstack":      "a CloudStack VM, says platform=cloudstack in the configuration",
			"virtual-router.metadata":  "10.1.1.1 (DHCP server on eth0) would be taken, with instance " + instance,
			"virtual-router.passwords": "10.1.1.1 is a password server (it was not asked for a password)",
		} {
			if c := checks[name]; c.State != doctor.OK || c.Detail != want {
				s.Errorf("%s: got %+v, want %q", name, c, want)
			}
		}
		if c := checks["NetworkManager.devices"]; !cmp.Equal(c.Items, []string{
			`eth0: 10.1.1.100/24 on "owner", DHCP server 10.1.1.1, router 10.1.1.1, DNS 10.1.1.1 8.8.8.8`, "eth1: not connected",
		}) {
			s.Errorf("got the devices %+v, want eth0 with its lease and eth1 without", c)
		}
		if c := checks["virtual-router.metadata"]; len(c.Items) != 2 || !strings.HasPrefix(c.Items[1], "data-server on eth0: the same address as above, after ") {
			s.Errorf("got the candidates %+v, want data-server as the same address", c)
		}
		for _, r := range vr.Requests() {
			if r.Method != "GET" || r.DomURequest != "" || r.Port == vrtest.MetadataPort && r.Path != "/latest/meta-data/instance-id" {
				s.Errorf("got the request %s %s with DomU_Request %q, want GET of the instance-id only", r.Method, r.Path, r.DomURequest)
			}
		}
		view, _, err := nm.Look(s.Context())
		s.must(err)
		ctx, cancel := context.WithTimeout(s.Context(), hangLimit)
		defer cancel()
		if p, err := cloudstack.FetchPassword(ctx, view.Leases[0], 0); err != nil || p.Text != secret {
			s.Errorf("got the password %v, %v afterwards, want the one that waits", p, err)
		}
	})
}

// TestDoctorNamesWhatIsMissing: nothing that is missing is connected, and each thing is
// said once.
func TestDoctorNamesWhatIsMissing(t *testing.T) {
	for name, test := range map[string]struct {
		config lab.Config
		change func(s *scenario)
		fails  string // the check that does
		says   string
	}{
		"no NetworkManager": {config: lab.Config{NoNM: true}, fails: "NetworkManager.running", says: "NetworkManager is not on the bus"},
		"nobody connects":   {fails: "NetworkManager.devices", says: "no device has an IPv4 address:"},
		"unmanaged":         {config: lab.Config{NICs: []lab.NIC{{Unmanaged: true}}}, fails: "NetworkManager.devices", says: "no device has an IPv4 address:"},
		"nobody serves":     {config: lab.Config{Profiles: map[string]string{"owner.nmconnection": dhcpProfile}}, fails: "virtual-router.metadata", says: "nobody has metadata for this VM:"},
	} {
		t.Run(name, func(t *testing.T) {
			start(t, test.config, func(s *scenario) {
				s.isCloudStack()
				if test.config.Profiles != nil {
					s.eventually("a lease", func() bool { return s.active("owner") })
				}
				checks, _ := s.examine()
				if c := checks[test.fails]; c.State != doctor.Problem || c.Detail != test.says || c.Fix == "" {
					s.Errorf("%s: got %+v, want a problem with a fix: %s", test.fails, c, test.says)
				}
				for _, after := range []string{"virtual-router.passwords", "this-boot.seed"} {
					if c := checks[after]; c.State != doctor.Skipped {
						s.Errorf("%s: got %+v, want it skipped", after, c)
					}
				}
				if !test.config.NoNM {
					s.nothingLeft()
				}
			})
		})
	}
}
