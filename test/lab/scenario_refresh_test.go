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
	"time"

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
			s.Error("a unit may start for ever")
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

// shortly is enough for what takes milliseconds.
const shortly = 2 * time.Second

// wantChanged expects a refresh that has found these changes.
func (s *scenario) wantChanged(r refreshed, want ...string) {
	s.Helper()
	if r.err != nil || !slices.Equal(r.changed, want) {
		s.Errorf("%q has changed, want %q; error %v", r.changed, want, r.err)
	}
	if got := r.state.Refresh; got == nil || got.Ended == nil || got.Error != "" || !slices.Equal(got.Changed, want) {
		s.Errorf("the state has %+v", got)
	}
}

// fails expects an error, of this kind if not nil, after which all is as before.
func (s *scenario) fails(r refreshed, kind error, says string) {
	s.Helper()
	switch {
	case r.err == nil || !strings.Contains(r.err.Error(), says):
		s.Errorf("error %v, want %q", r.err, says)
	case kind != nil && !errors.Is(r.err, kind):
		s.Errorf("error %v is not %v", r.err, kind)
	}
}

func TestRefresh(t *testing.T) {
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
			s.Errorf("the state is %+v", r.state)
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
			s.Errorf("the seed has the user-data %q", got)
		}
		if !strings.Contains(read(copyFile), secret) {
			s.Error("the copy for the next boot is not renewed")
		}
		for name, text := range map[string]string{"log": r.log, "state": read(daemon.StatePath)} {
			if strings.Contains(text, secret) || !strings.Contains(text, "public-keys, token, user-data changed") {
				s.Errorf("the %s has a secret, or no word of it: %s", name, text)
			}
		}
		if said := words(vr); said != "" {
			s.Errorf("the password server was asked: %q", said)
		}

		// A virtual router that was rebuilt may have no keys for a while.
		vm.Set("public-keys", "")
		vr.SetVM(s.ClientAddr(0), vm)
		s.wantChanged(s.refresh(s.Context()))
		if !strings.Contains(read(filepath.Join(daemon.SeedLink, "meta-data")), "AAAA") || !strings.Contains(read(copyFile), "AAAA") {
			s.Error("the SSH keys are gone")
		}

		// Nobody becomes another instance while he runs.
		before := read(copyFile)
		other := vrtest.Example("11111111-2222-4333-8444-555555555555", s.ClientAddr(0))
		vr.SetVM(s.ClientAddr(0), other)
		r = s.refresh(s.Context())
		s.fails(r, nil, "has the data of instance 11111111-2222-4333-8444-555555555555, and this VM is instance "+instance)
		if read(copyFile) != before || r.state.Instance.ID != instance || r.state.Refresh.Error != r.err.Error() || r.state.Phase != daemon.Ready {
			s.Errorf("it has changed something: %+v", r.state)
		}
	})
}

// A refresh ends, whatever the virtual router does, and the seed stays.
func TestRefreshWithoutVirtualRouter(t *testing.T) {
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
			s.Errorf("the state is %+v", r.state)
		}
		if read(filepath.Join(daemon.SeedLink, "user-data")) != o.userData {
			s.Error("the seed is another one")
		}
		ctx, cancel := context.WithCancel(s.Context())
		cancel()
		s.fails(s.refresh(ctx), nil, "stopped before")
	})
}

// A boot without data is healed, and not refreshed.
func TestRefreshWithoutData(t *testing.T) {
	start(t, connected, func(s *scenario) {
		s.reboot()
		s.config = func(c *config.Config) { c.Platform = config.PlatformNone }
		s.must(s.run().err)
		s.fails(s.refresh(s.Context()), daemon.ErrNotRun, "switched off in the configuration")

		s.config = nil
		s.deadline = time.Second
		s.failed("no instance metadata before the deadline")
		s.fails(s.refresh(s.Context()), daemon.ErrBusy, "cloud-init is still at work")
		s.stagesEnded()
		r := s.refresh(s.Context())
		s.fails(r, daemon.ErrBusy, "this boot has no data from the virtual router yet, and nm-cloud-seed-heal.service waits for it")
		if !slices.Equal(r.started, []string{"nm-cloud-seed-heal.service"}) || r.state.Refresh != nil {
			s.Errorf("started %q; %+v", r.started, r.state.Refresh)
		}

		s.heal = true
		vr := s.router(0, "web")
		var healing refreshed
		s.after(shortly, func() error {
			healing = s.refresh(s.Context())
			s.serve(0, s.VRAddr(0), vr)
			return nil
		})
		s.stages = func() error { return nil }
		s.must(s.run().err)
		s.fails(healing, daemon.ErrBusy, "nm-cloud-seed is at work already")
		if len(healing.started) > 0 {
			s.Errorf("started %q", healing.started)
		}
	})
}

// Of several waits the status has the last one, and nothing of the devices that
// nobody follows any more.
func TestWaitStoppedAndStartedAgain(t *testing.T) {
	start(t, connected, func(s *scenario) {
		s.reboot()
		s.deadline = time.Second
		s.failed("no instance metadata before the deadline")
		s.heal, s.stopAfter = true, shortly
		for range 2 {
			o := s.run()
			s.must(o.err)
			if got := names(o.state.Steps); !slices.Equal(got, []string{"NetworkManager", "lease", "failed", "waiting for the virtual router", "NetworkManager", "lease"}) {
				s.Errorf("the steps are %q", got)
			}
			if len(o.state.Devices) > 0 || o.state.Healing != nil {
				s.Errorf("the state is %+v", o.state)
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
		ctx, cancel := context.WithTimeout(s.Context(), 3*shortly)
		defer cancel()
		s.fails(s.refresh(ctx), nil, "eth0: ")
		s.nothingLeft()
		if out, err := s.Nmcli(s.Context(), "-g", "STATE", "device", "status"); err != nil || !strings.Contains(out, "disconnected") {
			s.Errorf("%v: %s", err, out)
		}
		if len(vr.Requests()) == 0 {
			s.Error("the boot has not asked")
		}
	})
}
