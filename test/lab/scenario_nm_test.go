//go:build integration

package lab_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/nm-cloud-seed/nm-cloud-seed/datasource/cloudstack/vrtest"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/config"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/daemon"
	"github.com/nm-cloud-seed/nm-cloud-seed/test/lab"
)

// What NetworkManager, DHCP and the devices do.

const dhcpProfile = `[connection]
id=owner
uuid=0d6f0bd3-53a3-4a3c-93b4-b1a2f7e4a7c1
type=ethernet
interface-name=eth0
[ipv4]
method=auto
[ipv6]
method=disabled
`

// ownerActive checks that the owner's profile is what is active on eth0.
func (s *scenario) ownerActive() {
	s.Helper()
	out, err := s.Nmcli(s.Context(), "-t", "-f", "DEVICE,CONNECTION", "device")
	s.must(err)
	if !strings.Contains(out, "eth0:owner\n") {
		s.Errorf("got these active connections, want eth0:owner:\n%s", out)
	}
}

func TestOwnersProfileIsUsed(t *testing.T) {
	start(t, lab.Config{Profiles: map[string]string{"owner.nmconnection": dhcpProfile}}, func(s *scenario) {
		s.serve(0, s.VRAddr(0), s.router(0, "adopted"))
		if o := s.seeded("adopted"); len(o.state.Temporary) > 0 {
			s.Errorf("got temporary connections on %q beside the owner's profile, want none", o.state.Temporary)
		}
		s.ownerActive()
		if log := s.NMLog(); strings.Contains(log, "nm-cloud-seed") {
			s.Errorf("got this log of NetworkManager, want it without nm-cloud-seed:\n%s", log)
		}
	})
}

func TestNetworkManagersDefaultConnectionIsUsed(t *testing.T) {
	start(t, lab.Config{AutoDefault: true}, func(s *scenario) {
		s.serve(0, s.VRAddr(0), s.router(0, "wired"))
		s.seeded("wired")
		if log := s.NMLog(); strings.Contains(log, "nm-cloud-seed") {
			s.Errorf("got this log of NetworkManager, want it without nm-cloud-seed:\n%s", log)
		}
	})
}

func TestStaticAddressIsUsed(t *testing.T) {
	profile := strings.Replace(dhcpProfile, "[ipv4]\nmethod=auto\n", "[ipv4]\nmethod=manual\naddress1=10.1.1.100/24,10.1.1.1\ndns=10.1.1.1;\ndns-search=static.example;\n", 1)
	c := lab.Config{NICs: []lab.NIC{{NoDHCP: true}}, Profiles: map[string]string{"owner.nmconnection": profile}}
	start(t, c, func(s *scenario) {
		s.serve(0, s.VRAddr(0), s.router(0, "static"))
		if o := s.seeded("static"); o.meta["local-hostname"] != "static.static.example" {
			s.Errorf("got local-hostname %q, want static.static.example", o.meta["local-hostname"])
		}
		s.ownerActive()
	})
}

func TestLateDHCPServerSeeds(t *testing.T) {
	start(t, lab.Config{NICs: []lab.NIC{{NoDHCP: true}}}, func(s *scenario) {
		s.after(5*time.Second, func() error { return s.StartDHCP(0) })
		s.serve(0, s.VRAddr(0), s.router(0, "late"))
		s.seeded("late")
	})
}

func TestOfferThreeSecondsLateSeeds(t *testing.T) {
	start(t, lab.Config{NICs: []lab.NIC{{OfferDelay: 3 * time.Second}}}, func(s *scenario) {
		s.serve(0, s.VRAddr(0), s.router(0, "slow"))
		// Asked at 0, 1 and 3 s, and by NetworkManager at 5.7 s and at 10 s: the
		// one of 5.7 s is the first that lasts until its OFFER. Each further
		// asking of ours would have put an end to one that lasts.
		s.seeded("slow")
		if got := s.asked(); got > 3 {
			s.Errorf("got %d activations, want 3 at most", got)
		}
	})
}

