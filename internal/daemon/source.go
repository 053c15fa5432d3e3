package daemon

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"time"

	"github.com/nm-cloud-seed/nm-cloud-seed/datasource"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/atomicfile"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/cloudinit"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/credentials"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/lastboot"
)

// stateDir is what we know from one boot to the next: the data of the last one, and
// which credentials were applied.
const stateDir = credentials.DefaultDir

// Sources of the seed, in the state.
const (
	VirtualRouter = "virtual router"
	LastBoot      = "copy of the last boot"
)

// source is where the data for the seed came from.
type source struct {
	lastboot.Copy
	silent error // why the copy is what there is; nil: it is from the virtual router
}

func (s *source) name() string {
	if s.silent != nil {
		return LastBoot
	}
	return VirtualRouter
}

func fromVR(inst *datasource.Instance) *source {
	return &source{Copy: lastboot.Copy{Fetched: time.Now(), Instance: inst}}
}

// inState is what the state says of it: nothing secret.
func (s *source) inState() *Instance {
	inst, from := s.Instance, s.Instance.Origin
	return &Instance{
		ID: inst.ID, Source: s.name(), Fetched: s.Fetched, Server: from.Server, Role: from.Role, Device: from.Device,
		Default: from.Router.IsValid(), DHCP: from.DHCP,
		Keys: len(inst.Metadata), UserData: len(inst.UserData), Seed: SeedLink, Warnings: inst.Warnings,
	}
}

// fromLastBoot is the copy, where the virtual router has not answered. It says so
// where an operator looks. Without one, the error is what to say.
func (d *Daemon) fromLastBoot(silent error) (*source, error) {
	last := d.lastBoot()
	if last == nil {
		if d.forgetOther() {
			silent = fmt.Errorf("%w; this disk was another machine's, and what was known of that one is removed (%s)", silent, stateDir)
		}
		return nil, silent
	}
	text := fmt.Sprintf("going on with the data of the last boot, fetched at %s: %v", last.Fetched.UTC().Format(time.DateTime+" MST"), silent)
	d.Log.Warn(text)
	d.proclaim(text)
	return &source{Copy: *last, silent: silent}, nil
}

// lastBoot is the copy, if there is one and it is this machine's.
func (d *Daemon) lastBoot() *lastboot.Copy {
	last, err := lastboot.Load(filepath.Join(d.Root, stateDir))
	if err != nil || last.Machine.Is(d.Root) != lastboot.Yes {
		return nil
	}
	return last
}

// forgetOther forgets all that we know on a disk that has become another machine's:
// here where the virtual router does not say which instance it is, otherwise see
// forgetAllBut.
func (d *Daemon) forgetOther() bool {
	dir := filepath.Join(d.Root, stateDir)
	last, err := lastboot.Load(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return false
	}
	if err != nil {
		d.Log.Warn(err)
		return false
	}
	if last.Machine.Is(d.Root) != lastboot.No {
		d.Log.Warn("the data of the last boot cannot be used: it is not known whether this is the same machine")
		return false
	}
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		err = errors.Join(err, os.RemoveAll(filepath.Join(dir, e.Name())))
	}
	if err != nil {
		d.Log.WithError(err).Warn("cannot forget the other machine")
	}
	return true
}

// forgetAllBut forgets what was another instance's than this one. What is this one's
// stays, also where a NIC or a hypervisor was replaced.
func (d *Daemon) forgetAllBut(instance string) {
	dir := filepath.Join(d.Root, stateDir)
	isNew := !(cloudinit.Files{Root: d.Root}).WasInstance(instance)
	if err := (credentials.Store{Dir: dir}).Forget(instance, isNew); err != nil {
		d.Log.Warn(err)
	}
	last, err := lastboot.Load(dir) // of whatever machine
	switch {
	case err == nil && last.Instance.ID == instance, errors.Is(err, fs.ErrNotExist):
		return
	case err == nil:
		d.Log.Warnf("this disk was instance %s before: what was known of that one is removed (%s)", last.Instance.ID, stateDir)
	}
	if err := atomicfile.Remove(filepath.Join(dir, lastboot.File)); err != nil {
		d.Log.Warn(err)
	}
}

// keep keeps the data for the next boot.
func (d *Daemon) keep(from *source) {
	dir := filepath.Join(d.Root, stateDir)
	from.Machine = lastboot.This(d.Root, from.Instance.Origin.Device)
	if from.Machine == (lastboot.Machine{}) {
		d.Log.Warn("the data is not kept for the next boot, as nothing tells this machine from a copy of it: no product UUID, no MAC address")
		return
	}
	next := from.Copy
	next.Instance = d.withKeys(next.Instance)
	if err := lastboot.Save(dir, next); err != nil {
		d.Log.Warn(err)
	}
}

// withKeys is the instance with the SSH keys of the last boot, where it has none: a
// virtual router that was rebuilt may have none for a while.
func (d *Daemon) withKeys(inst *datasource.Instance) *datasource.Instance {
	const keys = "public-keys"
	last, err := lastboot.Load(filepath.Join(d.Root, stateDir))
	if err != nil || inst.Metadata[keys] != "" || last.Instance.Metadata[keys] == "" {
		return inst
	}
	with := *inst
	with.Metadata = maps.Clone(inst.Metadata)
	with.Metadata[keys] = last.Instance.Metadata[keys]
	return &with
}

// wantingPath exists while this boot has no data from the virtual router, whatever
// the reason: nm-cloud-seed-heal.service has it as its condition.
const wantingPath = RunDir + "/wanting"

func (d *Daemon) want() error {
	return atomicfile.WriteFile(filepath.Join(d.Root, wantingPath), nil, 0o644)
}

// Wants says whether the boot below root has no data from the virtual router: then
// nm-cloud-seed-heal.service waits for it, from when cloud-init is done.
func Wants(root string) bool {
	_, err := os.Lstat(filepath.Join(root, wantingPath))
	return err == nil
}

func (d *Daemon) satisfied() {
	if err := atomicfile.Remove(filepath.Join(d.Root, wantingPath)); err != nil {
		d.Log.Warn(err)
	}
}
