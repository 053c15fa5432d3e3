//go:build integration

package lab_test

import (
	"bufio"
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
	"strconv"
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
	deadline time.Duration // hangLimit if zero
	// config changes the configuration. Nil leaves the defaults.
	config func(c *config.Config)
	// holding is called when the service has told systemd that it is ready,
	// and stopped when it returns. Nil stops it right away.
	holding func()
	// stopAfter stops the service at that time, ready or not, if not zero; stopWhen
	// as soon as it is true, if not nil.
	stopAfter time.Duration
	stopWhen  func() bool
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

// hangLimit ends a scenario that waits for what does not come. It judges no time:
// a slow machine needs seconds for what takes milliseconds.
const hangLimit = 5 * time.Minute

// brief is the deadline of a run that has to fail. It is long enough for what comes
// before, such as a lease, also on a slow machine.
const brief = 8 * time.Second

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
		s.deadline = hangLimit
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
			return fmt.Errorf("got a start of %s, want none", name)
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
	if s.stopWhen != nil {
		s.when("the moment to stop", s.stopWhen, func() error { cancel(); return nil })
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
	case <-time.After(2 * hangLimit):
		s.Fatalf("got no end of the run within %v, want one", 2*hangLimit)
	}
	cancel()
	select {
	case <-ended:
	case <-time.After(hangLimit):
		s.Fatalf("got no end of the run within %v after it was told to stop, want one at once", hangLimit)
	}
	o.log = said.String()
	var err error
	if o.state, err = daemon.ReadState(""); err != nil {
		s.Error(err)
	}
	if data, err := os.ReadFile(filepath.Join(daemon.SeedLink, "meta-data")); err == nil {
		var meta map[string]any // several SSH keys are a list
		if err := json.Unmarshal(data, &meta); err != nil {
			s.Errorf("got meta-data with %v, want JSON", err)
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
			s.Error("got no active nm-cloud-seed eth0, want that of an earlier run")
		}
		return o
	}
	if len(s.kept) == 0 {
		s.nothingLeft()
		return o
	}
	if !slices.Equal(o.state.Kept, s.kept) {
		s.Errorf("got %q kept, want %q", o.state.Kept, s.kept)
	}
	for _, device := range s.kept {
		if !s.active("nm-cloud-seed " + device) {
			s.Errorf("got no connection on %s after the run, want one", device)
		}
	}
	return o
}

// active says whether a connection of this name is active.
func (s *scenario) active(name string) bool {
	out, err := s.Nmcli(s.Context(), "-g", "NAME", "connection", "show", "--active")
	return err == nil && slices.Contains(strings.Split(out, "\n"), name)
}

// undisturbed runs f, during which no address and no route may change. A link-local
// IPv6 address that appears is the kernel's or NetworkManager's: duplicate detection
// takes a second or more after the device has come up.
func (s *scenario) undisturbed(f func()) {
	s.Helper()
	got := slices.DeleteFunc(s.changesDuring(f), func(line string) bool {
		return strings.Contains(line, " fe80:") && !strings.HasPrefix(line, "Deleted")
	})
	if len(got) > 0 {
		s.Errorf("got these changes of addresses and routes, want none:\n%s", strings.Join(got, ""))
	}
}

// markers is the network of routes in a table of its own, which nothing but
// changesDuring touches. Each has an address of its own: a report may come late.
const markers = "203.0.113."

// changesDuring runs f and returns what ip(8) reports of addresses and routes from
// before f to a moment after it.
func (s *scenario) changesDuring(f func(), options ...string) (changes []string) {
	s.Helper()
	events := s.Command(s.Context(), "ip", append(append([]string{"-o"}, options...), "monitor", "address", "route")...)
	out, err := events.StdoutPipe()
	s.must(err)
	s.must(events.Start())
	lines := make(chan string)
	go func() {
		defer close(lines)
		for r := bufio.NewReader(out); ; {
			line, err := r.ReadString('\n')
			if err != nil {
				return
			}
			lines <- line
		}
	}()
	marked := 0
	// mark makes two events of a new marker and collects what is reported before them.
	mark := func(limit time.Duration) (before []string, heard bool) {
		marked++
		marker := markers + strconv.Itoa(marked)
		for _, verb := range []string{"add", "delete"} {
			out, err := s.Command(s.Context(), "ip", "route", verb, marker, "dev", "lo", "table", "4242").CombinedOutput()
			if err != nil {
				s.Fatalf("cannot %s a route: %v: %s", verb, err, out)
			}
		}
		expired := time.After(limit)
		for {
			select {
			case line, open := <-lines:
				switch {
				case !open:
					s.Fatal("cannot see changes of addresses and routes: ip monitor has ended")
				case strings.HasPrefix(line, "Deleted "+marker+" "):
					return before, true
				case !strings.Contains(line, markers):
					before = append(before, line)
				}
			case <-expired:
				return before, false
			}
		}
	}
	for heard := false; !heard; { // until the program listens
		_, heard = mark(time.Second)
	}
	f()
	time.Sleep(300 * time.Millisecond) // more may come, which slowness can only hide
	changes, heard := mark(hangLimit)
	if !heard {
		s.Fatalf("got no report of a route within %v, want one", hangLimit)
	}
	s.must(events.Process.Kill())
	for range lines { // until the pipe is closed
	}
	_ = events.Wait() // it was killed
	return changes
}

