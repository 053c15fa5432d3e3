package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nm-cloud-seed/nm-cloud-seed/datasource/cloudstack/vrtest"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/daemon"
	"github.com/nm-cloud-seed/nm-cloud-seed/test/judge"
	"github.com/nm-cloud-seed/nm-cloud-seed/test/lab"
)

const (
	instance = "7d4f1f9a-58c1-4f5e-9a3c-3f0c5d9a1b2e"
	profile  = "Wired connection 1" // as NetworkManager itself calls an image's
)

// demo is the VM and its virtual router.
type demo struct {
	*lab.Lab
	*screen
	binary string
	vr     *vrtest.VR
	vm     *vrtest.VM

	judge *judge.Judge // nil: there is no cloud-init
	why   string       // there is none
	log   string       // what cloud-init logs

	service *exec.Cmd
	start   time.Time
	ready   time.Duration
	state   daemon.State
	asked   int // requests of the run
	conns   int
	others  map[string]string // processes before the run
	ended   <-chan error      // how the run ended
}

// inside shows everything in the lab. root has cloud-init; without one, why says
// what the reason is.
func inside(ctx context.Context, binary, root, why string) error {
	lower, err := os.Open(root) // the lab's mounts may hide the path
	if root != "" && err != nil {
		return err
	}
	dir, err := privateDir()
	if err != nil {
		return err
	}
	s := newScreen(os.Stdout)
	defer s.stop()
	s.doingNow("starting NetworkManager, D-Bus and dnsmasq in namespaces")
	l, err := lab.New(dir, lab.Config{})
	if err != nil {
		return err
	}
	defer l.Close()
	d := &demo{Lab: l, screen: s, binary: binary, why: why, vr: vrtest.New()}
	if root != "" {
		d.doingNow("starting cloud-init's Python")
		if err := d.startJudge(ctx, fmt.Sprintf("/proc/self/fd/%d", lower.Fd())); err != nil {
			return err
		}
	}
	for _, part := range []func(context.Context) error{d.world, d.before, d.after, d.again, d.cost, d.next} {
		if err := part(ctx); err != nil {
			return err
		}
	}
	return nil
}

// privateDir returns a directory for the lab's logs in a tmpfs of these
// namespaces: nothing of it is left, however the demo ends.
func privateDir() (string, error) {
	const dir = "/run" // the lab will mount its own there
	err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
	if err == nil {
		err = unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755")
	}
	if err != nil {
		return "", fmt.Errorf("cannot mount in new namespaces: %w%s", err, apparmorHint())
	}
	return dir, nil
}

// apparmorHint names the setting of Ubuntu with which an ordinary user may create
// namespaces, and then may do nothing in them.
func apparmorHint() string {
	const name = "kernel.apparmor_restrict_unprivileged_userns"
	value, err := os.ReadFile("/proc/sys/" + strings.ReplaceAll(name, ".", "/"))
	if err != nil || strings.TrimSpace(string(value)) != "1" {
		return ""
	}
	return "\n" + name + " is 1: run as root"
}

func (d *demo) startJudge(ctx context.Context, root string) error {
	d.log = "/run/cloud-init.log"
	log, err := os.Create(d.log)
	if err != nil {
		return err
	}
	defer log.Close()
	d.judge, err = judge.New(root, "/run/judge", func(name string, args ...string) *exec.Cmd {
		return d.Command(ctx, name, args...)
	}, log)
	return err
}

// world starts the virtual router and says what there is.
func (d *demo) world(ctx context.Context) error {
	d.vm = vrtest.Example(instance, d.ClientAddr(0))
	d.vr.SetVM(d.ClientAddr(0), d.vm)
	if err := d.ServeVR(ctx, 0, d.vr); err != nil {
		return err
	}
	nm, err := d.output(ctx, "NetworkManager", "--version")
	if err != nil {
		return err
	}
	real := fmt.Sprintf("NetworkManager %s, dbus-daemon and dnsmasq", nm)
	if d.judge != nil {
		real = fmt.Sprintf("NetworkManager %s, dbus-daemon, dnsmasq and cloud-init %s of Debian 12", nm, d.judge.Version)
	}
	d.note("nm-cloud-seed makes cloud-init work on CloudStack where NetworkManager runs the VM's network.")
	d.print("")
	d.row("real", real)
	d.row("simulated", fmt.Sprintf("the metadata server of CloudStack's virtual router, %s", d.VRAddr(0)))
	d.row("untouched", "this machine's network and files: all runs in namespaces")
	return nil
}

