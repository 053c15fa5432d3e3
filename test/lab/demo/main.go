// Command demo shows the main job to a person: the real nm-cloud-seed with a
// real NetworkManager, dbus-daemon and dnsmasq in namespaces, and a simulated
// virtual router. `make demo` runs it.
package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/term"

	"github.com/nm-cloud-seed/nm-cloud-seed/datasource/cloudstack/vrtest"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/seed"
	"github.com/nm-cloud-seed/nm-cloud-seed/test/lab"
)

const instance = "7d4f1f9a-58c1-4f5e-9a3c-3f0c5d9a1b2e"

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: demo PATH-OF-NM-CLOUD-SEED")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	var err error
	if lab.Inside() {
		err = inside(ctx, os.Args[1])
	} else {
		err = lab.Enter(ctx, os.Args[1:], nil, os.Stdout, os.Stderr)
	}
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// demo is the VM and its virtual router.
type demo struct {
	*lab.Lab
	binary  string
	vr      *vrtest.VR
	service *exec.Cmd
}

func inside(ctx context.Context, binary string) error {
	dir, err := os.MkdirTemp("", "nm-cloud-seed-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	l, err := lab.New(dir, lab.Config{})
	if err != nil {
		return err
	}
	defer l.Close()
	d := &demo{Lab: l, binary: binary, vr: vrtest.New()}
	for _, step := range []func(context.Context) error{d.world, d.start, d.router, d.result, d.stopped} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

func heading(text string) {
	if term.IsTerminal(int(os.Stdout.Fd())) && os.Getenv("NO_COLOR") == "" {
		text = "\x1b[1m" + text + "\x1b[0m"
	}
	fmt.Println("\n" + text)
}

// show runs a command in the VM and prints it with its output.
func (d *demo) show(ctx context.Context, name string, args ...string) error {
	fmt.Printf("$ %s %s\n", filepath.Base(name), strings.Join(args, " "))
	out, err := d.Command(ctx, name, args...).CombinedOutput()
	for line := range bytes.Lines(out) {
		if bytes.Contains(line, []byte("requested_")) { // what the client asked for is long and says nothing
			continue
		}
		fmt.Printf("  %s", line)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

func (d *demo) world(ctx context.Context) error {
	vm := vrtest.Example(instance, d.ClientAddr(0))
	d.vr.SetVM(d.ClientAddr(0), vm)
	if err := d.ServeVR(ctx, 0, d.vr); err != nil {
		return err
	}
	heading("A VM on a CloudStack network, before nm-cloud-seed: NetworkManager runs, nothing is connected")
	fmt.Printf("The virtual router at %s serves DHCP, DNS (real dnsmasq) and metadata (simulated).\n", d.VRAddr(0))
	if err := d.show(ctx, "NetworkManager", "--version"); err != nil {
		return err
	}
	return d.show(ctx, "nmcli", "device")
}

// start runs the service as systemd would, with a notification socket.
func (d *demo) start(ctx context.Context) error {
	heading("nm-cloud-seed run: what it tells systemd, with the time since its start")
	err := os.WriteFile("/etc/nm-cloud-seed.conf", []byte("[main]\nplatform=cloudstack\n"), 0o644)
	if err != nil {
		return err
	}
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram", Name: "/run/demo-notify"})
	if err != nil {
		return err
	}
	defer socket.Close()
	d.service = d.Command(ctx, d.binary, "run")
	d.service.Env = append(d.service.Env, "NOTIFY_SOCKET=/run/demo-notify")
	start := time.Now()
	if err := d.service.Start(); err != nil {
		return err
	}
	if err := socket.SetReadDeadline(start.Add(30 * time.Second)); err != nil {
		return err
	}
	message := make([]byte, 4096)
	for {
		n, err := socket.Read(message)
		if err != nil {
			return fmt.Errorf("the service did not become ready: %w", err)
		}
		text := string(message[:n])
		fmt.Printf("  %6.1f ms  %s\n", float64(time.Since(start).Microseconds())/1000, text)
		if text == "READY=1" {
			return nil
		}
	}
}

func (d *demo) router(ctx context.Context) error {
	heading("The lease, as NetworkManager has it")
	if err := d.show(ctx, "nmcli", "-f", "GENERAL.CONNECTION,IP4,DHCP4", "device", "show", "eth0"); err != nil {
		return err
	}
	requests := d.vr.Requests()
	heading(fmt.Sprintf("What the virtual router was asked: %d requests on %d connections", len(requests), d.vr.Connections()))
	for _, r := range requests {
		fmt.Printf("  %6.1f ms  connection %d  %s %s -> %d\n",
			float64(r.Time.Sub(requests[0].Time).Microseconds())/1000, r.Conn, r.Method, r.Path, r.Status)
	}
	return nil
}

func (d *demo) result(ctx context.Context) error {
	heading("The seed, where cloud-init's CloudStack datasource looks first")
	for _, args := range [][]string{
		{"ls", "-l", seed.DefaultLink}, {"ls", "-lR", "--time-style=+", seed.DefaultLink + "/"},
		{"cat", seed.DefaultLink + "/meta-data"}, {"cat", seed.DefaultLink + "/user-data"},
	} {
		if err := d.show(ctx, args[0], args[1:]...); err != nil {
			return err
		}
	}
	heading("What an operator sees")
	return d.show(ctx, d.binary, "status")
}

// stopped ends the service and shows what is left of its connection.
func (d *demo) stopped(ctx context.Context) error {
	heading("Stopped: the temporary connection is gone, the seed stays")
	if err := d.service.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	if err := d.service.Wait(); err != nil {
		return err
	}
	if err := d.show(ctx, "nmcli", "connection"); err != nil {
		return err
	}
	return d.show(ctx, "ls", seed.DefaultLink+"/")
}
