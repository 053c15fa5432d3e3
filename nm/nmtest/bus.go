// Package nmtest is a private system bus with a fake NetworkManager on it, for
// the faults that a real one does not have on demand.
package nmtest

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/godbus/dbus/v5"
)

// Program is the bus, from the package "dbus" (Debian: dbus-daemon).
const Program = "/usr/bin/dbus-daemon"

// configuration lets everybody do everything, see dbus-daemon(1).
const configuration = `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>unix:path=%s</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <allow own="*"/>
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
  </policy>
</busconfig>
`

// Daemon is a private dbus-daemon.
type Daemon struct {
	Address string

	t   testing.TB
	dir string
	cmd *exec.Cmd
}

// Bus starts a private bus that ends with the test.
func Bus(t testing.TB) *Daemon {
	t.Helper()
	return BusWith(t, configuration)
}

// BusWith is Bus with a configuration of its own, in which %s is its socket. Other
// users can get at it.
func BusWith(t testing.TB, configuration string) *Daemon {
	t.Helper()
	if _, err := os.Stat(Program); err != nil {
		t.Fatalf("%s is missing: install the package dbus (Debian: dbus-daemon)", Program)
	}
	// Not t.TempDir: its name has the test's in it, and a socket's path has at
	// most 107 bytes (unix(7)).
	dir, err := os.MkdirTemp("", "nmtest")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(dir, "bus")
	if err := os.WriteFile(filepath.Join(dir, "conf"), fmt.Appendf(nil, configuration, socket), 0o600); err != nil {
		t.Fatal(err)
	}
	d := &Daemon{Address: "unix:path=" + socket, t: t, dir: dir}
	d.Start()
	t.Cleanup(d.Stop)
	return d
}

// Setenv makes this the system bus of the process.
func (d *Daemon) Setenv(t *testing.T) { t.Setenv("DBUS_SYSTEM_BUS_ADDRESS", d.Address) }

// Start starts the bus, again at the same address after a Stop.
func (d *Daemon) Start() {
	d.t.Helper()
	_ = os.Remove(filepath.Join(d.dir, "bus"))
	d.cmd = exec.Command(Program, "--nofork", "--nopidfile", "--nosyslog", "--print-address",
		"--config-file="+filepath.Join(d.dir, "conf"))
	var said bytes.Buffer
	d.cmd.Stderr = &said
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // a test that panics leaves none behind
	out, err := d.cmd.StdoutPipe()
	if err == nil {
		err = d.cmd.Start()
	}
	if err == nil { // it prints its address when it listens
		_, err = bufio.NewReader(out).ReadString('\n')
	}
	if err != nil {
		d.t.Fatalf("cannot start a private bus: %v\n%s", err, &said)
	}
}

// Stop kills the bus.
func (d *Daemon) Stop() {
	if d.cmd == nil {
		return
	}
	_ = d.cmd.Process.Kill()
	_ = d.cmd.Wait()
	d.cmd = nil
}

// Freeze stops the bus where it stands: it neither answers nor goes away.
func (d *Daemon) Freeze() { _ = d.cmd.Process.Signal(syscall.SIGSTOP) }

// Dial connects to the bus.
func (d *Daemon) Dial(options ...dbus.ConnOption) (*dbus.Conn, error) {
	return dbus.Connect(d.Address, options...)
}