// before lets cloud-init look for its data as it does without us: NetworkManager
// has connected nothing yet.
func (d *demo) before(ctx context.Context) error {
	device, err := d.output(ctx, "nmcli", "-g", "GENERAL.STATE", "device", "show", "eth0")
	if err != nil {
		return err
	}
	if !strings.Contains(device, "disconnected") {
		return fmt.Errorf("the VM's network before the run: got eth0 %q, want disconnected", device)
	}
	d.heading("BEFORE", "Debian's boot order: cloud-init looks for its data before NetworkManager connects")
	d.row("eth0", "disconnected")
	if d.judge == nil {
		d.row("cloud-init", "not shown: "+d.why)
		return nil
	}
	d.doingNow("cloud-init looks for its datasource")
	answer, err := d.judge.Stage(ctx)
	if err != nil {
		return err
	}
	if err := checkStock(answer, len(d.vr.Requests())); err != nil {
		return err
	}
	log, err := os.ReadFile(d.log)
	if err != nil {
		return err
	}
	d.row("cloud-init", strings.TrimSpace(lastLines(string(log), 1)))
	d.row("the VM gets", "no host name, no SSH keys and no user-data from CloudStack")
	return nil
}

// after runs the service as systemd does.
func (d *demo) after(ctx context.Context) error {
	d.heading("AFTER", "nm-cloud-seed run comes first, and cloud-init waits until it is READY")
	d.doingNow("nm-cloud-seed run")
	if err := d.run(ctx); err != nil {
		return err
	}
	var err error
	if d.state, err = daemon.ReadState(""); err != nil {
		return err
	}
	d.asked, d.conns = len(d.vr.Requests()), d.vr.Connections()
	if err := checkRun(d.state, d.vm, instance); err != nil {
		return err
	}
	// What the unit's ExecStartPost= does: cloud-init up to 25.1 needs it.
	if _, err := d.output(ctx, d.binary, "place-lease"); err != nil {
		return err
	}
	return d.showRun(ctx)
}