// A DISCOVER without an answer is asked again by us: there is no DHCP server before.
func TestLostDiscoverIsAskedAgain(t *testing.T) {
	start(t, lab.Config{NICs: []lab.NIC{{NoDHCP: true}}}, func(s *scenario) {
		s.when("a second activation", func() bool { return s.asked() > 1 }, func() error { return s.StartDHCP(0) })
		s.serve(0, s.VRAddr(0), s.router(0, "again"))
		s.seeded("again")
	})
}

func TestLateNetworkManagerIsWaitedFor(t *testing.T) {
	start(t, lab.Config{NoNM: true}, func(s *scenario) {
		s.after(time.Second, s.StartNetworkManager)
		s.serve(0, s.VRAddr(0), s.router(0, "early"))
		s.seeded("early")
	})
}

func TestMissingNetworkManagerFails(t *testing.T) {
	start(t, lab.Config{NoNM: true}, func(s *scenario) {
		s.deadline = brief
		s.failed("NetworkManager is not on the bus")
	})
}

func TestNetworkManagerKilledInActivationSeeds(t *testing.T) {
	start(t, lab.Config{NICs: []lab.NIC{{NoDHCP: true}}}, func(s *scenario) {
		s.serve(0, s.VRAddr(0), s.router(0, "survivor"))
		s.when("an activation", func() bool { return s.asked() > 0 }, func() error {
			if err := s.StopNetworkManager(syscall.SIGKILL); err != nil {
				return err
			}
			if err := s.StartDHCP(0); err != nil {
				return err
			}
			return s.StartNetworkManager()
		})
		s.seeded("survivor")
	})
}

// The profile of a connection whose NetworkManager was killed outlives it, and
// is no longer bound to anybody.
func TestNetworkManagerKilledWhileHeldIsTakenUpAgain(t *testing.T) {
	start(t, lab.Config{}, func(s *scenario) {
		s.serve(0, s.VRAddr(0), s.router(0, "held"))
		s.holding = func() {
			s.must(s.StopNetworkManager(syscall.SIGKILL))
			s.must(s.StartNetworkManager())
			s.eventually("the connection is taken up again", isHeld)
		}
		s.seeded("held")
	})
}

// NetworkManager dies while the metadata is under way, which the kernel's
// address outlives; when it is back, the connection is held like any other.
func TestNetworkManagerKilledInCrawlSeeds(t *testing.T) {
	start(t, lab.Config{}, func(s *scenario) {
		vr := s.router(0, "crawl")
		underWay, killed := make(chan struct{}), make(chan struct{})
		var once sync.Once
		vr.SetFaults(vrtest.Fault{Match: func(r vrtest.Request) bool {
			if r.Path == "/latest/user-data" {
				once.Do(func() { close(underWay) })
				<-killed
			}
			return false
		}})
		s.serve(0, s.VRAddr(0), vr)
		go func() {
			defer close(killed)
			<-underWay
			if err := s.StopNetworkManager(syscall.SIGKILL); err != nil {
				s.Error(err)
			}
		}()
		s.holding = func() {
			s.must(s.StartNetworkManager())
			s.eventually("the connection is taken up again", isHeld)
		}
		s.seeded("crawl")
	})
}

func TestLeftoversOfEarlierRunAreRemoved(t *testing.T) {
	start(t, lab.Config{}, func(s *scenario) {
		s.serve(0, s.VRAddr(0), s.router(0, "clean"))
		s.holding = func() { // leave one behind: its NetworkManager and we die together
			s.must(s.StopNetworkManager(syscall.SIGKILL))
		}
		s.run()
		s.must(s.StartNetworkManager())
		out, err := s.Nmcli(s.Context(), "-t", "-f", "NAME", "connection")
		s.must(err)
		if !strings.Contains(out, "nm-cloud-seed eth0") {
			s.Fatalf("got these connections, want nm-cloud-seed eth0 to be removed:\n%s", out)
		}
		s.holding = nil
		s.seeded("clean")
	})
}

