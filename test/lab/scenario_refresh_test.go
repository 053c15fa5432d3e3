//go:build integration

package lab_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sirupsen/logrus"

	"github.com/nm-cloud-seed/nm-cloud-seed/datasource/cloudstack/vrtest"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/config"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/daemon"
	"github.com/nm-cloud-seed/nm-cloud-seed/test/lab"
)

// Refreshes, after the boot. Who asks for them, over D-Bus and from the dispatcher,
// is in internal/api and in test/boot.

// refreshed is what a refresh left.
type refreshed struct {
	changed []string
	err     error
	state   daemon.State
	log     string
	started []string // units
}

// refresh refreshes, in this process, which is in the VM.
func (s *scenario) refresh(ctx context.Context) (r refreshed) {
	s.Helper()
	log := logrus.New()
	var said strings.Builder
	log.SetOutput(io.MultiWriter(s.Output(), &said))
	cfg := config.Default()
	cfg.Platform = config.PlatformCloudStack
	d := daemon.Daemon{Log: log, Config: cfg, Notify: func(string) {}, StartUnit: func(ctx context.Context, name string) error {
		if _, limited := ctx.Deadline(); !limited {
			s.Error("got no deadline for the start of a unit, want one")
		}
		r.started = append(r.started, name)
		return nil
	}}
	r.changed, r.err = d.Refresh(ctx)
	var err error
	if r.state, err = daemon.ReadState(""); err != nil && r.err == nil {
		s.Error(err)
	}
	r.log = said.String()
	return r
}

// stagesEnded has cloud-init end, as far as we see it.
func (s *scenario) stagesEnded() {
	s.Helper()
	s.must(os.MkdirAll("/run/cloud-init", 0o755))
	s.must(os.Symlink("nowhere", "/run/cloud-init/result.json"))
}

// wantChanged expects a refresh that has found these changes.
func (s *scenario) wantChanged(r refreshed, want ...string) {
	s.Helper()
	if r.err != nil || !slices.Equal(r.changed, want) {
		s.Errorf("got the changes %q, error %v, want %q", r.changed, r.err, want)
	}
	if got := r.state.Refresh; got == nil || got.Ended == nil || got.Error != "" || !slices.Equal(got.Changed, want) {
		s.Errorf("got refresh %+v in the state, want its end with the changes %q", got, want)
	}
}

// fails expects an error, of this kind if not nil, after which all is as before.
func (s *scenario) fails(r refreshed, kind error, says string) {
	s.Helper()
	switch {
	case r.err == nil || !strings.Contains(r.err.Error(), says):
		s.Errorf("got error %v, want %q", r.err, says)
	case kind != nil && !errors.Is(r.err, kind):
		s.Errorf("got error %v, want %v", r.err, kind)
	}
}

func TestRefreshRenewsSeed(t *testing.T) {
	start(t, connected, func(s *scenario) {
		s.reboot()
		vr := s.router(0, "web")
		s.must(s.ServeVR(s.Context(), 0, vr))
		s.fails(s.refresh(s.Context()), daemon.ErrNotRun, "has not run since the system started")
		first := s.seeded("web")
		s.fails(s.refresh(s.Context()), daemon.ErrBusy, "cloud-init is still at work")
		s.stagesEnded()
		vr.ResetLog()

		var r refreshed
		s.undisturbed(func() { r = s.refresh(s.Context()) })
		s.wantChanged(r)
		if r.state.Refresh.Text != "nothing has changed" || !r.state.Instance.Fetched.After(first.state.Instance.Fetched) {
			s.Errorf("got state %+v, want newer data in which nothing has changed", r.state)
		}

		const secret = "xyzzy-secret"
		vm := vrtest.Example(instance, s.ClientAddr(0))
		vm.Set("local-hostname", "web")
		vm.Set("public-keys", "ssh-ed25519 AAAA "+secret)
		vm.Set("token", secret)
		vm.UserData = []byte(secret)
		vm.Password = secret
		vr.SetVM(s.ClientAddr(0), vm)
		r = s.refresh(s.Context())
		s.wantChanged(r, "public-keys", "token", "user-data")
		if got := read(filepath.Join(daemon.SeedLink, "user-data")); got != secret {
			s.Errorf("got user-data %q, want %q", got, secret)
		}
		if !strings.Contains(read(copyFile), secret) {
			s.Error("got the old copy for the next boot, want a new one")
		}
		for name, text := range map[string]string{"log": r.log, "state": read(daemon.StatePath)} {
			if strings.Contains(text, secret) || !strings.Contains(text, "public-keys, token, user-data changed") {
				s.Errorf("got the %s %q, want the changed keys, without a secret", name, text)
			}
		}
		if said := words(vr); said != "" {
			s.Errorf("got the requests %q at the password server, want none", said)
		}

		// A virtual router that was rebuilt may have no keys for a while.
		vm.Set("public-keys", "")
		vr.SetVM(s.ClientAddr(0), vm)
		s.wantChanged(s.refresh(s.Context()))
		if !strings.Contains(read(filepath.Join(daemon.SeedLink, "meta-data")), "AAAA") || !strings.Contains(read(copyFile), "AAAA") {
			s.Error("got no SSH keys, want those from before")
		}

		// Nobody becomes another instance while he runs.
		before := read(copyFile)
		other := vrtest.Example("11111111-2222-4333-8444-555555555555", s.ClientAddr(0))
		vr.SetVM(s.ClientAddr(0), other)
		r = s.refresh(s.Context())
		s.fails(r, nil, "has the data of instance 11111111-2222-4333-8444-555555555555, and this VM is instance "+instance)
		if read(copyFile) != before || r.state.Instance.ID != instance || r.state.Refresh.Error != r.err.Error() || r.state.Phase != daemon.Ready {
			s.Errorf("got state %+v, want it as before", r.state)
		}
	})
}

