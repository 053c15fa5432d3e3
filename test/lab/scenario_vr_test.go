//go:build integration

package lab_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/nm-cloud-seed/nm-cloud-seed/datasource/cloudstack/vrtest"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/daemon"
	"github.com/nm-cloud-seed/nm-cloud-seed/test/lab"
)

// Where the virtual router is, and what it answers.

func TestDHCPServerThatIsRouterSeeds(t *testing.T) {
	start(t, lab.Config{}, func(s *scenario) {
		s.serve(0, s.VRAddr(0), s.router(0, "web"))
		o := s.seeded("web")
		if got, want := o.meta["local-hostname"], "web.cs2cloud.internal"; got != want {
			s.Errorf("got local-hostname %q, want the FQDN %q", got, want)
		}
		for path, want := range map[string]os.FileMode{
			"/run/nm-cloud-seed":               0o755 | os.ModeDir,
			"/run/nm-cloud-seed/status.json":   0o644,
			"/var/lib/cloud/seed/cs/":          0o700 | os.ModeDir,
			"/var/lib/cloud/seed/cs/meta-data": 0o600,
			"/var/lib/cloud/seed/cs/user-data": 0o600,
			"/var/lib/cloud/seed":              0o755 | os.ModeDir,
		} {
			if info, err := os.Stat(path); err != nil || info.Mode() != want {
				s.Errorf("%s: got %v, %v, want mode %v", path, info, err, want)
			}
		}
		s.Logf("seeded %v after the start", o.took)
	})
}

func TestForeignRouterOnSharedNetworkIsIgnored(t *testing.T) {
	c := lab.NIC{
		ServerID: netip.MustParseAddr("10.1.1.5"), Router: netip.MustParseAddr("10.1.1.254"),
		ExtraAddrs: []netip.Prefix{netip.MustParsePrefix("10.1.1.254/24")},
	}
	start(t, lab.Config{NICs: []lab.NIC{c}}, func(s *scenario) {
		s.serve(0, c.Router, foreign())
		s.serve(0, c.ServerID, s.router(0, "shared"))
		s.seeded("shared")
	})
}

func TestForeignRouterIsNotTheVR(t *testing.T) {
	c := lab.NIC{
		ServerID: netip.MustParseAddr("10.1.1.5"), Router: netip.MustParseAddr("10.1.1.254"),
		ExtraAddrs: []netip.Prefix{netip.MustParsePrefix("10.1.1.254/24")}, DNSOff: true,
	}
	start(t, lab.Config{NICs: []lab.NIC{c}}, func(s *scenario) {
		s.deadline = brief
		s.kept = []string{"eth0"}
		s.serve(0, c.Router, foreign())
		s.failed("eth0: DHCP server 10.1.1.5: connection refused", "eth0: router 10.1.1.254: the answer of 19 bytes is no instance-id")
	})
}

func TestRedundantVirtualRoutersSeed(t *testing.T) {
	vip := netip.MustParseAddr("10.1.1.1")
	c := lab.NIC{
		ServerID: netip.MustParseAddr("10.1.1.2"), Router: vip,
		ExtraAddrs:  []netip.Prefix{netip.PrefixFrom(vip, 24)},
		HostRecords: map[string]netip.Addr{"data-server": vip},
	}
	t.Run("own address serves", func(t *testing.T) {
		start(t, lab.Config{NICs: []lab.NIC{c}}, func(s *scenario) {
			vr := s.router(0, "pair")
			s.serve(0, c.ServerID, vr)
			s.serve(0, vip, vr)
			if o := s.seeded("pair"); o.state.Instance.Server != c.ServerID {
				s.Errorf("got the data from %v, want it from %v", o.state.Instance.Server, c.ServerID)
			}
		})
	})
	t.Run("only the virtual address serves", func(t *testing.T) {
		start(t, lab.Config{NICs: []lab.NIC{c}}, func(s *scenario) {
			s.serve(0, vip, s.router(0, "pair"))
			if o := s.seeded("pair"); o.state.Instance.Role != "router" {
				s.Errorf("got the role %q, want router", o.state.Instance.Role)
			}
		})
	})
}

// twoNICs is a VM with the default network on one NIC and a further one, as
// CloudStack serves them.
func twoNICs(defaultNIC int) lab.Config {
	c := lab.Config{NICs: []lab.NIC{{}, {}}}
	c.NICs[1-defaultNIC].NonDefault = true
	return c
}

// The VRs of both networks answer, each with its own network's data; whichever
// is faster, only the default network's is right.
func TestTwoNICsAlwaysTheDefaultOne(t *testing.T) {
	for defaultNIC := range 2 {
		t.Run(fmt.Sprintf("eth%d", defaultNIC), func(t *testing.T) {
			start(t, twoNICs(defaultNIC), func(s *scenario) {
				vrs := []*vrtest.VR{s.router(0, "eth0"), s.router(1, "eth1")}
				s.serve(0, s.VRAddr(0), vrs[0])
				s.serve(1, s.VRAddr(1), vrs[1])
				for range 50 { // 100 in all
					for _, vr := range vrs {
						vr.SetFaults(vrtest.Fault{Delay: rand.N(30 * time.Millisecond)})
					}
					s.seeded(fmt.Sprintf("eth%d", defaultNIC))
					if s.Failed() {
						return
					}
				}
				if n := len(vrs[1-defaultNIC].Requests()); n != 0 {
					s.Errorf("got %d requests at the other network's VR, want none", n)
				}
			})
		})
	}
}

