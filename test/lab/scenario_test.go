//go:build integration

package lab_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/nm-cloud-seed/nm-cloud-seed/datasource/cloudstack/vrtest"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/config"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/daemon"
	"github.com/nm-cloud-seed/nm-cloud-seed/test/lab"
)

// instance is the VM's UUID in all scenarios.
const instance = "7d4f1f9a-58c1-4f5e-9a3c-3f0c5d9a1b2e"

// scenario is one run of the service in a lab.
type scenario struct {
	*testing.T
	*lab.Lab
	deadline time.Duration // 20 s if zero
	// config changes the configuration. Nil leaves the defaults.
	config func(c *config.Config)
	// holding is called when the service has told systemd that it is ready,
	// and stopped when it returns. Nil stops it right away.
	holding func()
	// stopAfter stops the service at that time, ready or not, if not zero.
	stopAfter time.Duration
	// kept are the devices whose temporary connection is to stay after the run.
	kept []string
	// inherited says that the run has an earlier one's connection on eth0, which
	// is to stay when the run is stopped.
	inherited bool
	// heal runs what comes after a boot without data, and stages is called for the
	// unit that runs cloud-init's stages again.
	heal   bool
	stages func() error
}

// start runs body in a lab, beside the other tests.
func start(t *testing.T, c lab.Config, body func(s *scenario)) {
	if !lab.Inside() {
		t.Parallel()
	}
	lab.Run(t, c, func(l *lab.Lab) { body(&scenario{T: t, Lab: l}) })
}

// serve starts a VR on an address of a NIC's network, without its password server.
func (s *scenario) serve(nic int, addr netip.Addr, vr *vrtest.VR) {
	s.Helper()
	s.must(s.Serve(s.Context(), nic, netip.AddrPortFrom(addr, 80), vr.ServeMetadata))
}

// servePasswords starts a VR's password server.
func (s *scenario) servePasswords(nic int, addr netip.Addr, vr *vrtest.VR) {
	s.Helper()
	s.must(s.Serve(s.Context(), nic, netip.AddrPortFrom(addr, 8080), vr.ServePasswords))
}

// router is a VR that knows the VM of a NIC, under a host name of its own.
func (s *scenario) router(nic int, hostname string) *vrtest.VR {
	vr := vrtest.New()
	vm := vrtest.Example(instance, s.ClientAddr(nic))
	vm.Set("local-hostname", hostname)
	vm.UserData = []byte("#cloud-config\nhostname-was: " + hostname + "\n")
	vr.SetVM(s.ClientAddr(nic), vm)
	return vr
}

// foreign is a web server that answers everything with the same page.
func foreign() *vrtest.VR {
	vr := vrtest.New()
	vr.SetFaults(vrtest.Fault{Body: []byte("<html>Login</html>\n"), ContentType: "text/html"})
	return vr
}

// outcome is what a run left.
type outcome struct {
	err      error
	took     time.Duration
	notified []string
	state    daemon.State
	meta     map[string]string
	userData string
	log      string
}

