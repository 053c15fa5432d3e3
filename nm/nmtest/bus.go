// Package nmtest is a private system bus with a fake NetworkManager on it, for
// the faults that a real one does not have on demand.
package nmtest

import (
	"bufio"
	"bytes"
	"crypto/rand"
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
  <listen>%s</listen>
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

	t    testing.TB
	file string // its configuration
	cmd  *exec.Cmd
}

// Bus starts a private bus that ends with the test.
func Bus(t testing.TB) *Daemon {
	t.Helper()
	return BusWith(t, configuration)
}

// BusWith is Bus with a configuration of its own, in which %s is its address. Other
// users can connect to it.
func BusWith(t testing.TB, configuration string) *Daemon {
	t.Helper()
	if _, err := os.Stat(Program); err != nil {
		t.Fatalf("%s is missing: install the package dbus (Debian: dbus-daemon)", Program)
	}
	// The socket is no file: below t.TempDir its path could exceed the 107 bytes of
	// unix(7), and other users could not get at it.
	d := &Daemon{Address: "unix:abstract=nm-cloud-seed-test-" + rand.Text(), t: t, file: filepath.Join(t.TempDir(), "bus.conf")}
	if err := os.WriteFile(d.file, fmt.Appendf(nil, configuration, d.Address), 0o600); err != nil {
		t.Fatal(err)
	}
	d.Start()
	t.Cleanup(d.Stop)
	return d
}

// Setenv makes this the system bus of the process.
func (d *Daemon) Setenv(t *testing.T) { t.Setenv("DBUS_SYSTEM_BUS_ADDRESS", d.Address) }

// Start starts the bus, again at the same address after a Stop.
func (d *Daemon) Start() {
	d.t.Helper()
	d.cmd = exec.Command(Program, "--nofork", "--nopidfile", "--nosyslog", "--print-address",
		"--config-file="+d.file)
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
