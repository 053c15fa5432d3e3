//go:build integration

package lab_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nm-cloud-seed/nm-cloud-seed/datasource/cloudstack/vrtest"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/config"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/credentials"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/daemon"
	"github.com/nm-cloud-seed/nm-cloud-seed/test/lab"
)

// Outages of the virtual router, and disks that become another machine's. Boots
// with the real cloud-init are in test/boot.

const (
	wanting   = daemon.RunDir + "/wanting"
	issueFile = "/run/issue.d/nm-cloud-seed.issue"
	copyFile  = credentials.DefaultDir + "/last-boot.json"
)

var down = vrtest.Fault{Hang: true}

// reboot forgets what was of this boot. A VM in a lab has no firmware of its own:
// its MAC address tells it from others.
func (s *scenario) reboot() {
	s.Helper()
	for _, dir := range []string{daemon.RunDir, "/run/cloud-init", "/run/issue.d"} {
		s.must(os.RemoveAll(dir))
	}
	s.must(os.MkdirAll("/run/systemd", 0o755))
	s.must(os.WriteFile("/run/systemd/container", nil, 0o644))
}

// exists says whether there is such a file.
func (s *scenario) exists(path string) bool {
	s.Helper()
	_, err := os.Lstat(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.Error(err)
	}
	return err == nil
}

// from checks a run's own words of itself.
func (s *scenario) from(o outcome, source, text string) {
	s.Helper()
	switch {
	case o.state.Instance == nil || o.state.Instance.Source != source || o.state.Instance.Fetched.IsZero():
		s.Errorf("got %+v in the state, want it from the %s", o.state.Instance, source)
	case !strings.Contains(o.state.Text, text):
		s.Errorf("got state %q, want %q", o.state.Text, text)
	case !strings.Contains(o.log, text):
		s.Errorf("got a log without %q, want it there:\n%s", text, o.log)
	}
	if want := source == daemon.LastBoot; s.exists(wanting) != want || s.exists(issueFile) != want {
		s.Errorf("%s: %t, %s: %t, want %t", wanting, s.exists(wanting), issueFile, s.exists(issueFile), want)
	}
}

func names(steps []daemon.Step) (all []string) {
	for _, step := range steps {
		all = append(all, step.Name)
	}
	return all
}

// A boot from the copy takes 15 s longer, however late its deadline is, and when the VR is back, there is a new
// one for the next.
func TestVirtualRouterDownAtRebootSeedsCachedData(t *testing.T) {
	start(t, connected, func(s *scenario) {
		vr := s.router(0, "before")
		s.reboot()
		s.must(s.ServeVR(s.Context(), 0, vr))
		first := s.seeded("before")
		s.from(first, daemon.VirtualRouter, "seeded instance "+instance+" from "+s.VRAddr(0).String())
		if info, err := os.Stat(copyFile); err != nil || info.Mode().Perm() != 0o600 {
			s.Errorf("got %v, %v, want the copy with mode 0600", info, err)
		}

		s.reboot()
		vr.SetFaults(down)
		vr.ResetLog()
		s.deadline = time.Hour
		o := s.seeded("before")
		s.from(o, daemon.LastBoot, "from the copy of the last boot")
		if got := names(o.state.Steps); !slices.Equal(got, []string{"NetworkManager", "lease", "no virtual router", "seed"}) {
			s.Errorf("got the steps %q, want those of a boot from the copy", got)
		}
		if o.took < 15*time.Second {
			s.Errorf("got the copy after %v, want it after 15 s", o.took)
		}
		if !o.state.Instance.Fetched.Equal(first.state.Instance.Fetched) {
			s.Errorf("got data of %v, want it of %v", o.state.Instance.Fetched, first.state.Instance.Fetched)
		}
		for _, text := range []string{o.log, read(issueFile)} {
			if !strings.Contains(text, "going on with the data of the last boot, fetched at 20") || !strings.Contains(text, s.VRAddr(0).String()+": no answer in time") {
				s.Errorf("got %q, want the reason in it", text)
			}
		}
		if said := words(vr); said != "" {
			s.Errorf("got the requests %q at the password server, want none", said)
		}

		// A VM that has its data only lacks news.
		s.heal = true
		s.when("a wait for the virtual router", isWaiting, func() error {
			if state, err := daemon.ReadState(""); err != nil || state.Phase != daemon.Ready {
				return fmt.Errorf("got the phase %q (%w), want %q", state.Phase, err, daemon.Ready)
			}
			vr.SetVM(s.ClientAddr(0), vrtest.Example(instance, s.ClientAddr(0)))
			vr.SetFaults()
			return nil
		})
		healed := s.run()
		s.must(healed.err)
		s.from(healed, daemon.VirtualRouter, "is there now, and counts from the next boot on: this boot went on with the data of the last one")
		if !healed.state.Instance.Fetched.After(o.state.Instance.Fetched) || healed.state.Phase != daemon.Ready || healed.state.Healing != nil {
			s.Errorf("got state %+v, want it ready, with newer data", healed.state)
		}
		s.must(s.run().err) // once more: nothing to do

		s.heal = false
		s.reboot()
		vr.SetFaults(down)
		if o := s.run(); o.err != nil || o.meta["local-hostname"] == "" || strings.HasPrefix(o.meta["local-hostname"], "before") {
			s.Errorf("got error %v, local-hostname %q, want the copy renewed", o.err, o.meta["local-hostname"])
		}
	})
}