// A refresh ends, whatever the virtual router does, and the seed stays.
func TestRefreshWithoutVirtualRouterKeepsSeed(t *testing.T) {
	start(t, connected, func(s *scenario) {
		s.reboot()
		vr := s.router(0, "web")
		s.serve(0, s.VRAddr(0), vr)
		o := s.seeded("web")
		s.stagesEnded()
		vr.SetFaults(down)
		r := s.refresh(s.Context())
		s.fails(r, nil, "no instance metadata before the deadline: eth0: DHCP server "+s.VRAddr(0).String()+": no answer in time")
		if r.state.Refresh.Error != r.err.Error() || r.state.Phase != daemon.Ready || !r.state.Instance.Fetched.Equal(o.state.Instance.Fetched) {
			s.Errorf("got state %+v, want that of the boot, with the error of the refresh", r.state)
		}
		if read(filepath.Join(daemon.SeedLink, "user-data")) != o.userData {
			s.Error("got another seed, want that of the boot")
		}
		ctx, cancel := context.WithCancel(s.Context())
		cancel()
		s.fails(s.refresh(ctx), nil, "stopped before")
	})
}

// A boot without data is healed, and not refreshed.
func TestRefreshIsRefusedWithoutData(t *testing.T) {
	start(t, connected, func(s *scenario) {
		s.reboot()
		s.config = func(c *config.Config) { c.Platform = config.PlatformNone }
		s.must(s.run().err)
		s.fails(s.refresh(s.Context()), daemon.ErrNotRun, "switched off in the configuration")

		s.config = nil
		s.deadline = brief
		s.failed("no instance metadata before the deadline")
		s.fails(s.refresh(s.Context()), daemon.ErrBusy, "cloud-init is still at work")
		s.stagesEnded()
		r := s.refresh(s.Context())
		s.fails(r, daemon.ErrBusy, "this boot has no data from the virtual router yet, and nm-cloud-seed-heal.service waits for it")
		if !slices.Equal(r.started, []string{"nm-cloud-seed-heal.service"}) || r.state.Refresh != nil {
			s.Errorf("got the started units %q, refresh %+v, want nm-cloud-seed-heal.service and no refresh", r.started, r.state.Refresh)
		}

		s.heal = true
		vr := s.router(0, "web")
		var healing refreshed
		s.when("a wait for the virtual router", isWaiting, func() error {
			healing = s.refresh(s.Context())
			s.serve(0, s.VRAddr(0), vr)
			return nil
		})
		s.stages = func() error { return nil }
		s.must(s.run().err)
		s.fails(healing, daemon.ErrBusy, "nm-cloud-seed is at work already")
		if len(healing.started) > 0 {
			s.Errorf("got the started units %q, want none", healing.started)
		}
	})
}

// Of several waits the status has the last one, and nothing of the devices that
// nobody follows any more.
func TestStatusHasLastWaitOnly(t *testing.T) {
	start(t, connected, func(s *scenario) {
		s.reboot()
		s.deadline = brief
		s.failed("no instance metadata before the deadline")
		s.heal, s.stopWhen = true, isWaiting
		for range 2 {
			o := s.run()
			s.must(o.err)
			if got := names(o.state.Steps); !slices.Equal(got, []string{"NetworkManager", "lease", "failed", "waiting for the virtual router", "NetworkManager", "lease"}) {
				s.Errorf("got the steps %q, want those of one wait", got)
			}
			if len(o.state.Devices) > 0 || o.state.Healing != nil {
				s.Errorf("got state %+v, want no devices and no healing", o.state)
			}
		}
	})
}

// No connection is activated for a refresh: an operator may have ended it.
func TestRefreshActivatesNothing(t *testing.T) {
	start(t, lab.Config{}, func(s *scenario) {
		s.reboot()
		vr := s.router(0, "web")
		s.serve(0, s.VRAddr(0), vr)
		s.seeded("web")
		s.stagesEnded()
		ctx, cancel := context.WithTimeout(s.Context(), brief)
		defer cancel()
		s.fails(s.refresh(ctx), nil, "eth0: ")
		s.nothingLeft()
		if out, err := s.Nmcli(s.Context(), "-g", "STATE", "device", "status"); err != nil || !strings.Contains(out, "disconnected") {
			s.Errorf("got the devices %s, %v, want eth0 disconnected", out, err)
		}
		if len(vr.Requests()) == 0 {
			s.Error("got no request in the boot, want some")
		}
	})
}
