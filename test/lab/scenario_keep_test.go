//go:build integration

package lab_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/nm-cloud-seed/nm-cloud-seed/nm"
	"github.com/nm-cloud-seed/nm-cloud-seed/test/lab"
)

// The temporary connection, to its end: what NetworkManager has of it at each step,
// as connections lists it.
const (
	memory     = "/run/NetworkManager/system-connections/"
	disk       = "/etc/NetworkManager/system-connections/"
	heldOurs   = "nm-cloud-seed eth0:eth0:no:0:" + memory + "nm-cloud-seed eth0.nmconnection"
	keptOurs   = "nm-cloud-seed eth0:eth0:yes:-999:" + memory + "nm-cloud-seed eth0.nmconnection"
	idleOurs   = "nm-cloud-seed eth0::yes:-999:" + memory + "nm-cloud-seed eth0.nmconnection"
	savedOurs  = "nm-cloud-seed eth0:eth0:yes:0:" + disk + "nm-cloud-seed eth0.nmconnection"
	owners     = "owner:eth0:no:0:" + disk + "owner.nmconnection"
	nmState    = "/var/lib/NetworkManager/"
	ownersIdle = "owner::no:0:" + disk + "owner.nmconnection"
)

// byHand is a profile of the owner's that is only activated by hand.
var byHand = map[string]string{"owner.nmconnection": strings.Replace(dhcpProfile, "[ipv4]", "autoconnect=false\n[ipv4]", 1)}

// list is what nmcli lists, but for NetworkManager's own lo.
func (s *scenario) list() []string {
	s.Helper()
	out, err := s.Nmcli(s.Context(), "-t", "-e", "no", "-f", "NAME,DEVICE,AUTOCONNECT,AUTOCONNECT-PRIORITY,FILENAME", "connection", "show")
	s.must(err)
	lines := slices.DeleteFunc(strings.Split(out, "\n"), func(line string) bool { return line == "" || strings.HasPrefix(line, "lo:lo:") })
	slices.Sort(lines)
	return lines
}

// leases are the files of NetworkManager's DHCP clients.
func (s *scenario) leases() []string {
	s.Helper()
	leases, err := filepath.Glob(nmState + "*.lease")
	s.must(err)
	return leases
}

// connections expects exactly these.
func (s *scenario) connections(want ...string) {
	s.Helper()
	want = append([]string{}, want...) // not nil
	slices.Sort(want)
	diff := cmp.Diff(want, s.list())
	for end := time.Now().Add(time.Minute); diff != "" && time.Now().Before(end); diff = cmp.Diff(want, s.list()) {
		time.Sleep(20 * time.Millisecond)
	}
	if diff != "" {
		s.Errorf("connections (-want +got):\n%s", diff)
	}
}

// addressed fails if the VM's address or its default route goes while f runs. They
// may be confirmed.
func (s *scenario) addressed(f func()) {
	s.Helper()
	for _, line := range s.changesDuring(f, "-4") {
		if strings.HasPrefix(line, "Deleted") {
			s.Errorf("got %q, want no address and no route lost", line)
		}
	}
}

// boot puts the VM where it is after a boot, before the service has run.
func (s *scenario) boot() {
	s.Helper()
	s.must(s.StopNetworkManager(syscall.SIGTERM))
	for _, pattern := range []string{"/run/NetworkManager/*", "/run/nm-cloud-seed", "/run/cloud-init"} {
		paths, err := filepath.Glob(pattern)
		s.must(err)
		for _, path := range paths {
			s.must(os.RemoveAll(path))
		}
	}
	s.must(s.Command(s.Context(), "ip", "address", "flush", "dev", "eth0").Run())
	s.must(s.StartNetworkManager())
}

// runUntilKept is a run that ends with a connection that stays until shutdown.
func (s *scenario) runUntilKept(hostname string) {
	s.Helper()
	s.holding, s.kept, s.inherited = s.cloudInitDone, []string{"eth0"}, false
	s.seeded(hostname)
}

// keep makes what is there permanent.
func (s *scenario) keep() {
	s.Helper()
	if kept, err := nm.Keep(s.Context()); err != nil || !slices.Equal(kept, []string{"eth0"}) {
		s.Errorf("got %q, %v kept, want eth0", kept, err)
	}
}