// A VR that is found in time has the word, and the time that it takes.
func TestVirtualRouterFoundInTimeWins(t *testing.T) {
	for name, tt := range map[string]struct {
		fault vrtest.Fault
		least time.Duration
	}{
		"back": {vrtest.Fault{Match: vrtest.Path("/latest/meta-data/instance-id"), Hang: true, Times: 1}, 0},
		"slow": {vrtest.Fault{Match: vrtest.Path("/latest/user-data"), Delay: 17 * time.Second}, 17 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			start(t, connected, func(s *scenario) {
				vr := s.router(0, "before")
				s.reboot()
				s.serve(0, s.VRAddr(0), vr)
				s.seeded("before")
				s.reboot()
				vr.SetFaults(tt.fault)
				o := s.seeded("before")
				s.from(o, daemon.VirtualRouter, "seeded instance")
				if o.took < tt.least {
					s.Errorf("got the data after %v, want it after %v or more", o.took, tt.least)
				}
			})
		})
	}
}

// A clone of the disk, on a machine whose VR is down, has nothing of the old one.
func TestCloneWithoutVirtualRouterHasNoOldData(t *testing.T) {
	start(t, connected, func(s *scenario) {
		vr := s.router(0, "original")
		s.reboot()
		s.serve(0, s.VRAddr(0), vr)
		s.seeded("original")
		s.must(credentials.Store{Dir: credentials.DefaultDir}.RecordHandover(instance, secret, "debian", "", credentials.Shadow{}))

		s.reboot()
		vr.SetFaults(down)
		s.otherMAC()
		s.deadline = brief
		s.failed("no instance metadata before the deadline", "this disk was another machine's")
		s.nothingOf(credentials.DefaultDir, "original")
	})
}

// A clone that is known as another instance keeps nothing of the old one.
func TestCloneKeepsNothingOfOldInstance(t *testing.T) {
	start(t, lab.Config{}, func(s *scenario) {
		vr := s.router(0, "original")
		s.reboot()
		s.serve(0, s.VRAddr(0), vr)
		s.seeded("original")
		s.must(credentials.Store{Dir: credentials.DefaultDir}.RecordHandover(instance, secret, "debian", "", credentials.Shadow{}))
		if leases := s.ourLeases(); len(leases) != 1 {
			s.Errorf("got the leases %q of ours, want one", leases)
		}

		const other = "0a9d4e5f-3b1c-4d2e-8f60-718293a4b5c6"
		s.reboot()
		vm := vrtest.Example(other, s.ClientAddr(0))
		vm.Set("local-hostname", "copy")
		vr.SetVM(s.ClientAddr(0), vm)
		s.config = func(*config.Config) { // at the very start of the run
			if len(s.ourLeases()) == 0 {
				s.Error("got no lease at the start of the run, want one that is forgotten")
			}
		}
		if o := s.run(); o.err != nil || o.meta["instance-id"] != other {
			s.Errorf("got error %v, instance-id %q, want %q", o.err, o.meta["instance-id"], other)
		}
		if !strings.Contains(read(copyFile), other) {
			s.Errorf("got a copy without %q, want that of the new instance", other)
		}
		s.nothingOf(credentials.DefaultDir, "original", instance)
		if n := strings.Count(s.DHCPLog(0), "DHCPDISCOVER("); n < 2 {
			s.Errorf("got %d DISCOVERs, want 2 or more: the old address was asked for again", n)
		}
	})
}

