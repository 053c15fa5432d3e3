package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"

	"github.com/nm-cloud-seed/nm-cloud-seed/datasource"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/config"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/lease"
)

// machine is a root directory with these files.
func machine(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// newDaemon is a daemon below root that records what it tells systemd.
func newDaemon(root string, cfg config.Config) (d *Daemon, notified *[]string) {
	notified = new([]string)
	log := logrus.New()
	log.SetOutput(io.Discard)
	return &Daemon{Root: root, Log: log, Config: cfg, Notify: func(s string) { *notified = append(*notified, s) }}, notified
}

const (
	dmi    = "sys/class/dmi/id/product_name"
	kvm    = "CloudStack KVM Hypervisor\n"
	status = "run/cloud-init/status.json"
	local  = `{"v1": {"datasource": "DataSourceConfigDrive [net,ver=2]", "init": {"finished": null, "start": null}, "init-local": {"finished": 2.0, "start": 1.0}}}`
)

func TestNothingToDo(t *testing.T) {
	cloudStack, none := config.Default(), config.Default()
	cloudStack.Platform, none.Platform = config.PlatformCloudStack, config.PlatformNone
	for _, tt := range []struct {
		name   string
		files  map[string]string
		cfg    config.Config
		reason string // a part of it; empty: there is something to do
	}{
		{"CloudStack by DMI", map[string]string{dmi: kvm}, config.Default(), ""},
		{"another product", map[string]string{dmi: "Standard PC (Q35 + ICH9, 2009)\n"}, config.Default(), `"Standard PC (Q35 + ICH9, 2009)"`},
		{"no DMI", nil, config.Default(), "not on CloudStack"},
		{"configured", nil, cloudStack, ""},
		{"configured off", map[string]string{dmi: kvm}, none, "platform=none"},
		{"kernel: off", map[string]string{dmi: kvm, "proc/cmdline": "quiet nm-cloud-seed=off\n"}, cloudStack, "kernel command line"},
		{"kernel: force", map[string]string{"proc/cmdline": "nm-cloud-seed=force\n"}, none, ""},
		{"kernel: nonsense", map[string]string{dmi: kvm, "proc/cmdline": "nm-cloud-seed=maybe\n"}, config.Default(), ""},
		{"cloud-init disabled", map[string]string{dmi: kvm, "etc/cloud/cloud-init.disabled": ""}, config.Default(), "cloud-init is disabled"},
		{"cloud-init found no datasource", map[string]string{dmi: kvm, "run/cloud-init/disabled": ""}, config.Default(), "its generator found no datasource"},
		{"local stage has a datasource", map[string]string{dmi: kvm, status: local}, config.Default(), "DataSourceConfigDrive"},
		{"forced, but cloud-init has a datasource", map[string]string{"proc/cmdline": "nm-cloud-seed=force\n", status: local}, none, "DataSourceConfigDrive"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d, notified := newDaemon(machine(t, tt.files), tt.cfg)
			if tt.reason == "" {
				// With something to do, the run must try; it cannot, as the bus is not there.
				t.Setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path="+filepath.Join(d.Root, "none"))
				d.Config.Deadline = 500 * time.Millisecond // the dial fails long before
				if err := d.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "NetworkManager is not on the bus") {
					t.Errorf("got the error %v, want that NetworkManager is not on the bus", err)
				}
				return
			}
			if err := d.Run(t.Context()); err != nil {
				t.Fatal(err)
			}
			s, err := ReadState(d.Root)
			if err != nil || s.Phase != Idle || !strings.Contains(s.Text, tt.reason) || s.Ended == nil {
				t.Errorf("got the state %+v, error %v, want %s with %q, and its end", s, err, Idle, tt.reason)
			}
			want := []string{"EXTEND_TIMEOUT_USEC=210000000", "STATUS=starting", "STATUS=" + s.Text, "READY=1"}
			if diff := cmp.Diff(want, *notified); diff != "" {
				t.Errorf("systemd was told (-want +got):\n%s", diff)
			}
			if _, err := os.Lstat(filepath.Join(d.Root, SeedLink)); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("a seed with nothing to do: got %v, want %v", err, fs.ErrNotExist)
			}
		})
	}
}