// runOnSaved is a run on a profile with our UUID that is saved, and so somebody's
// own: it takes the lease, and nothing else.
func (s *scenario) runOnSaved(hostname string) {
	s.Helper()
	s.holding, s.kept, s.inherited = func() {
		s.eventually("the service ends by itself", hasEnded)
	}, nil, true
	o := s.seeded(hostname)
	if len(o.state.Temporary)+len(o.state.Kept) > 0 {
		s.Errorf("got temporary %q and kept %q, want neither", o.state.Temporary, o.state.Kept)
	}
	if strings.Contains(o.log, "left behind") {
		s.Errorf("got this log, want nothing left behind in it:\n%s", o.log)
	}
	s.connections(savedOurs)
}

// keep takes the connection as it is and changes neither address nor route. From
// then on the profile is the owner's, in this boot and in the next ones.
func TestKeepMakesConnectionPermanent(t *testing.T) {
	start(t, lab.Config{}, func(s *scenario) {
		s.serve(0, s.VRAddr(0), s.router(0, "permanent"))
		s.runUntilKept("permanent")
		s.connections(keptOurs)
		s.undisturbed(s.keep)
		s.connections(savedOurs)
		if _, err := nm.Keep(s.Context()); err == nil || !strings.Contains(err.Error(), "permanent already") {
			s.Errorf("got error %v the second time, want: permanent already", err)
		}
		data, err := os.ReadFile(disk + "nm-cloud-seed eth0.nmconnection")
		s.must(err)
		for line, want := range map[string]int{"method=auto\n": 2, "interface-name=eth0\n": 1, "may-fail": 0, "dad-timeout": 0, "autoconnect": 0} {
			if n := strings.Count(string(data), line); n != want {
				s.Errorf("got %q %d times in the profile, want it %d times:\n%s", line, n, want, data)
			}
		}
		s.undisturbed(func() { s.runOnSaved("permanent") }) // systemctl restart
		for range 2 {
			s.boot()
			s.runOnSaved("permanent")
		}
	})
}

// keep cannot write the profile: the connection stays as it is.
func TestKeepOnReadOnlyDiskChangesNothing(t *testing.T) {
	start(t, lab.Config{}, func(s *scenario) {
		s.serve(0, s.VRAddr(0), s.router(0, "read-only"))
		s.runUntilKept("read-only")
		s.must(unix.Mount(disk, disk, "", unix.MS_BIND, ""))
		s.must(unix.MountSetattr(unix.AT_FDCWD, disk, 0, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}))
		s.undisturbed(func() {
			if kept, err := nm.Keep(s.Context()); len(kept) > 0 || err == nil || !strings.Contains(err.Error(), "cannot keep the connection of eth0") {
				s.Errorf("got %q, %v kept, want: cannot keep the connection of eth0", kept, err)
			} else {
				s.Log(err)
			}
		})
		s.connections(keptOurs)
	})
}

// keep while a run holds the connection, which a run that is stopped then takes
// along, and while the service runs once more on one that it has handed over.
func TestKeepIsRefusedWhileHeld(t *testing.T) {
	start(t, lab.Config{}, func(s *scenario) {
		s.serve(0, s.VRAddr(0), s.router(0, "held"))
		s.holding = func() {
			if kept, err := nm.Keep(s.Context()); len(kept) > 0 || err == nil || !strings.Contains(err.Error(), "a run that has not ended still holds it") {
				s.Errorf("got %q, %v kept, want: a run that has not ended still holds it", kept, err)
			}
			s.connections(heldOurs)
		}
		s.seeded("held")
		s.connections()
		s.runUntilKept("held")
		s.must(os.Remove("/run/cloud-init/result.json"))
		s.undisturbed(func() {
			s.holding, s.kept, s.inherited = func() { s.keep() }, nil, true
			s.seeded("held")
		})
		s.connections(savedOurs)
	})
}