// nothingLeft checks that no connection of ours survives a run.
func (s *scenario) nothingLeft() {
	s.Helper()
	s.eventually("no connection of ours after the run", func() bool {
		out, err := s.Nmcli(s.Context(), "-t", "-f", "NAME", "connection")
		if err != nil && strings.Contains(out+err.Error(), "not running") {
			return true
		}
		s.must(err)
		return !strings.Contains(out, "nm-cloud-seed")
	})
}

// seeded runs the service and expects the data of the VR with this host name.
func (s *scenario) seeded(hostname string) outcome {
	s.Helper()
	o := s.run()
	if o.err != nil {
		s.Fatalf("got error %v of the run, want a seed", o.err)
	}
	if got := o.meta["instance-id"]; got != instance {
		s.Errorf("got instance-id %q, want %q", got, instance)
	}
	if got, _, _ := strings.Cut(o.meta["local-hostname"], "."); got != hostname {
		s.Errorf("got the data of %q, want that of %q", got, hostname)
	}
	if want := "#cloud-config\nhostname-was: " + hostname + "\n"; o.userData != want {
		s.Errorf("got user-data %q, want %q", o.userData, want)
	}
	if o.state.Phase != daemon.Ready || o.state.Ended == nil {
		s.Errorf("got state %+v, want it ready, and ended", o.state)
	}
	if n := slices.Index(o.notified, "READY=1"); n < 0 || slices.Contains(o.notified[n+1:], "READY=1") {
		s.Errorf("got the notifications %q, want READY=1 once", o.notified)
	}
	return o
}

// failed runs the service and expects an error that says all of these.
func (s *scenario) failed(says ...string) outcome {
	s.Helper()
	o := s.run()
	if o.err == nil {
		s.Fatalf("got a seed of %q, want an error", o.meta["local-hostname"])
	}
	for _, text := range says {
		if !strings.Contains(o.err.Error(), text) {
			s.Errorf("got error %v, want %q in it", o.err, text)
		}
	}
	if o.meta != nil || o.userData != "" {
		s.Errorf("got the seed %v after a failed run, want none", o.meta)
	}
	if slices.Contains(o.notified, "READY=1") {
		s.Errorf("got the notifications %q of a failed run, want no READY=1", o.notified)
	}
	if o.state.Phase != daemon.Failed || o.state.Error != o.err.Error() {
		s.Errorf("got state %+v, want it failed, with error %v", o.state, o.err)
	}
	for path, want := range map[string]string{
		"/run/issue.d/nm-cloud-seed.issue":     "nm-cloud-seed: ",
		"/run/nm-cloud-seed/private/cloud.cfg": "max_wait: 0",
	} {
		if data, err := os.ReadFile(path); err != nil || !strings.Contains(string(data), want) {
			s.Errorf("%s: got %q, %v, want %q in it", path, data, err, want)
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

// when runs f beside the service as soon as happened is true. An error of f fails
// the test, and so does an event that has not happened at the end of the test.
func (s *scenario) when(event string, happened func() bool, f func() error) {
	ctx, cancel := context.WithCancel(s.Context())
	ended := make(chan struct{})
	s.Cleanup(func() { cancel(); <-ended })
	go func() {
		defer close(ended)
		for !happened() {
			select {
			case <-ctx.Done():
				s.Errorf("got to the end without %s, want it before", event)
				return
			case <-time.After(10 * time.Millisecond):
			}
		}
		if err := f(); err != nil {
			s.Errorf("at %s: %v", event, err)
		}
	}()
}

// eventually waits for something that takes a moment.
func (s *scenario) eventually(what string, ok func() bool) {
	s.Helper()
	for end := time.Now().Add(hangLimit); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			s.Fatalf("got no success within %v, want: %s", hangLimit, what)
		}
	}
}

// stateHas returns a condition on the service's state.
func stateHas(ok func(state daemon.State) bool) func() bool {
	return func() bool {
		state, err := daemon.ReadState("")
		return err == nil && ok(state)
	}
}

// Conditions on the state: the run has ended; its temporary connection is held; the
// run that heals the boot waits for the virtual router, with a lease.
var (
	hasEnded  = stateHas(func(s daemon.State) bool { return s.Ended != nil })
	isHeld    = stateHas(func(s daemon.State) bool { return s.Ended == nil && len(s.Temporary) == 1 })
	isWaiting = stateHas(func(s daemon.State) bool {
		all := names(s.Steps)
		at := slices.Index(all, "waiting for the virtual router")
		return s.Healing != nil && at >= 0 && slices.Contains(all[at:], "lease")
	})
)

// asked returns how often a DHCP lease was asked for on eth0 by a temporary connection.
func (s *scenario) asked() int {
	return strings.Count(s.NMLog(), "Activation: starting connection 'nm-cloud-seed eth0'")
}