func TestCarrierIsWaitedFor(t *testing.T) {
	c := lab.Config{NICs: []lab.NIC{{NoCarrier: true}}}
	t.Run("for ever", func(t *testing.T) {
		start(t, c, func(s *scenario) {
			s.deadline = brief
			s.failed("eth0: ", "carrier")
		})
	})
	t.Run("plugged in later", func(t *testing.T) {
		start(t, c, func(s *scenario) {
			s.serve(0, s.VRAddr(0), s.router(0, "plugged"))
			s.after(time.Second, func() error { return s.SetCarrier(0, true) })
			s.seeded("plugged")
		})
	})
}

func TestLateNICSeeds(t *testing.T) {
	start(t, lab.Config{NICs: []lab.NIC{{Absent: true}}}, func(s *scenario) {
		s.after(2*time.Second, func() error {
			if err := s.AddNIC(0); err != nil {
				return err
			}
			s.serve(0, s.VRAddr(0), s.router(0, "hotplug"))
			return nil
		})
		s.seeded("hotplug")
	})
}

func TestUnmanagedDeviceFails(t *testing.T) {
	start(t, lab.Config{NICs: []lab.NIC{{Unmanaged: true}}}, func(s *scenario) {
		s.serve(0, s.VRAddr(0), s.router(0, "unmanaged"))
		s.failed("cannot get a lease: NetworkManager does not manage eth0, and no other network service runs it") // without a deadline
	})
}

// Somebody activates a profile of theirs on the device that we are asking on:
// it is theirs, and its lease serves as well. Also at the moments when we would
// ask again, 1 s after our activation, which waits 1 s for theirs.
func TestDeviceTakenOverByOwnerSeeds(t *testing.T) {
	profile := strings.Replace(dhcpProfile, "[ipv4]", "autoconnect=false\n[ipv4]", 1)
	c := lab.Config{NICs: []lab.NIC{{NoDHCP: true}}, Profiles: map[string]string{"owner.nmconnection": profile}}
	for _, after := range []int{500, 1960, 1970, 1980, 1990, 2000, 2010, 2020, 2030} {
		t.Run(fmt.Sprint(after), func(t *testing.T) {
			start(t, c, func(s *scenario) {
				s.serve(0, s.VRAddr(0), s.router(0, "taken"))
				s.after(time.Duration(after)*time.Millisecond, func() error {
					if _, err := s.Nmcli(context.Background(), "--wait", "0", "connection", "up", "owner"); err != nil {
						return err
					}
					return s.StartDHCP(0)
				})
				s.seeded("taken")
				s.ownerActive()
			})
		})
	}
}

// The only network is a temporary connection, and its cable is out for a while.
func TestHeldConnectionComesBackWithCarrier(t *testing.T) {
	start(t, lab.Config{}, func(s *scenario) {
		s.serve(0, s.VRAddr(0), s.router(0, "blip"))
		s.holding = func() {
			s.must(s.SetCarrier(0, false))
			s.eventually("NetworkManager gives the connection up", func() bool { return !isHeld() })
			s.must(s.SetCarrier(0, true))
			s.eventually("the connection comes back", isHeld)
		}
		s.seeded("blip")
	})
}

// A second run must not take the first one's connection for a leftover.
func TestSecondRunIsRefused(t *testing.T) {
	start(t, lab.Config{}, func(s *scenario) {
		s.serve(0, s.VRAddr(0), s.router(0, "first"))
		s.holding = func() {
			d := daemon.Daemon{Log: logrus.New(), Config: config.Default(), Notify: func(string) {}}
			if err := d.Run(s.Context()); !errors.Is(err, daemon.ErrRunning) {
				s.Errorf("got error %v of a second run, want %v", err, daemon.ErrRunning)
			}
			if state, err := daemon.ReadState(""); err != nil || state.Phase != daemon.Ready || len(state.Temporary) != 1 {
				s.Errorf("got state %+v, %v, want it ready, with one temporary connection", state, err)
			}
		}
		s.seeded("first")
	})
}