// The owner edits the profile while the service holds its connection, which saves
// it: it is theirs from then on, and the service lets go without touching it.
func TestProfileSavedWhileHeldIsLeftAlone(t *testing.T) {
	for name, done := range map[string]bool{"cloud-init done": true, "stopped": false} {
		t.Run(name, func(t *testing.T) {
			start(t, lab.Config{}, func(s *scenario) {
				s.serve(0, s.VRAddr(0), s.router(0, "edited"))
				s.inherited = true
				s.holding = func() {
					_, err := s.Nmcli(s.Context(), "connection", "modify", "nm-cloud-seed eth0", "connection.autoconnect", "yes")
					s.must(err)
					if done {
						s.must(os.MkdirAll("/run/cloud-init", 0o755))
						s.must(os.Symlink("nowhere", "/run/cloud-init/result.json"))
						s.eventually("the service ends by itself", hasEnded)
					}
				}
				s.addressed(func() { s.seeded("edited") })
				s.connections(savedOurs)
				s.boot()
				s.runOnSaved("edited")
			})
		})
	}
}

// restarts are what may happen to NetworkManager and the bus. A NetworkManager that
// has lost its bus does not come back to it, so both are restarted.
var restarts = map[string]func(*lab.Lab) error{
	"NetworkManager stopped": func(l *lab.Lab) error { return restartNM(l, syscall.SIGTERM) },
	"NetworkManager killed":  func(l *lab.Lab) error { return restartNM(l, syscall.SIGKILL) },
	"dbus-daemon": func(l *lab.Lab) error {
		if err := l.RestartBus(); err != nil {
			return err
		}
		return restartNM(l, syscall.SIGTERM)
	},
}

func restartNM(l *lab.Lab, sig syscall.Signal) error {
	if err := l.StopNetworkManager(sig); err != nil {
		return err
	}
	return l.StartNetworkManager()
}

// At each step of the connection's life NetworkManager, or the bus with it, is
// restarted. The address stays, and the list is as it was.
func TestConnectionSurvivesRestartsAtEachStep(t *testing.T) {
	for name, restart := range restarts {
		t.Run(name, func(t *testing.T) {
			start(t, lab.Config{}, func(s *scenario) {
				s.serve(0, s.VRAddr(0), s.router(0, "restarted"))
				s.addressed(func() {
					s.kept = []string{"eth0"}
					s.holding = func() {
						s.must(restart(s.Lab))
						s.eventually("the connection is taken up again", isHeld)
						s.connections(heldOurs)
						s.cloudInitDone()
					}
					s.seeded("restarted")
					s.connections(keptOurs)
					s.must(restart(s.Lab))
					s.connections(keptOurs)
					s.eventually("it can be kept", func() bool { return s.active("nm-cloud-seed eth0") })
					s.keep()
					s.must(restart(s.Lab))
					s.connections(savedOurs)
				})
				s.boot()
				s.holding = func() { s.must(restart(s.Lab)) }
				s.kept, s.inherited = nil, true
				s.seeded("restarted")
				s.connections(savedOurs)
			})
		})
	}
}

// NetworkManager, or the bus with it, goes just when another profile takes the
// device, and the run is about to end, or has just ended: nothing of ours is left.
// If NetworkManager has forgotten the other profile's activation, the run goes on
// until it is activated again. A profile that an earlier run has handed over is left
// until shutdown, idle, if NetworkManager goes in the very moment of its deletion.
func TestRestartsWhileReleasingLeaveNothing(t *testing.T) {
	for name, restart := range restarts {
		for _, inherited := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/inherited=%v", name, inherited), func(t *testing.T) {
				start(t, lab.Config{}, func(s *scenario) {
					s.serve(0, s.VRAddr(0), s.router(0, "gone"))
					// In milliseconds; the last one is at the end of the run, when
					// nothing may be left.
					const atEnd = -1
					for _, after := range []time.Duration{0, 5, 15, 30, atEnd} {
						s.boot()
						if inherited {
							s.runUntilKept("gone")
							s.must(os.Remove("/run/cloud-init/result.json"))
						}
						s.kept, s.inherited = nil, false
						s.holding = func() {
							s.must(os.WriteFile(disk+"owner.nmconnection", []byte(dhcpProfile), 0o600))
							_, err := s.Nmcli(s.Context(), "connection", "load", disk+"owner.nmconnection")
							s.must(err)
							_, err = s.Nmcli(s.Context(), "--wait", "0", "connection", "up", "owner")
							s.must(err)
							if after == atEnd {
								s.eventually("the service ends", hasEnded)
							} else {
								time.Sleep(after * time.Millisecond)
							}
							s.must(restart(s.Lab))
							for end := time.Now().Add(time.Second); !hasEnded() && time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
							}
							if !hasEnded() { // forgotten, or only slow: it does no harm then
								_, err = s.Nmcli(s.Context(), "connection", "up", "owner")
								s.must(err)
								s.eventually("the service ends", hasEnded)
							}
							if !s.active("owner") { // forgotten, its address taken for somebody's: nothing of ours
								_, err = s.Nmcli(s.Context(), "connection", "up", "owner")
								s.must(err)
							}
							if inherited && after != atEnd && slices.Contains(s.list(), idleOurs) {
								_, err = s.Nmcli(s.Context(), "connection", "delete", "nm-cloud-seed eth0")
								s.must(err)
							}
						}
						s.seeded("gone")
						s.connections("owner:eth0:yes:0:" + disk + "owner.nmconnection")
						_, err := s.Nmcli(s.Context(), "connection", "delete", "owner")
						s.must(err)
					}
				})
			})
		}
	}
}