func TestFailureIsToldAndTakenBack(t *testing.T) {
	root := machine(t, map[string]string{"dev/console": ""})
	d, _ := newDaemon(root, config.Default())
	d.state.Started = time.Now()
	t.Setenv("INVOCATION_ID", "0123456789abcdef")
	if err := os.MkdirAll(filepath.Join(root, RunDir), 0o755); err != nil {
		t.Fatal(err)
	}
	cause := errors.New("no lease\x1b[2J on \\e{red}eth0")
	if err := d.fail(cause); !errors.Is(err, cause) {
		t.Errorf("got the error %v, want %v", err, cause)
	}
	if s, err := ReadState(root); err != nil || len(s.Steps) != 1 || s.Steps[0].Name != "failed" {
		t.Errorf("got the state %+v, error %v, want the step failed alone", s, err)
	}
	for path, want := range map[string]string{
		issuePath:      "nm-cloud-seed: no lease [2J on \\\\e{red}eth0\n\n", // agetty's escapes are escaped
		"/dev/console": "\r\nnm-cloud-seed: no lease [2J on \\e{red}eth0\r\n",
	} {
		if got, err := os.ReadFile(filepath.Join(root, path)); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v; want %q", path, got, err, want)
		}
	}
	drop := filepath.Join(root, RunDir, "private/cloud.cfg")
	if _, err := os.Stat(drop); err != nil {
		t.Error(err)
	}
	if err := d.clear(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(root, issuePath)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s: got %v, want %v", issuePath, err, fs.ErrNotExist)
	}
	// With a seed, cloud-init is told something else, or nothing.
	(&handover{Daemon: d}).over(t.Context(), &datasource.Instance{ID: "i"})
	if _, err := os.Stat(drop); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s: got %v, want %v", drop, err, fs.ErrNotExist)
	}
}

func TestConsoleOnlyAsAService(t *testing.T) {
	root := machine(t, map[string]string{"dev/console": ""})
	d, _ := newDaemon(root, config.Default())
	t.Setenv("INVOCATION_ID", "")
	d.writeConsole("no")
	if got, _ := os.ReadFile(filepath.Join(root, "dev/console")); len(got) > 0 {
		t.Errorf("the console got %q", got)
	}
}

func TestRunDirectoryThatCannotBe(t *testing.T) {
	d, _ := newDaemon(machine(t, map[string]string{"run": "a file", dmi: kvm}), config.Default())
	if err := d.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "run") {
		t.Errorf("got the error %v, want one about run", err)
	}
}

func TestReadState(t *testing.T) {
	if _, err := ReadState(t.TempDir()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got the error %v, want %v", err, fs.ErrNotExist)
	}
	for _, text := range []string{"", "{", `{"steps": 3}`, strings.Repeat(" ", 2<<20)} {
		if _, err := ReadState(machine(t, map[string]string{StatePath: text})); err == nil {
			t.Errorf("%.20q: got no error, want one", text)
		}
	}
}

