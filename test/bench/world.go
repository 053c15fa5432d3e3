package main

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nm-cloud-seed/nm-cloud-seed/datasource/cloudstack/vrtest"
	"github.com/nm-cloud-seed/nm-cloud-seed/test/lab"
)

const (
	instance = "7d4f1f9a-58c1-4f5e-9a3c-3f0c5d9a1b2e"
	benchDir = "/run/bench"
	chroot   = benchDir + "/root" // cloud-init's file system
	notify   = benchDir + "/notify"
	limit    = 30 * time.Second // for what takes a second at most
)

//go:embed crawl.py
var crawl []byte

//go:embed nmcli-curl.sh
var script []byte

// world is the VM, its virtual router and what is measured in it.
type world struct {
	*lab.Lab
	binary  string
	version string // of cloud-init
	vr      *vrtest.VR
	vm      *vrtest.VM
	leases  chan time.Time // of the DHCPACKs since reset
	notify  *net.UnixConn
	dir     string // of the lab's logs
}

func newWorld(ctx context.Context, binary, cloudInit string) (*world, error) {
	dir, err := os.MkdirTemp("", "nm-cloud-seed-bench-")
	if err != nil {
		return nil, err
	}
	l, err := lab.New(dir, lab.Config{})
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	w := &world{Lab: l, binary: binary, vr: vrtest.New(), dir: dir, leases: make(chan time.Time, 100)}
	if err := w.setUp(ctx, cloudInit); err != nil {
		return nil, errors.Join(err, w.Close())
	}
	return w, nil
}

func (w *world) Close() error { return errors.Join(w.Lab.Close(), os.RemoveAll(w.dir)) }

func (w *world) setUp(ctx context.Context, cloudInit string) error {
	if err := w.ServeVR(ctx, 0, w.vr); err != nil {
		return err
	}
	if err := w.overlay(cloudInit); err != nil {
		return fmt.Errorf("cannot set up cloud-init's file system: %w", err)
	}
	for name, content := range map[string][]byte{
		"/etc/nm-cloud-seed.conf":     []byte("[main]\nplatform=cloudstack\npassword=no\nssh-keys=no\n"),
		benchDir + "/nmcli-curl.sh":   script,
		chroot + "/crawl.py":          crawl,
		chroot + "/etc/resolv.conf":   fmt.Appendf(nil, "search cs2cloud.internal\nnameserver %s\n", w.VRAddr(0)),
		chroot + "/etc/nsswitch.conf": []byte("hosts: files dns\n"),
	} {
		if err := os.WriteFile(name, content, 0o755); err != nil {
			return err
		}
	}
	var err error
	if w.notify, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram", Name: notify}); err != nil {
		return err
	}
	return w.OnRouter(0, func() error { return sniff(w.leases) })
}

// overlay is the unpacked root, which is never written, as a running system
// would have it.
func (w *world) overlay(lower string) error {
	for _, d := range []string{chroot, benchDir + "/upper/proc", benchDir + "/upper/etc", benchDir + "/work"} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return err
		}
	}
	options := fmt.Sprintf("lowerdir=%s,upperdir=%s/upper,workdir=%s/work", lower, benchDir, benchDir)
	if err := unix.Mount("overlay", chroot, "overlay", 0, options); err != nil {
		return err
	}
	return unix.Mount("/proc", chroot+"/proc", "", unix.MS_BIND|unix.MS_REC, "")
}

// set makes the virtual router serve so many keys, each answer after a delay.
func (w *world) set(keys int, delay time.Duration) {
	w.vm = vrtest.Example(instance, w.ClientAddr(0))
	for i := range keys - len(w.vm.Metadata) {
		w.vm.Set(fmt.Sprintf("user-key-%02d", i), fmt.Sprintf("value %02d", i))
	}
	w.vr.SetVM(w.ClientAddr(0), w.vm)
	w.vr.SetFaults(vrtest.Fault{Delay: delay})
}

// reset forgets what the contender before left. A first boot knows no lease.
func (w *world) reset() error {
	w.vr.ResetLog()
	for len(w.leases) > 0 {
		<-w.leases
	}
	leases, err := filepath.Glob("/var/lib/NetworkManager/*.lease")
	if err != nil {
		return err
	}
	for _, path := range append(leases, "/run/nm-cloud-seed", "/var/lib/cloud", benchDir+"/seed") {
		err = errors.Join(err, os.RemoveAll(path))
	}
	return err
}

// connect gives the device a connection before the contenders start, as the
// profile that cloud-init's local stage writes does.
func (w *world) connect(ctx context.Context) error {
	_, err := w.Nmcli(ctx, "connection", "add", "save", "no", "type", "ethernet", "ifname", "eth0", "con-name", "wired", "ipv4.dad-timeout", "0")
	if err != nil {
		return err
	}
	_, err = w.Nmcli(ctx, "connection", "up", "wired")
	return err
}

// disconnect takes down a connection, if it is there, and waits for an idle device.
func (w *world) disconnect(ctx context.Context, name string) error {
	names, err := w.Nmcli(ctx, "-g", "NAME", "connection")
	if err == nil && slices.Contains(strings.Fields(names), name) {
		_, err = w.Nmcli(ctx, "connection", "delete", name)
	}
	if err != nil {
		return err
	}
	for end := time.Now().Add(limit); ; {
		state, err := w.Nmcli(ctx, "-g", "GENERAL.STATE", "device", "show", "eth0")
		switch {
		case err != nil:
			return err
		case strings.HasPrefix(state, "30 "):
			return nil
		case time.Now().After(end):
			return fmt.Errorf("cannot wait any longer for an idle eth0: it is %s", state)
		}
	}
}

// roundTrip is what passes between a request and its answer, on a connection
// that is there, as another process sees it: the median of a few.
func (w *world) roundTrip(ctx context.Context) (time.Duration, error) {
	args := []string{"--silent", "--fail", "--write-out", `%{stderr}%{time_pretransfer} %{time_starttransfer}\n`}
	for range 21 {
		args = append(args, "http://"+w.VRAddr(0).String()+"/latest/meta-data/vm-id")
	}
	cmd := w.Command(ctx, "curl", args...)
	var times bytes.Buffer
	cmd.Stderr = &times
	if err := cmd.Run(); err != nil {
		return 0, fmt.Errorf("cannot measure the round trip: %w", err)
	}
	var list []time.Duration
	for times.Len() > 0 {
		var sent, answered float64 // seconds
		if _, err := fmt.Fscanln(&times, &sent, &answered); err != nil {
			return 0, fmt.Errorf("cannot measure the round trip: %w", err)
		}
		list = append(list, time.Duration((answered-sent)*float64(time.Second)))
	}
	return newSpread(list).median, nil
}

// check compares what a contender wrote with what the virtual router has.
func (w *world) check(metadata, userData string) error {
	missing := slices.IndexFunc(w.vm.Metadata, func(k vrtest.Key) bool {
		return !strings.Contains(metadata, k.Name) || !strings.Contains(metadata, k.Value)
	})
	if missing >= 0 {
		return fmt.Errorf("the key %s is missing in:\n%s", w.vm.Metadata[missing].Name, metadata)
	}
	if userData != string(w.vm.UserData) {
		return fmt.Errorf("the user-data is %q", userData)
	}
	return nil
}
