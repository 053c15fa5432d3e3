package cloudinit

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/nm-cloud-seed/nm-cloud-seed/internal/rootfs"
)

// instancesDir has a directory for each instance that this system has been; in its
// sem are cloud-init's semaphores, a file for each module that has begun
// (FileSemaphores in cloudinit/helpers.py). It stays when the module fails.
const (
	instancesDir = "var/lib/cloud/instances"
	maxSemaphore = 1024 // files
)

// noInstance is the instance-id of a system that is none (DataSourceNone.py).
const noInstance = "iid-datasource-none"

// HadInstance says whether this system has been an instance, in this boot or any
// before it.
func (f Files) HadInstance() (bool, error) {
	entries, err := os.ReadDir(filepath.Join(f.Root, "/", instancesDir))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("cannot tell which instances this system has been: %w", err)
	}
	return slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() != noInstance }), nil
}

// WasInstance reports whether this system has been this instance, in this boot or any
// before it. If that cannot be told, it has.
func (f Files) WasInstance(instance string) bool {
	name, err := inInstance(instance, "sem")
	if err != nil {
		return true
	}
	_, err = os.Lstat(filepath.Join(f.Root, "/", instancesDir, filepath.Dir(name)))
	return !errors.Is(err, fs.ErrNotExist)
}

// HasRun says whether a module has begun for this instance: then it does not run
// again, unless it does so in each boot.
func (f Files) HasRun(instance, module string) (bool, error) {
	found := false
	err := f.semaphores(instance, module, func(*os.Root, string) error {
		found = true
		return nil
	})
	return found, err
}

// Began returns when a module has begun for this instance; zero if it has not, or if it runs
// in each boot.
func (f Files) Began(instance, module string) (at time.Time, err error) {
	err = f.semaphores(instance, module, func(dir *os.Root, name string) error {
		info, err := dir.Lstat(name)
		if err == nil && info.ModTime().After(at) {
			at = info.ModTime()
		}
		return err
	})
	return at, err
}

// Rerun lets a module run again in this boot. It is no error if it has not run.
func (f Files) Rerun(instance, module string) error {
	return f.semaphores(instance, module, func(dir *os.Root, name string) error {
		if err := dir.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("cannot have cloud-init run %s again: %w", module, err)
		}
		return nil
	})
}

// semaphores does something with each semaphore of a module. Their names depend on
// how the configuration spells the module's.
func (f Files) semaphores(instance, module string, do func(dir *os.Root, name string) error) error {
	sem, err := inInstance(instance, "sem")
	if err != nil {
		return err
	}
	dir, err := os.OpenRoot(filepath.Join(f.Root, "/", instancesDir)) // links do not lead out of it
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot look at cloud-init's semaphores: %w", err)
	}
	defer func() { _ = dir.Close() }()
	entries, err := rootfs.List(dir.FS(), sem, maxSemaphore)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot look at cloud-init's semaphores in /%s/%s: %s", instancesDir, sem, rootfs.Reason(err))
	}
	for _, e := range entries {
		// Once, cloud-init wrote "config-set-passwords".
		name, ok := strings.CutPrefix(strings.ReplaceAll(e.Name(), "-", "_"), "config_")
		if !ok || canonical(name) != canonical(module) {
			continue
		}
		if err := do(dir, sem+"/"+e.Name()); err != nil {
			return err
		}
	}
	return nil
}

// inInstance is the path of a file in an instance's directory.
func inInstance(instance, file string) (string, error) {
	if name := instance + "/" + file; fs.ValidPath(name) && strings.Count(name, "/") == 1 {
		return name, nil
	}
	return "", errors.New("cannot look at cloud-init's files: the instance-id is no file name")
}
