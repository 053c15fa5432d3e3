package doctor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	systemd "github.com/coreos/go-systemd/v22/dbus"

	"github.com/nm-cloud-seed/nm-cloud-seed/internal/cloudinit"
)

// unitsLimit bounds the question to systemd.
const unitsLimit = 5 * time.Second

// FailedUnits asks systemd which of some units have failed, and returns those that it
// knows of also beside an error. The units need not exist.
func FailedUnits(ctx context.Context, names []string) (failed []string, errs error) {
	ctx, cancel := context.WithTimeout(ctx, unitsLimit)
	defer cancel()
	connect := systemd.NewSystemConnectionContext
	if os.Geteuid() == 0 { // without a bus
		connect = systemd.NewSystemdConnectionContext
	}
	conn, err := connect(ctx)
	if err != nil {
		return nil, fmt.Errorf("cannot reach systemd: %w", err)
	}
	defer conn.Close()
	for _, name := range names {
		p, err := conn.GetUnitPropertyContext(ctx, name, "ActiveState")
		if err != nil {
			errs = errors.Join(errs, fmt.Errorf("cannot get the state of %s: %w", name, err))
			continue
		}
		if state, _ := p.Value.Value().(string); state == "failed" {
			failed = append(failed, name)
		}
	}
	return failed, errs
}

// failedStages looks for units of cloud-init's that have failed: they make the system
// degraded, also when the VM has its data.
func (m *machine) failedStages(ctx context.Context) Check {
	if m.world.FailedUnits == nil {
		return info("not looked at")
	}
	switch failed, err := m.world.FailedUnits(ctx, cloudinit.Units); {
	case err != nil:
		return info("not known: " + err.Error())
	case len(failed) > 0 && m.runFailed():
		return Check{State: Skipped, Detail: "these units failed for lack of data, see this-boot.service:"}.with(failed...)
	case len(failed) > 0 && m.new():
		return nextBoot("these units have failed: " + strings.Join(failed, ", "))
	case len(failed) > 0:
		names := strings.Join(failed, " ")
		return problem("these units have failed:", "systemctl status "+names+"; when the reason is gone, reboot, or: systemctl reset-failed "+names).with(failed...)
	}
	return ok("none has failed")
}