// The default network's NIC appears a moment after the other one.
func TestTwoNICsLateDefaultOneIsWaitedFor(t *testing.T) {
	c := twoNICs(1)
	start(t, c, func(s *scenario) {
		s.serve(0, s.VRAddr(0), s.router(0, "eth0"))
		s.serve(1, s.VRAddr(1), s.router(1, "eth1"))
		// All that takes long is there already: eth1 has to come within the 2 s in
		// which it is waited for.
		s.must(s.Command(s.Context(), "ip", "link", "set", "eth1", "netns", "vr1").Run())
		leased := stateHas(func(state daemon.State) bool { return slices.Contains(names(state.Steps), "lease") })
		s.when("a lease of eth0", leased, func() error {
			if err := s.RouterCommand(s.Context(), 1, "ip", "link", "set", "eth1", "netns", "vm").Run(); err != nil {
				return err
			}
			return s.Command(s.Context(), "ip", "link", "set", "eth1", "up").Run()
		})
		s.seeded("eth1")
	})
}

// The default network's DHCP server is slower than the other network's by more
// than any answer of a VR takes.
func TestTwoNICsLateDefaultLeaseIsWaitedFor(t *testing.T) {
	c := twoNICs(1)
	c.NICs[1].OfferDelay = 1500 * time.Millisecond // the DISCOVER of 1 s, which we repeat at 3 s
	start(t, c, func(s *scenario) {
		s.serve(0, s.VRAddr(0), s.router(0, "eth0"))
		s.serve(1, s.VRAddr(1), s.router(1, "eth1"))
		s.seeded("eth1")
	})
}

func TestVROnSecondNICSeeds(t *testing.T) {
	start(t, twoNICs(0), func(s *scenario) {
		s.serve(1, s.VRAddr(1), s.router(1, "second"))
		s.seeded("second")
	})
}

func TestLeaseWithoutRouterSeeds(t *testing.T) {
	start(t, lab.Config{NICs: []lab.NIC{{NoRouter: true}}}, func(s *scenario) {
		s.serve(0, s.VRAddr(0), s.router(0, "alone"))
		s.seeded("alone")
	})
}

func TestDataServerOnlySeeds(t *testing.T) {
	addr := netip.MustParseAddr("10.1.1.77")
	c := lab.NIC{
		ExtraAddrs:  []netip.Prefix{netip.PrefixFrom(addr, 24)},
		HostRecords: map[string]netip.Addr{"data-server": addr},
	}
	start(t, lab.Config{NICs: []lab.NIC{c}}, func(s *scenario) {
		s.serve(0, addr, s.router(0, "named"))
		if o := s.seeded("named"); o.state.Instance.Server != addr || o.state.Instance.Role != "data-server" {
			s.Errorf("got %+v, want data-server at %v", o.state.Instance, addr)
		}
	})
}

// DNS servers that cannot be reached must not hold up what works without them.
func TestUnreachableDNSServersDoNotMatter(t *testing.T) {
	c := lab.NIC{DNS: []netip.Addr{netip.MustParseAddr("192.0.2.53"), netip.MustParseAddr("198.51.100.53")}}
	t.Run("VR present", func(t *testing.T) {
		start(t, lab.Config{NICs: []lab.NIC{c}}, func(s *scenario) {
			s.serve(0, s.VRAddr(0), s.router(0, "offlink"))
			s.seeded("offlink")
		})
	})
	t.Run("VR 3 s late", func(t *testing.T) {
		start(t, lab.Config{NICs: []lab.NIC{c}}, func(s *scenario) {
			s.after(3*time.Second, func() error { s.serve(0, s.VRAddr(0), s.router(0, "offlink")); return nil })
			s.seeded("offlink")
		})
	})
}

func TestVRTenSecondsLateSeeds(t *testing.T) {
	start(t, lab.Config{}, func(s *scenario) {
		s.after(10*time.Second, func() error { s.serve(0, s.VRAddr(0), s.router(0, "late")); return nil })
		s.seeded("late")
	})
}

func TestVRThatAnswers404AtFirstSeeds(t *testing.T) {
	start(t, lab.Config{}, func(s *scenario) {
		vr := s.router(0, "patience")
		vr.SetFaults(vrtest.Fault{Match: vrtest.Path("/latest/meta-data/instance-id"), Status: 404, Times: 4})
		s.serve(0, s.VRAddr(0), vr)
		s.seeded("patience")
		var got []int
		for _, r := range vr.Requests() {
			if r.Path == "/latest/meta-data/instance-id" {
				got = append(got, r.Status)
			}
		}
		if want := []int{404, 404, 404, 404, 200}; !slices.Equal(got[:min(len(got), 5)], want) {
			s.Errorf("got the answers %d, want %d", got, want)
		}
	})
}

func TestStaleIndexKeyIsLeftOut(t *testing.T) {
	start(t, lab.Config{}, func(s *scenario) {
		vr := vrtest.New()
		vm := vrtest.Example(instance, s.ClientAddr(0))
		vm.Set("local-hostname", "stale")
		vm.UserData = []byte("#cloud-config\nhostname-was: stale\n")
		vm.Stale = []string{"emptied-by-user"}
		vr.SetVM(s.ClientAddr(0), vm)
		s.serve(0, s.VRAddr(0), vr)
		o := s.seeded("stale")
		if _, there := o.meta["emptied-by-user"]; there || len(o.meta) != len(vm.Metadata) {
			s.Errorf("got the metadata %v, want %d keys without emptied-by-user", o.meta, len(vm.Metadata))
		}
	})
}

func TestNoVRFailsAtDeadline(t *testing.T) {
	start(t, lab.Config{}, func(s *scenario) {
		s.deadline = brief
		s.kept = []string{"eth0"} // a VM had better keep its network
		o := s.failed("no instance metadata before the deadline", "eth0: DHCP server 10.1.1.1: connection refused")
		if o.took < brief {
			s.Errorf("got the failure after %v, want it at the deadline of %v", o.took, brief)
		}
	})
}