// ourLeases are the files of temporary connections.
func (s *scenario) ourLeases() []string {
	s.Helper()
	names, err := filepath.Glob("/var/lib/NetworkManager/*.lease")
	s.must(err)
	return names
}

// nothingOf checks that no file below a directory has one of these texts.
func (s *scenario) nothingOf(dir string, texts ...string) {
	s.Helper()
	s.must(filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		for _, text := range texts {
			if err == nil && e.Type().IsRegular() && strings.Contains(read(path), text) {
				s.Errorf("got %q in %s, want it nowhere", text, path)
			}
		}
		return err
	}))
}

// otherMAC makes the VM another machine.
func (s *scenario) otherMAC() {
	s.Helper()
	out, err := s.Command(s.Context(), "ip", "link", "set", "eth0", "address", "02:00:00:00:77:77").CombinedOutput()
	if err != nil {
		s.Fatalf("%v: %s", err, out)
	}
}

// failsFirst is a first boot without a VR, in which cloud-init ends as no instance.
func (g *guest) failsFirst() {
	g.Helper()
	g.reboot()
	g.vrs[0].SetFaults(down)
	g.deadline, g.heal = brief, false
	g.failed("no instance metadata before the deadline")
	g.must(os.MkdirAll(instances+"/iid-datasource-none/sem", 0o755))
	c := &cloudInit{guest: g, status: map[string]any{
		"init-local": stageStatus{Start: 1, Finished: 2},
		"init":       stageStatus{Start: 3, Finished: 4, Errors: []string{"('ssh', ProcessExecutionError('of the first time'))"}},
	}}
	c.write("")
	g.must(os.Symlink("../../var/lib/cloud/data/result.json", "/run/cloud-init/result.json"))
}

// back ends the outage when it is waited for.
func (g *guest) back() {
	g.when("a wait for the virtual router", isWaiting, func() error { g.vrs[0].SetFaults(); return nil })
}

// A VM whose first boot found no VR is set up without a reboot, once.
func TestHealSetsUpOnce(t *testing.T) {
	for name, c := range map[string]lab.Config{"its own connection": connected, "our connection": {}} {
		t.Run(name, func(t *testing.T) {
			start(t, c, func(s *scenario) {
				g := s.guest(sid)
				g.serves(g.vr(0), 0, password(first))
				if name == "our connection" {
					g.kept = []string{"eth0"}
				}
				g.failsFirst()

				var c *cloudInit
				g.heal, g.stages = true, func() error {
					for _, name := range []string{"/run/cloud-init/result.json", "/var/lib/cloud/data/status.json"} {
						g.must(os.Remove(name)) // as the unit does
					}
					c = &cloudInit{guest: g, status: map[string]any{"init-local": stageStatus{Start: 1, Finished: 2}}}
					g.noSecret("")
					c.run()
					return nil
				}
				g.back()
				o := g.run()
				g.must(o.err)
				if c == nil || strings.Join(c.ran, " ") != firstBoot {
					g.Fatalf("got %+v of cloud-init, want the modules %s", c, firstBoot)
				}
				g.lets(first)
				g.from(o, daemon.VirtualRouter, "seeded instance "+instance)
				if got := words(g.vrs[0]); got != askedAndTold {
					g.Errorf("got the requests %q at the password server, want %q", got, askedAndTold)
				}
				if o.state.Phase != daemon.Ready || o.state.Error != "" || read(dropInFile) != "" {
					g.Errorf("got state %+v, drop-in %q, want it ready, with no error and no drop-in", o.state, read(dropInFile))
				}
				g.stages = nil // once only
				g.must(g.run().err)
				g.must(os.WriteFile(wanting, nil, 0o644)) // whatever is asked for
				g.must(g.run().err)
			})
		})
	}
}

