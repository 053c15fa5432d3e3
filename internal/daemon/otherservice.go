package daemon

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/nm-cloud-seed/nm-cloud-seed/internal/cloudinit"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/lease"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/netservice"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/rootfs"
)

// Where another network service than NetworkManager runs the wired devices, cloud-init
// finds the virtual router by that service's lease, as it does without us.

// begunPath exists once a step of ours has run in this boot, the first of them before
// cloud-init's local stage.
const begunPath = RunDir + "/private"

// inOrder reports whether the boot of the system below root has us in its order.
func inOrder(root string) bool {
	_, err := os.Lstat(filepath.Join(root, "/", begunPath))
	return err == nil
}

// OtherService returns why the system below root needs nothing of us as systemd-networkd
// runs its wired devices, empty if that is not certain. It reads files only, and is also
// for when no service has started yet.
func OtherService(root string) (reason string) {
	fsys, done, err := rootfs.Open(root)
	if err != nil {
		return ""
	}
	defer done()
	service, reason := netservice.Files{FS: fsys}.Ethernet()
	if service != netservice.Networkd {
		return ""
	}
	return reason
}

// OtherServiceRuns returns why the system below root needs nothing of us as other services
// than NetworkManager run all wired devices now, empty if that is not certain. It is for
// when the services have started, also where NetworkManager cannot be asked.
func OtherServiceRuns(root string) (reason string) {
	if reason := OtherService(root); reason != "" {
		return reason
	}
	if text, all := others(root); all {
		return text
	}
	return ""
}

// others returns in words which wired devices belong to other services than
// NetworkManager, empty if none does, and whether these are all.
func others(root string) (text string, all bool) {
	fsys, done, err := rootfs.Open(root)
	if err != nil {
		return "", false
	}
	defer done()
	devices, all := netservice.Files{FS: fsys}.Others()
	var words []string
	for _, service := range slices.Sorted(maps.Keys(devices)) {
		words = append(words, belong(devices[service], service))
	}
	return strings.Join(words, ", "), all
}

// otherService is the end of a job as another service than NetworkManager runs the
// wired devices.
type otherService struct{ reason string }

func (o *otherService) Error() string { return o.reason }

func isOtherService(err error) bool {
	var other *otherService
	return errors.As(err, &other)
}

func belong(devices []string, service netservice.Service) string {
	if len(devices) == 1 {
		return fmt.Sprintf("%s belongs to %s", devices[0], service)
	}
	return fmt.Sprintf("%s belong to %s", strings.Join(devices, " and "), service)
}

// checkUnmanaged ends a job once NetworkManager has started and manages no wired device:
// no lease will come. The error is an otherService if another service runs one of them.
func (d *Daemon) checkUnmanaged(v lease.View) error {
	if len(v.Unmanaged) == 0 {
		return nil
	}
	fsys, done, err := rootfs.Open(d.Root)
	if err != nil {
		return nil //nolint:nilerr // nothing is known: it goes on until the deadline
	}
	defer done()
	files := netservice.Files{FS: fsys}
	var reasons []string
	advice := "'nm-cloud-seed doctor' names the setting"
	for _, device := range v.Unmanaged {
		if service := files.InCharge(device); service != netservice.Unknown {
			reasons = append(reasons, belong([]string{device}, service))
		} else if file := files.Stanza(device); file != "" && !files.ManagesIfupdown() {
			advice = fmt.Sprintf("ifupdown is not installed: remove %s from /%s, or write managed=true below [ifupdown] in /etc/NetworkManager/NetworkManager.conf", device, file)
		}
	}
	if len(reasons) > 0 {
		return &otherService{strings.Join(reasons, ", ")}
	}
	return fmt.Errorf("cannot get a lease: NetworkManager does not manage %s, and no other network service runs it (%s)", strings.Join(v.Unmanaged, ", "), advice)
}

// endSearch keeps cloud-init from searching for the virtual router after a run that failed. If
// another service runs one of the wired devices, cloud-init does search: it may find the
// virtual router by the lease of that service.
func (d *Daemon) endSearch() {
	text, _ := others(d.Root)
	if text == "" {
		if err := cloudinit.NoSearch(filepath.Join(d.Root, RunDir)); err != nil {
			d.Log.WithError(err).Warn("cloud-init will search for the virtual router, too")
		}
		return
	}
	d.Log.Info("cloud-init looks for the virtual router itself: " + text)
	d.takeNoSearchBack()
}

func (d *Daemon) takeNoSearchBack() {
	if err := cloudinit.TakeBack(filepath.Join(d.Root, RunDir)); err != nil {
		d.Log.WithError(err).Warn("cloud-init will not look for the virtual router itself")
	}
}

// idle ends a run that has nothing to do. cloud-init's network stage, which waits for
// it, then looks for the virtual router itself.
func (d *Daemon) idle(reason string) error {
	d.Log.Info("nothing to do: " + reason)
	d.takeNoSearchBack()
	d.say(Idle, "nothing to do: "+reason)
	d.satisfied()
	d.Notify("READY=1")
	return nil
}
