package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	systemd "github.com/coreos/go-systemd/v22/dbus"

	"github.com/nm-cloud-seed/nm-cloud-seed/internal/rootfs"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/timeline"
)

// systemdTimes asks systemd for its timestamps (org.freedesktop.systemd1(5)).
type systemdTimes struct{ conn *systemd.Conn }

// newSystemdTimes connects to systemd: root by its own socket, which is there without a
// bus, others by the bus. The connection ends with the context.
func newSystemdTimes(ctx context.Context) (*systemdTimes, error) {
	connect := systemd.NewSystemConnectionContext
	if os.Geteuid() == 0 {
		connect = systemd.NewSystemdConnectionContext
	}
	conn, err := connect(ctx)
	if err != nil {
		return nil, fmt.Errorf("cannot reach systemd: %w", err)
	}
	return &systemdTimes{conn}, nil
}

func (s *systemdTimes) close() { s.conn.Close() }

// Boot has the times of the system. In a container, systemd has none of the kernel.
func (s *systemdTimes) Boot(context.Context) (b timeline.Boot, err error) {
	var kernel time.Duration
	for name, to := range map[string]*time.Duration{
		"KernelTimestamp":                   &kernel, // the other clock's: on this one it is 0
		"InitRDTimestampMonotonic":          &b.InitRD,
		"UserspaceTimestampMonotonic":       &b.Userspace,
		"UnitsLoadFinishTimestampMonotonic": &b.Loaded,
		"FinishTimestampMonotonic":          &b.Finish,
	} {
		text, err := s.conn.GetManagerProperty(name) // such as "@t 12345"
		if err != nil {
			return b, fmt.Errorf("cannot get systemd's %s: %w", name, err)
		}
		usec, err := strconv.ParseUint(strings.TrimPrefix(text, "@t "), 10, 64)
		if err != nil {
			return b, fmt.Errorf("cannot read systemd's %s: %w", name, err)
		}
		*to = timestamp(usec)
	}
	b.Kernel = kernel > 0
	return b, nil
}

// Unit has the times of a unit, which need not exist.
func (s *systemdTimes) Unit(ctx context.Context, name string) (u timeline.Unit, err error) {
	properties, err := s.conn.GetUnitPropertiesContext(ctx, name)
	if err != nil {
		return u, err
	}
	u.ID, _ = properties["Id"].(string)
	for name, to := range map[string]*time.Duration{
		"InactiveExitTimestampMonotonic":  &u.InactiveExit,
		"ActiveEnterTimestampMonotonic":   &u.ActiveEnter,
		"ActiveExitTimestampMonotonic":    &u.ActiveExit,
		"InactiveEnterTimestampMonotonic": &u.InactiveEnter,
	} {
		usec, _ := properties[name].(uint64)
		*to = timestamp(usec)
	}
	return u, nil
}

// timestamp is one of systemd's, in microseconds. Far from an overflow.
func timestamp(usec uint64) time.Duration {
	return time.Duration(min(usec, 1<<53)) * time.Microsecond
}

// booted is sd_booted(3).
func booted() bool {
	info, err := os.Lstat("/run/systemd/system")
	return err == nil && info.IsDir()
}

// osName is the distribution's name (os-release(5)), "" if there is none.
func osName() string {
	data, _ := rootfs.Read(os.DirFS("/"), "etc/os-release", 1<<16)
	for line := range strings.Lines(string(data)) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "PRETTY_NAME="); ok {
			return strings.Trim(name, `"'`)
		}
	}
	return ""
}
