package daemon

import (
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/nm-cloud-seed/nm-cloud-seed/internal/atomicfile"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/cloudinit"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/rootfs"
)

// failedFile has the modules that failed in an earlier boot of an instance. cloud-init
// runs most of them once per instance, also when they fail: at the next boot it has no
// error to show, and the VM still lacks its user.
const failedFile = "failed-modules.json"

const maxFailed = 64 << 10 // bytes

type failedModules struct {
	Instance string               `json:"instance-id"`
	Modules  map[string]time.Time `json:"modules"` // when each began, by its semaphore
}

// remember adds to an outcome what failed at an earlier boot and has not run again, and
// keeps what fails in this one.
func (d *Daemon) remember(o *cloudinit.Outcome) error {
	files := cloudinit.Files{Root: d.Root}
	record, err := d.readFailed()
	if err != nil {
		d.Log.WithError(err).Warn("it is not known which of cloud-init's modules failed at earlier boots")
	}
	now := failedModules{Instance: o.Instance, Modules: make(map[string]time.Time)}
	for _, module := range slices.Sorted(maps.Keys(record.Modules)) {
		at, err := files.Began(o.Instance, module)
		if err != nil {
			return err
		}
		if record.Instance != o.Instance || at.IsZero() || !at.Equal(record.Modules[module]) || slices.Contains(o.Modules, module) {
			continue // another instance's, or it ran again
		}
		now.Modules[module] = at
		o.Earlier = append(o.Earlier, "cloud-init's "+module+" failed at an earlier boot of this instance")
		o.State = cloudinit.OutcomeFailed
	}
	for _, module := range o.Modules {
		at, err := files.Began(o.Instance, module)
		if err != nil {
			return err
		}
		if !at.IsZero() { // else it runs at each boot
			now.Modules[module] = at
		}
	}
	return d.writeFailed(now)
}

// forgetFailure removes the module of an instance that sets passwords, which is known to
// have done its part although it failed. A record that cannot be read stays: remember
// replaces it.
func (d *Daemon) forgetFailure(instance string) error {
	record, err := d.readFailed()
	if _, failed := record.Modules[passwordModule]; err != nil || !failed || record.Instance != instance {
		return nil
	}
	delete(record.Modules, passwordModule)
	return d.writeFailed(record)
}

// readFailed returns the zero value where nothing is on record.
func (d *Daemon) readFailed() (record failedModules, err error) {
	data, err := rootfs.Read(os.DirFS(filepath.Join(d.Root, stateDir)), failedFile, maxFailed)
	if errors.Is(err, fs.ErrNotExist) {
		return record, nil
	}
	if err == nil {
		err = json.Unmarshal(data, &record)
	}
	return record, err
}

func (d *Daemon) writeFailed(record failedModules) error {
	path := filepath.Join(d.Root, stateDir, failedFile)
	if len(record.Modules) == 0 {
		return atomicfile.Remove(path)
	}
	data, err := json.MarshalIndent(record, "", "  ")
	if err != nil {
		return err
	}
	return atomicfile.WriteFile(path, append(data, '\n'), 0o600)
}
