package lab

import (
	"context"
	"fmt"
	"os"
	"syscall"

	"github.com/godbus/dbus/v5"
)

// busConfig lets everybody in the lab do everything on its bus.
const busConfig = `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>` + busAddress + `</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <allow own="*"/>
    <allow send_type="method_call"/>
    <allow send_type="signal"/>
    <allow send_requested_reply="true" send_type="method_return"/>
    <allow send_requested_reply="true" send_type="error"/>
    <allow receive_type="method_call"/>
    <allow receive_type="method_return"/>
    <allow receive_type="error"/>
    <allow receive_type="signal"/>
    <allow send_destination="*" eavesdrop="false"/>
  </policy>
</busconfig>
`

const busLog = "dbus-daemon.log"

// startBus starts the lab's system bus. connectBus waits for it.
func (l *Lab) startBus() error {
	const config = labDir + "/bus.conf"
	if err := os.WriteFile(config, []byte(busConfig), 0o644); err != nil {
		return fmt.Errorf("cannot configure the bus: %w", err)
	}
	log, err := l.logFile(busLog)
	if err != nil {
		return err
	}
	defer log.Close()
	l.bus, err = start("dbus-daemon", command(context.Background(), "dbus-daemon",
		"--config-file="+config, "--nofork", "--nopidfile", "--nosyslog"), log)
	return err
}

func (l *Lab) connectBus() error {
	err := await("the bus", l.bus, func() (bool, error) {
		conn, err := dbus.Connect(busAddress)
		l.conn = conn
		return err == nil, nil
	})
	if err != nil {
		return explainStart(err, l.readLog(busLog))
	}
	return nil
}

// RestartBus kills the bus, which takes all connections with it, and starts
// another one at the same address.
func (l *Lab) RestartBus() error {
	l.nmMu.Lock() // nobody asks the bus meanwhile
	defer l.nmMu.Unlock()
	l.bus.stop(syscall.SIGKILL)
	l.conn.Close()
	if err := l.startBus(); err != nil {
		return err
	}
	return l.connectBus()
}

// hasOwner says whether somebody has a name on the bus.
func (l *Lab) hasOwner(name string) (owned bool, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), setupLimit)
	defer cancel()
	if err = l.conn.BusObject().CallWithContext(ctx, "org.freedesktop.DBus.NameHasOwner", 0, name).Store(&owned); err != nil {
		return false, fmt.Errorf("cannot ask the bus for %s: %w", name, err)
	}
	return owned, nil
}