// run runs the service in this process, which is in the VM.
func (s *scenario) run() outcome {
	s.Helper()
	log := logrus.New()
	log.SetLevel(logrus.DebugLevel)
	log.SetFormatter(&logrus.TextFormatter{DisableColors: true, TimestampFormat: "05.000", FullTimestamp: true})
	var said strings.Builder
	log.SetOutput(io.MultiWriter(s.Output(), &said))
	if s.deadline == 0 {
		s.deadline = 20 * time.Second
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var (
		o      outcome
		mu     sync.Mutex
		ready  = make(chan struct{})
		ended  = make(chan struct{})
		notify = func(state string) {
			mu.Lock()
			defer mu.Unlock()
			o.notified = append(o.notified, state)
			if state == "READY=1" {
				close(ready)
			}
		}
	)
	cfg := config.Default()
	cfg.Platform, cfg.Deadline = config.PlatformCloudStack, s.deadline
	if s.config != nil {
		s.config(&cfg)
	}
	d := daemon.Daemon{Log: log, Config: cfg, Notify: notify, StartUnit: func(_ context.Context, name string) error {
		if name != "nm-cloud-seed-stages.service" || s.stages == nil {
			return fmt.Errorf("nobody expects that %s is started", name)
		}
		return s.stages()
	}}
	do := d.Run
	if s.heal {
		do = d.Heal
	}
	if s.stopAfter > 0 {
		time.AfterFunc(s.stopAfter, cancel)
	}
	start := time.Now()
	go func() {
		defer close(ended)
		o.err = do(ctx)
	}()
	select {
	case <-ready:
		o.took = time.Since(start)
		if s.holding != nil {
			s.holding()
		}
	case <-ended:
		o.took = time.Since(start)
	}
	cancel()
	stop := time.Now()
	<-ended
	if d := time.Since(stop); d > 3*time.Second {
		s.Errorf("it took %v to stop", d)
	}
	o.log = said.String()
	var err error
	if o.state, err = daemon.ReadState(""); err != nil {
		s.Error(err)
	}
	if data, err := os.ReadFile(filepath.Join(daemon.SeedLink, "meta-data")); err == nil {
		var meta map[string]any // several SSH keys are a list
		if err := json.Unmarshal(data, &meta); err != nil {
			s.Errorf("meta-data: %v", err)
		}
		o.meta = map[string]string{}
		for key, value := range meta {
			o.meta[key] = fmt.Sprint(value)
		}
	}
	data, err := os.ReadFile(filepath.Join(daemon.SeedLink, "user-data"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.Error(err)
	}
	o.userData = string(data)
	if s.inherited {
		if !s.active("nm-cloud-seed eth0") {
			s.Error("the connection that an earlier run had handed over is gone")
		}
		return o
	}
	if len(s.kept) == 0 {
		s.nothingLeft()
		return o
	}
	if !slices.Equal(o.state.Kept, s.kept) {
		s.Errorf("kept is %q, not %q", o.state.Kept, s.kept)
	}
	for _, device := range s.kept {
		if !s.active("nm-cloud-seed " + device) {
			s.Errorf("there is no connection on %s after the run", device)
		}
	}
	return o
}

// active says whether a connection of this name is active.
func (s *scenario) active(name string) bool {
	out, err := s.Nmcli(s.Context(), "-g", "NAME", "connection", "show", "--active")
	return err == nil && slices.Contains(strings.Split(out, "\n"), name)
}

// undisturbed runs f, during which no address and no route may change.
func (s *scenario) undisturbed(f func()) {
	s.Helper()
	events := s.Command(s.Context(), "ip", "-o", "monitor", "address", "route")
	var seen strings.Builder
	events.Stdout = &seen
	s.must(events.Start())
	f()
	time.Sleep(300 * time.Millisecond) // for what should not come
	s.must(events.Process.Kill())
	_ = events.Wait()
	if seen.Len() > 0 {
		s.Errorf("it was not without a gap:\n%s", seen.String())
	}
}

// nothingLeft checks that no connection of ours survives a run.
func (s *scenario) nothingLeft() {
	s.Helper()
	deadline := time.Now().Add(2 * time.Second)
	for {
		out, err := s.Nmcli(s.Context(), "-t", "-f", "NAME", "connection")
		if err != nil && strings.Contains(out+err.Error(), "not running") {
			return
		}
		if err != nil {
			s.Fatal(err)
		}
		if !strings.Contains(out, "nm-cloud-seed") {
			return
		}
		if time.Now().After(deadline) {
			s.Fatalf("connections after the run:\n%s", out)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// seeded runs the service and expects the data of the VR with this host name.
func (s *scenario) seeded(hostname string) outcome {
	s.Helper()
	o := s.run()
	if o.err != nil {
		s.Fatalf("the run failed: %v", o.err)
	}
	if got := o.meta["instance-id"]; got != instance {
		s.Errorf("instance-id is %q", got)
	}
	if got, _, _ := strings.Cut(o.meta["local-hostname"], "."); got != hostname {
		s.Errorf("the seed has the data of %q, not of %q", got, hostname)
	}
	if want := "#cloud-config\nhostname-was: " + hostname + "\n"; o.userData != want {
		s.Errorf("user-data is %q, not %q", o.userData, want)
	}
	if o.state.Phase != daemon.Ready || o.state.Ended == nil {
		s.Errorf("state is %+v", o.state)
	}
	if n := slices.Index(o.notified, "READY=1"); n < 0 || slices.Contains(o.notified[n+1:], "READY=1") {
		s.Errorf("READY=1 was not sent once: %q", o.notified)
	}
	return o
}

// failed runs the service and expects an error that says all of these.
func (s *scenario) failed(says ...string) outcome {
	s.Helper()
	o := s.run()
	if o.err == nil {
		s.Fatal("the run succeeded")
	}
	for _, text := range says {
		if !strings.Contains(o.err.Error(), text) {
			s.Errorf("the error does not say %q: %v", text, o.err)
		}
	}
	if o.meta != nil || o.userData != "" {
		s.Errorf("there is a seed after a failed run: %v", o.meta)
	}
	if slices.Contains(o.notified, "READY=1") {
		s.Error("READY=1 was sent for a failed run")
	}
	if o.state.Phase != daemon.Failed || o.state.Error != o.err.Error() {
		s.Errorf("state is %+v", o.state)
	}
	for path, want := range map[string]string{
		"/run/issue.d/nm-cloud-seed.issue":     "nm-cloud-seed: ",
		"/run/nm-cloud-seed/private/cloud.cfg": "max_wait: 0",
	} {
		if data, err := os.ReadFile(path); err != nil || !strings.Contains(string(data), want) {
			s.Errorf("%s: %q, %v", path, data, err)
		}
	}
	return o
}

func (s *scenario) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// after runs f beside the service. Its error fails the test.
func (s *scenario) after(d time.Duration, f func() error) {
	timer := time.AfterFunc(d, func() {
		if err := f(); err != nil {
			s.Errorf("after %v: %v", d, err)
		}
	})
	s.Cleanup(func() { timer.Stop() })
}