// After the end of the job, progress tells of devices and never goes back.
func TestProgressAfterTheEnd(t *testing.T) {
	root := machine(t, map[string]string{filepath.Join(RunDir, "x"): ""})
	d, notified := newDaemon(root, config.Default())
	d.say(Ready, "seeded")
	d.progress(Progress{Phase: Fetching, Step: "lease", Text: "late", View: lease.View{
		Running: true,
		Leases:  []lease.Lease{{Device: "eth0", Temporary: true}},
		Devices: []lease.Device{{Name: "eth0", State: lease.Leased, Detail: "x"}},
	}})
	s, err := ReadState(root)
	if err != nil || s.Phase != Ready || s.Text != "seeded" || !cmp.Equal(s.Temporary, []string{"eth0"}) || len(s.Devices) != 1 || len(s.Steps) > 0 {
		t.Errorf("got the state %+v, error %v, want ready as before, with eth0 as device and as temporary", s, err)
	}
	if diff := cmp.Diff([]string{"STATUS=seeded"}, *notified); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestStartIsBounded(t *testing.T) {
	d, notified := newDaemon(t.TempDir(), config.Default())
	d.boundStart()()
	want := []string{"EXTEND_TIMEOUT_USEC=210000000"} // the deadline, the rest, and a little more
	if diff := cmp.Diff(want, *notified); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	synctest.Test(t, func(t *testing.T) { // fake time
		began, ended := time.Now(), time.Duration(0)
		d.Abort = func() { ended = time.Since(began) }
		limit := d.Config.Deadline + restLimit
		stop := d.boundStart()
		stop()
		stop() // twice is fine
		time.Sleep(2 * limit)
		synctest.Wait()
		if ended != 0 {
			t.Errorf("got the end after %v, want none after its stop", ended)
		}
		began = time.Now()
		d.boundStart()
		time.Sleep(2 * limit)
		synctest.Wait()
		if ended != limit {
			t.Errorf("got the end after %v, want %v", ended, limit)
		}
	})
}

func TestLockRefusesSecondRun(t *testing.T) {
	old := unix.Umask(0o077)
	defer unix.Umask(old)
	root := machine(t, map[string]string{filepath.Join(RunDir, "x"): ""})
	unlock, err := lock(root)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lock(root); !errors.Is(err, ErrRunning) {
		t.Errorf("a second lock: got the error %v, want %v", err, ErrRunning)
	}
	if info, err := os.Stat(filepath.Join(root, lockPath)); err != nil || info.Mode() != 0o600 {
		t.Errorf("lock file: got mode %v, error %v, want 0600", info.Mode(), err)
	}
	unlock()
	if unlock, err = lock(root); err != nil {
		t.Errorf("after the end: got the error %v, want none", err)
	} else {
		unlock()
	}
}

func TestStateOfKilledRun(t *testing.T) {
	child := child(t)
	start, err := startTime(child.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	for _, phase := range []Phase{Searching, Ready} {
		root := machine(t, map[string]string{filepath.Join(RunDir, "x"): ""})
		d, _ := newDaemon(root, config.Default())
		d.state.Process = process{child.Process.Pid, start}
		d.state.Started, d.state.StartedMonotonic = time.Now().Add(-time.Hour), Monotonic().Microseconds() // the clock was set
		d.tell(func(s *State) { s.Phase, s.Text, s.Temporary = phase, "text", []string{"eth0"} })
		defer func() {
			s, err := ReadState(root)
			if err != nil || s.Ended == nil || len(s.Temporary) != 0 {
				t.Errorf("after its end: got %+v, error %v, want an end and no temporary connection", s, err)
			}
			killed := strings.Contains(s.Text, "was killed while it was searching: text")
			if killed != (phase == Searching) || killed != (len(s.Steps) == 1 && s.Steps[0].Name == "failed" && s.Steps[0].At < 30*60*1000) {
				t.Errorf("after its end in %s: got %+v, want it told as killed: %t", phase, s, phase == Searching)
			}
		}()
		if s, err := ReadState(root); err != nil || s.Phase != phase || s.Ended != nil || len(s.Temporary) != 1 {
			t.Errorf("while it runs: got %+v, error %v, want %s without an end", s, err, phase)
		}
	}
	if other := (process{child.Process.Pid, start + "0"}); !other.gone() {
		t.Error("got a process of the same id and another start as running, want it gone")
	}
	if p := thisProcess(); p.gone() || p.ID != os.Getpid() || (process{}).gone() {
		t.Errorf("this process: got %+v, gone: %t, want id %d and not gone", p, p.gone(), os.Getpid())
	}
	_ = child.Process.Kill()
	_ = child.Wait()
}

// A console that nobody reads must not hold up the boot.
func TestFullConsoleDoesNotBlock(t *testing.T) {
	ptmx, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(ptmx)
	number, err := unix.IoctlGetInt(ptmx, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(ptmx, unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	tty := fmt.Sprintf("/dev/pts/%d", number)
	fd, err := unix.Open(tty, unix.O_WRONLY|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	for err = nil; err == nil; {
		_, err = unix.Write(fd, make([]byte, 4096))
	}
	if !errors.Is(err, unix.EAGAIN) {
		t.Fatalf("cannot fill the terminal: %v", err)
	}
	root := machine(t, map[string]string{"dev/x": ""})
	if err := os.Symlink(tty, filepath.Join(root, "dev/console")); err != nil {
		t.Fatal(err)
	}
	d, _ := newDaemon(root, config.Default())
	t.Setenv("INVOCATION_ID", "0123456789abcdef")
	done := make(chan struct{})
	go func() {
		d.writeConsole("no lease")
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(5 * time.Minute):
		t.Fatal("it waits for the console")
	}
}

func TestLine(t *testing.T) {
	for in, want := range map[string]string{
		"plain": "plain", "a\nb\tc\x00d\u0085e\u202ef": "a b c d e f", "ä→": "ä→",
		strings.Repeat("ä", 2000): strings.Repeat("ä", 1000) + "…",
	} {
		if got := line(in); got != want {
			t.Errorf("line(%.20q): got %.40q, want %.40q", in, got, want)
		}
	}
}

func TestRunStopsWithoutBus(t *testing.T) {
	d, notified := newDaemon(machine(t, map[string]string{dmi: kvm}), config.Default())
	t.Setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path="+filepath.Join(d.Root, "none"))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	d.Config.Deadline = 0 // so that only the end of the context ends it
	notify := d.Notify
	d.Notify = func(s string) {
		notify(s)
		if s == "STATUS=waiting for NetworkManager" {
			cancel()
		}
	}
	if err := d.Run(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got the error %v, want %v", err, context.Canceled)
	}
	if s, _ := ReadState(d.Root); s.Phase != Stopped || len(s.Steps) == 0 || s.Steps[len(s.Steps)-1].Name != "stopped" {
		t.Errorf("got the state %+v, want the phase and the last step stopped", s)
	}
	if n := len(*notified); (*notified)[n-1] != "STOPPING=1" && (*notified)[n-2] != "STOPPING=1" {
		t.Errorf("got %q, want STOPPING=1 as the last notification or the one before", *notified)
	}
}