// run starts the service and returns when it is ready.
func (d *demo) run(ctx context.Context) error {
	// The lab's firmware is the machine's: it does not name CloudStack.
	if err := os.WriteFile("/etc/nm-cloud-seed.conf", []byte("[main]\nplatform=cloudstack\n"), 0o644); err != nil {
		return err
	}
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram", Name: "/run/notify"})
	if err != nil {
		return err
	}
	defer socket.Close()
	defer context.AfterFunc(ctx, func() { socket.Close() })()
	if d.others, err = processes(); err != nil {
		return err
	}
	var said strings.Builder
	d.service = d.Command(ctx, d.binary, "run")
	d.service.Env = append(d.service.Env, "NOTIFY_SOCKET=/run/notify")
	d.service.Stderr = &said
	d.start = time.Now()
	if err := d.service.Start(); err != nil {
		return fmt.Errorf("cannot start nm-cloud-seed: %w", err)
	}
	ended := make(chan error, 1)
	ready := make(chan error, 1)
	go func() { ended <- d.service.Wait() }()
	go func() {
		message := make([]byte, 4096)
		for {
			n, err := socket.Read(message)
			if err != nil || string(message[:n]) == "READY=1" {
				d.ready = time.Since(d.start)
				ready <- err
				return
			}
		}
	}()
	select {
	case err = <-ready:
		d.ended = ended
	case <-ended:
		err = fmt.Errorf("nm-cloud-seed run has ended before it was ready: got %v\n%s", d.service.ProcessState, lastLines(said.String(), 5))
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// showRun shows the steps, and the lease that NetworkManager has got.
func (d *demo) showRun(ctx context.Context) error {
	connection, err := d.output(ctx, "nmcli", "-g", "GENERAL.CONNECTION", "device", "show", "eth0")
	if err != nil {
		return err
	}
	if !strings.HasPrefix(connection, "nm-cloud-seed") {
		return fmt.Errorf("eth0 after the run: got connection %q, want a temporary one", connection)
	}
	lease, err := d.lease(ctx)
	if err != nil {
		return err
	}
	if got, want := lease["dhcp_server_identifier"], d.VRAddr(0).String(); got != want {
		return fmt.Errorf("the lease: got server id %q, want %q", got, want)
	}
	seeded := d.state.Instance
	texts := map[string][]string{
		"NetworkManager": {"NetworkManager is there, eth0 has no connection: a temporary one is activated"},
		"lease": {
			fmt.Sprintf("lease on eth0: address %s, router %s", lease["ip_address"], lease["routers"]),
			"DHCP server id " + lease["dhcp_server_identifier"] + ": this is where the virtual router is looked for",
		},
		"virtual router": {fmt.Sprintf("virtual router found: %s (%s)", seeded.Server, seeded.Role)},
		"metadata": {fmt.Sprintf("instance metadata fetched, in %s: %d keys, %d bytes of user-data",
			plural(d.asked, "request"), seeded.Keys, seeded.UserData)},
		"seed": {"seed written to " + seeded.Seed},
	}
	for _, step := range d.state.Steps {
		at := d.state.Started.Sub(d.start) + time.Duration(step.At*float64(time.Millisecond))
		label := milliseconds(at)
		for _, text := range texts[step.Name] {
			d.row(label, text)
			label = ""
		}
	}
	d.row(milliseconds(d.ready), "READY")
	return nil
}

// lease returns the options of NetworkManager's DHCP lease on eth0.
func (d *demo) lease(ctx context.Context) (map[string]string, error) {
	out, err := d.output(ctx, "nmcli", "-t", "-e", "no", "-f", "DHCP4", "device", "show", "eth0")
	if err != nil {
		return nil, err
	}
	options := map[string]string{}
	for line := range strings.SplitSeq(out, "\n") {
		_, option, _ := strings.Cut(line, ":")
		name, value, _ := strings.Cut(option, " = ")
		options[name] = value
	}
	return options, nil
}

// again lets the same cloud-init look once more.
func (d *demo) again(ctx context.Context) error {
	if d.judge == nil {
		return nil
	}
	d.doingNow("cloud-init looks for its datasource once more")
	before := len(d.vr.Requests())
	answer, err := d.judge.Stage(ctx)
	if err != nil {
		return err
	}
	got, err := read(answer)
	if err != nil {
		return err
	}
	if err := checkSeeded(got, d.vm, instance, len(d.vr.Requests())-before); err != nil {
		return err
	}
	d.row("cloud-init", "the same class as above now reads the seed, without a request of its own:")
	d.row("  instance-id", got.instance)
	d.row("  host name", got.hostname)
	d.row("  SSH keys", fmt.Sprint(got.keys))
	d.row("  user-data", fmt.Sprintf("%d bytes", got.userData))
	return nil
}

// cost lets the VM go on, which ends the run, and looks for what is left of it.
func (d *demo) cost(ctx context.Context) error {
	d.doingNow("a profile of the VM's own takes the temporary connection's place")
	if _, err := d.output(ctx, "nmcli", "connection", "add", "type", "ethernet", "con-name", profile, "ifname", "eth0"); err != nil {
		return err
	}
	if _, err := d.output(ctx, "nmcli", "connection", "up", profile); err != nil {
		return err
	}
	if err := <-d.ended; err != nil {
		return errors.Join(ctx.Err(), fmt.Errorf("nm-cloud-seed run, after another connection took over: got %w, want success", err))
	}
	processes, err := d.newProcesses()
	if err != nil {
		return err
	}
	connections, err := d.output(ctx, "nmcli", "-g", "NAME", "connection", "show")
	if err != nil {
		return err
	}
	if err := checkLeft(processes, strings.Split(connections, "\n")); err != nil {
		return err
	}
	d.heading("COST", "of this boot")
	d.row("time", strings.TrimSpace(milliseconds(d.ready))+" from the start of nm-cloud-seed to READY, with the DHCP lease")
	d.row("network", fmt.Sprintf("%s on %s to the virtual router",
		plural(d.asked, "request"), plural(d.conns, "connection")))
	d.row("processes", "none is left: the run ended by itself when a profile of the VM took over")
	d.row("connections", "none is left: the temporary one is gone, eth0 is on \""+profile+"\"")
	return nil
}

// processes returns the command lines of the lab's processes by their ids. What has
// ended, and only waits to be collected, has none.
func processes() (map[string]string, error) {
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return nil, err
	}
	found := map[string]string{}
	for _, name := range files {
		if line, err := os.ReadFile(name); err == nil && len(line) > 0 { // else it has ended by now
			found[name] = strings.TrimSpace(strings.ReplaceAll(string(line), "\x00", " "))
		}
	}
	return found, nil
}

// newProcesses returns those that were not there before the run.
func (d *demo) newProcesses() (left []string, err error) {
	now, err := processes()
	for name, line := range now {
		if d.others[name] != line {
			left = append(left, line)
		}
	}
	return left, err
}

func (d *demo) next(context.Context) error {
	binary := d.binary
	if len(binary) > 24 { // not build/nm-cloud-seed
		binary = filepath.Base(binary)
	}
	d.heading("NEXT", "what you can do now")
	d.rows([][2]string{
		{"make packages", "build the deb and the rpm"},
		{binary + " doctor --root DIRECTORY", "check an image with the package in it"},
		{"make test-boot", "boot Debian 12, 13 and sid with and without the package"},
		{"README.md", "read how it works and what it does in an outage"},
	})
	return nil
}

// output returns what a command in the VM writes.
func (d *demo) output(ctx context.Context, name string, args ...string) (string, error) {
	out, err := d.Command(ctx, name, args...).Output()
	if err == nil {
		return strings.TrimSpace(string(out)), nil
	}
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && len(exit.Stderr) > 0 {
		err = fmt.Errorf("%w: %s", err, strings.TrimSpace(string(exit.Stderr)))
	}
	return "", errors.Join(ctx.Err(), fmt.Errorf("cannot run %s %s: %w", filepath.Base(name), strings.Join(args, " "), err))
}

func milliseconds(d time.Duration) string { return fmt.Sprintf("%5d ms", d.Milliseconds()) }

func plural(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}