// Another profile takes the device of a connection that was kept: ours is idle until
// shutdown, and the next boot knows nothing of it.
func TestConnectionReplacedAfterRunIsGoneAtNextBoot(t *testing.T) {
	start(t, lab.Config{Profiles: byHand}, func(s *scenario) {
		s.serve(0, s.VRAddr(0), s.router(0, "replaced"))
		s.runUntilKept("replaced")
		s.connections(keptOurs, ownersIdle)
		_, err := s.Nmcli(s.Context(), "connection", "up", "owner")
		s.must(err)
		s.connections(idleOurs, owners)
		if _, err := nm.Keep(s.Context()); err == nil || !strings.Contains(err.Error(), "nothing to keep") {
			s.Errorf("got error %v, want: nothing to keep", err)
		}
		s.boot()
		s.connections(ownersIdle)
	})
}

// The owner has made the connection permanent, but does not want it at boot: the
// service has one of its own beside it, which leaves one lease for all boots.
func TestIdleSavedProfileIsLeftAlone(t *testing.T) {
	start(t, lab.Config{}, func(s *scenario) {
		s.serve(0, s.VRAddr(0), s.router(0, "idle"))
		s.runUntilKept("idle")
		s.keep()
		_, err := s.Nmcli(s.Context(), "connection", "modify", "nm-cloud-seed eth0", "connection.id", "office", "connection.autoconnect", "no")
		s.must(err)
		const office = "office::no:0:" + disk + "nm-cloud-seed eth0.nmconnection"
		for range 4 {
			s.boot()
			s.holding, s.kept = func() { s.connections(heldOurs, office) }, nil
			s.seeded("idle")
			s.connections(office)
		}
		if leases := s.leases(); len(leases) > 2 {
			s.Errorf("got the leases %q, want 2 at most", leases)
		}
	})
}

// Twenty boots leave no more in /var/lib/NetworkManager than one does, however they
// end, but for what NetworkManager itself adds.
func TestManyBootsLeaveOneLease(t *testing.T) {
	start(t, lab.Config{}, func(s *scenario) {
		s.serve(0, s.VRAddr(0), s.router(0, "boots"))
		for i := range 20 {
			s.boot()
			if i%2 == 0 {
				s.runUntilKept("boots")
			} else {
				s.holding, s.kept = nil, nil
				s.seeded("boots")
			}
			if leases := s.leases(); len(leases) > 1 {
				s.Fatalf("got the leases %q after %d boots, want 1 at most", leases, i+1)
			}
		}
		s.boot() // writes what is written at NetworkManager's end
		sizes := map[string]int64{}
		files, err := os.ReadDir(nmState)
		s.must(err)
		for _, file := range files {
			info, err := file.Info()
			s.must(err)
			if sizes[file.Name()] = info.Size(); info.Size() > 2000 {
				s.Errorf("got %d bytes in %s, want 2000 at most", info.Size(), file.Name())
			}
		}
		s.Logf("%s: %v", nmState, sizes)
		if len(files) > 5 {
			s.Errorf("got %d files, want 5 at most", len(files))
		}
		s.connections()
	})
}