// The default network is the owner's; a second NIC is left idle. Ours on the
// second one goes as soon as the seed is there, and nothing is held.
func TestNothingIsHeldBesideOwnersNetwork(t *testing.T) {
	c := twoNICs(0)
	c.Profiles = map[string]string{"owner.nmconnection": dhcpProfile}
	start(t, c, func(s *scenario) {
		s.serve(0, s.VRAddr(0), s.router(0, "owners"))
		s.holding = func() {
			s.eventually("the service ends by itself", hasEnded)
		}
		s.seeded("owners")
		s.ownerActive()
	})
}

// While the temporary connection is held, another one takes the device: the
// service has nothing more to do and ends by itself.
func TestHoldEndsWhenAnotherConnectionIsActive(t *testing.T) {
	profile := strings.Replace(dhcpProfile, "[ipv4]", "autoconnect=false\n[ipv4]", 1)
	c := lab.Config{Profiles: map[string]string{"owner.nmconnection": profile}}
	start(t, c, func(s *scenario) {
		s.serve(0, s.VRAddr(0), s.router(0, "replaced"))
		s.holding = func() {
			if state, err := daemon.ReadState(""); err != nil || len(state.Temporary) != 1 {
				s.Errorf("got state %+v, %v while holding, want one temporary connection", state, err)
			}
			_, err := s.Nmcli(s.Context(), "connection", "up", "owner")
			s.must(err)
			s.eventually("the service ends", hasEnded)
		}
		s.seeded("replaced")
		s.ownerActive()
	})
}

// cloud-init is done, and nothing has taken the temporary connection's place: the
// service ends, the connection stays as it is and comes back after a lost
// carrier, and another profile still takes its place.
func TestConnectionStaysUntilShutdown(t *testing.T) {
	profile := strings.Replace(dhcpProfile, "[ipv4]", "autoconnect=false\n[ipv4]", 1)
	c := lab.Config{Profiles: map[string]string{"owner.nmconnection": profile}}
	start(t, c, func(s *scenario) {
		s.serve(0, s.VRAddr(0), s.router(0, "kept"))
		active := func(name string) func() bool { return func() bool { return s.active(name) } }
		s.holding = func() {
			s.undisturbed(s.cloudInitDone)
			if !active("nm-cloud-seed eth0")() {
				s.Error("got no active nm-cloud-seed eth0 after the run, want it until shutdown")
			}
			s.must(s.SetCarrier(0, false))
			s.eventually("the connection is lost", func() bool { return !active("nm-cloud-seed eth0")() })
			s.must(s.SetCarrier(0, true))
			s.eventually("it comes back", active("nm-cloud-seed eth0"))
			_, err := s.Nmcli(s.Context(), "connection", "up", "owner")
			s.must(err)
			if active("nm-cloud-seed eth0")() {
				s.Error("got nm-cloud-seed eth0 active, want the owner's profile in its place")
			}
			_, err = s.Nmcli(s.Context(), "connection", "delete", "nm-cloud-seed eth0") // for the next check
			s.must(err)
		}
		s.seeded("kept")
	})
}

// cloudInitDone ends a run that holds a connection on eth0.
func (s *scenario) cloudInitDone() {
	s.Helper()
	s.must(os.MkdirAll("/run/cloud-init", 0o755))
	if err := os.Symlink("nowhere", "/run/cloud-init/result.json"); !errors.Is(err, fs.ErrExist) {
		s.must(err)
	}
	s.eventually("the service ends by itself", func() bool {
		state, err := daemon.ReadState("")
		return err == nil && state.Ended != nil && slices.Equal(state.Kept, []string{"eth0"})
	})
}

