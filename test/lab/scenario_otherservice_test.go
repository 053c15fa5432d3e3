//go:build integration

package lab_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/nm-cloud-seed/nm-cloud-seed/internal/daemon"
	"github.com/nm-cloud-seed/nm-cloud-seed/test/lab"
)

// givenToNetworkd has systemd-networkd say that it runs a device.
func (s *scenario) givenToNetworkd(device string) {
	s.Helper()
	nic, err := net.InterfaceByName(device)
	s.must(err)
	name := fmt.Sprintf("/run/systemd/netif/links/%d", nic.Index)
	s.must(os.MkdirAll(filepath.Dir(name), 0o755))
	s.must(os.WriteFile(name, []byte("ADMIN_STATE=configured\n"), 0o644))
}

func TestUnmanagedDeviceOfNetworkdIsIdle(t *testing.T) {
	start(t, lab.Config{NICs: []lab.NIC{{Unmanaged: true}}}, func(s *scenario) {
		s.givenToNetworkd("eth0")
		vr := s.router(0, "none")
		s.serve(0, s.VRAddr(0), vr)
		s.undisturbed(func() {
			o := s.run()
			if want := "nothing to do: eth0 belongs to systemd-networkd"; o.err != nil || o.state.Phase != daemon.Idle || o.state.Text != want || o.meta != nil {
				s.Errorf("got error %v, state %+v and the seed %v, want %s with %q, and none", o.err, o.state, o.meta, daemon.Idle, want)
			}
			if !slices.Contains(o.notified, "READY=1") {
				s.Errorf("got the notifications %q, want READY=1", o.notified)
			}
		})
		if asked := vr.Requests(); len(asked) > 0 {
			s.Errorf("the virtual router was asked: %v", asked)
		}
		if daemon.Wants("") {
			s.Error("the boot waits for data, want it not to")
		}
	})
}

// With one device of NetworkManager's the run goes on as usual.
func TestDeviceBesideNetworkdsSeeds(t *testing.T) {
	start(t, lab.Config{NICs: []lab.NIC{{}, {Unmanaged: true, NonDefault: true}}}, func(s *scenario) {
		s.givenToNetworkd("eth1")
		s.serve(0, s.VRAddr(0), s.router(0, "mixed"))
		s.seeded("mixed")
	})
}