// The data is there, but cloud-init is not run again.
func TestHealLeavesDataForNextBoot(t *testing.T) {
	for name, set := range map[string]func(*guest){
		"this disk has been an instance before": func(g *guest) { g.must(os.MkdirAll(instances+"/some-other", 0o755)) },
		"heal=no in the configuration":          func(g *guest) { g.config = func(c *config.Config) { c.Heal = false } },
	} {
		t.Run(name, func(t *testing.T) {
			start(t, connected, func(s *scenario) {
				g := s.guest(sid)
				g.serves(g.vr(0), 0, password(first))
				set(g)
				g.failsFirst()
				g.heal = true
				g.back()
				o := g.run()
				g.must(o.err)
				text := "is there now, and counts from the next boot on: " + name + " (reboot to apply it)"
				if o.state.Phase != daemon.Failed || !strings.Contains(o.state.Text, text) || o.state.Instance.Source != daemon.VirtualRouter || words(g.vrs[0]) != "" {
					g.Errorf("got state %+v, the requests %q at the password server, want %q and none", o.state, words(g.vrs[0]), text)
				}
				if !strings.Contains(read(issueFile), text) || g.exists(wanting) {
					g.Errorf("got the login prompt %q, want %q", read(issueFile), text)
				}
				g.vrs[0].SetFaults(down)
				g.heal = false
				if o := g.boot(boot{}); o.state.Instance.Source != daemon.LastBoot {
					g.Errorf("got state %+v of the next boot, want it from the %s", o.state, daemon.LastBoot)
				}
			})
		})
	}
}

// A VM that becomes an instance in whatever way while the VR is waited for is not
// set up. When it is, and the power fails in that moment, there is a copy.
func TestHealStopsWhenSetUpMeanwhile(t *testing.T) {
	start(t, connected, func(s *scenario) {
		g := s.guest(sid)
		g.serves(g.vr(0), 0)
		g.failsFirst()
		g.heal = true
		g.when("a wait for the virtual router", isWaiting, func() error {
			defer g.vrs[0].SetFaults()
			return os.Mkdir(instances+"/by-hand", 0o755)
		})
		if o := g.run(); o.err != nil || o.state.Phase != daemon.Failed {
			g.Errorf("got error %v, state %+v, want none and a boot that has failed", o.err, o.state)
		}

		g.must(os.Remove(instances + "/by-hand"))
		g.must(os.Remove(copyFile))
		g.failsFirst()
		g.stages = func() error {
			if !strings.Contains(read(copyFile), instance) {
				g.Error("got no copy while the stages run, want one")
			}
			return nil
		}
		g.heal = true
		g.back()
		g.must(g.run().err)
	})
}

// What happens while it is waited for the VR does no harm.
func TestHealWaitsWithoutChangingNetwork(t *testing.T) {
	start(t, lab.Config{}, func(s *scenario) {
		g := s.guest(sid)
		g.serves(g.vr(0), 0)
		g.kept = []string{"eth0"}
		g.failsFirst()
		g.heal = true

		g.stopWhen = isWaiting
		g.undisturbed(func() {
			if o := g.run(); o.err != nil || o.state.Phase != daemon.Failed || o.state.Healing != nil {
				g.Errorf("got error %v, state %+v, want none and a boot that has failed", o.err, o.state)
			}
		})

		ran := false
		g.stopWhen, g.stages = nil, func() error { ran = true; return errors.New("it does not start") }
		g.when("a wait for the virtual router", isWaiting, func() error {
			if err := errors.Join(g.StopNetworkManager(syscall.SIGKILL), g.StartNetworkManager()); err != nil {
				return err
			}
			// The virtual router is back only when the connection is, and the service has
			// asked twice since: each time with the lease of that connection.
			asked := -1
			for asked < 0 || len(g.vrs[0].Requests()) < asked+2 {
				if asked < 0 && g.active("nm-cloud-seed eth0") {
					asked = len(g.vrs[0].Requests())
				}
				select {
				case <-g.Context().Done():
					return g.Context().Err()
				case <-time.After(20 * time.Millisecond):
				}
			}
			g.vrs[0].SetFaults()
			return nil
		})
		if o := g.run(); o.err == nil || !ran || !strings.Contains(o.err.Error(), "the next boot does it: it does not start") {
			g.Errorf("got error %v, ran the stages: %t, want: the next boot does it", o.err, ran)
		}
		if !strings.Contains(read(copyFile), instance) {
			g.Error("got no copy for the next boot, want one")
		}
	})
}