// The service is run once more (systemctl restart) on a connection that it has
// handed over, with a VR that hangs, of which it has a copy, and then with one that
// answers. At last
// another profile takes the device, and nothing of ours is left.
func TestRestartedServiceUsesConnectionThatStays(t *testing.T) {
	profile := strings.Replace(dhcpProfile, "[ipv4]", "autoconnect=false\n[ipv4]", 1)
	start(t, lab.Config{Profiles: map[string]string{"owner.nmconnection": profile}}, func(s *scenario) {
		vr := s.router(0, "restarted")
		s.serve(0, s.VRAddr(0), vr)
		s.holding, s.kept = s.cloudInitDone, []string{"eth0"}
		s.seeded("restarted")
		s.undisturbed(func() {
			vr.SetFaults(vrtest.Fault{Delay: time.Minute})
			s.deadline = brief
			if o := s.seeded("restarted"); o.state.Instance.Source != daemon.LastBoot {
				s.Errorf("got state %+v of a run without a VR, want it from the %s", o.state, daemon.LastBoot)
			}
			vr.SetFaults()
			s.deadline = 0
			s.seeded("restarted")
		})
		s.must(os.Remove("/run/cloud-init/result.json"))
		s.kept = nil
		s.holding = func() {
			_, err := s.Nmcli(s.Context(), "connection", "up", "owner")
			s.must(err)
			s.eventually("the service ends", hasEnded)
		}
		s.seeded("restarted")
		s.ownerActive()
	})
}

// A run that has failed leaves its connection, which the next one goes on with
// and SIGTERM does not take down.
func TestRestartedServiceUsesConnectionOfFailedRun(t *testing.T) {
	start(t, lab.Config{}, func(s *scenario) {
		s.deadline, s.kept = brief, []string{"eth0"}
		s.failed("no instance metadata before the deadline")
		s.serve(0, s.VRAddr(0), s.router(0, "retried"))
		s.kept, s.inherited = nil, true
		s.holding = func() {
			if got := s.asked(); got != 1 {
				s.Errorf("got %d activations, want 1", got)
			}
		}
		s.undisturbed(func() { s.seeded("retried") })
	})
}

// The default DHCP client of a bridge over eth0 has the lease.
func TestBridgeIsUsed(t *testing.T) {
	c := lab.Config{Profiles: map[string]string{
		"bridge.nmconnection": "[connection]\nid=bridge\nuuid=0d6f0bd3-53a3-4a3c-93b4-b1a2f7e4a7c2\ntype=bridge\ninterface-name=br0\n[ethernet]\ncloned-mac-address=02:00:00:00:01:00\n[bridge]\nstp=false\n[ipv4]\nmethod=auto\n[ipv6]\nmethod=disabled\n",
		"port.nmconnection":   "[connection]\nid=port\nuuid=0d6f0bd3-53a3-4a3c-93b4-b1a2f7e4a7c3\ntype=ethernet\ninterface-name=eth0\nmaster=br0\nslave-type=bridge\n",
	}, NMConfig: "[device-bridge]\nmatch-device=interface-name:br0\nmanaged=1\n"}
	start(t, c, func(s *scenario) {
		s.serve(0, s.VRAddr(0), s.router(0, "bridged"))
		if o := s.seeded("bridged"); o.state.Instance.Device != "br0" {
			s.Errorf("got the data over %q, want br0", o.state.Instance.Device)
		}
	})
}

// SIGTERM in the middle of everything: the run ends for that reason, long before its
// deadline, and no connection is left.
func TestStoppedRunLeavesNoConnection(t *testing.T) {
	for _, after := range []time.Duration{5 * time.Millisecond, 20 * time.Millisecond, 1020 * time.Millisecond, 1500 * time.Millisecond} {
		t.Run(after.String(), func(t *testing.T) {
			start(t, lab.Config{NICs: []lab.NIC{{NoDHCP: true}, {}}}, func(s *scenario) {
				s.stopAfter = after
				o := s.run()
				if !errors.Is(o.err, context.Canceled) || o.state.Phase != daemon.Stopped || o.meta != nil {
					s.Errorf("got error %v, state %+v, want %v, phase %s and no seed", o.err, o.state, context.Canceled, daemon.Stopped)
				}
				if !slices.Contains(o.notified, "STOPPING=1") {
					s.Errorf("got the notifications %q, want STOPPING=1", o.notified)
				}
			})
		})
	}
}
