// Package seed lays an instance's metadata where cloud-init's CloudStack
// datasource looks before it searches a network: /var/lib/cloud/seed/cs.
//
//	/var/lib/cloud/seed/cs ─▶ /run/nm-cloud-seed/seed ─▶ seed.d/<generation>/{meta-data,user-data}
//
// The seed itself lives in /run because since cloud-init 25.2 the local stage
// reads it before anything can refresh it: on disk, a VM cloned from a snapshot
// would take the old VM's identity. A dangling link counts as "no seed".
package seed

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/nm-cloud-seed/nm-cloud-seed/datasource"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/atomicfile"
)

// The directories of the running system.
const (
	DefaultDir  = "/run/nm-cloud-seed"
	DefaultLink = "/var/lib/cloud/seed/cs"
)

// The files of a seed. cloud-init takes a seed only if both exist; an empty
// user-data is fine.
const (
	metaDataFile = "meta-data"
	userDataFile = "user-data"
)

// Store is where the seed of this boot lives. Both paths are absolute.
type Store struct {
	Dir  string // the runtime directory, 0755
	Link string // the symlink that cloud-init reads
}

func (s Store) current() string     { return filepath.Join(s.Dir, "seed") }
func (s Store) generations() string { return filepath.Join(s.Dir, "seed.d") }

// Write makes inst the seed that cloud-init finds. The change is one rename:
// whoever looks, and whatever is killed, there is the old seed or the new one.
//
// Something foreign at Link (a directory, a file, another link) is renamed to
// Link + ".before-nm-cloud-seed" (".1", ".2" …), and kept says to what; it is
// empty otherwise. After an error, cloud-init sees what it saw before, unless
// the error says "cannot sync": then the new seed may not survive a power cut.
func (s Store) Write(inst *datasource.Instance) (kept string, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("cannot write the seed: %w", err)
		}
	}()
	if err := atomicfile.MkdirAll(s.Dir, 0o755); err != nil {
		return "", err
	}
	if err := atomicfile.PrivateDir(s.generations()); err != nil {
		return "", err
	}
	unlock, err := lock(s.generations())
	if err != nil {
		return "", err
	}
	defer unlock()
	// Also after an error: then the generation that failed is what goes.
	defer s.prune()

	// Before anything changes: most of what can be wrong with Link shows here.
	if err := atomicfile.MkdirAll(filepath.Dir(s.Link), 0o755); err != nil {
		return "", err
	}
	name, err := s.generation(inst)
	if err != nil {
		return "", err
	}
	// Relative, so that it also holds where /run is mounted elsewhere.
	target := filepath.Join(filepath.Base(s.generations()), name)
	if err := atomicfile.Symlink(target, s.current()); err != nil {
		return "", err
	}
	return place(s.current(), s.Link)
}

// Exists reports whether there is a whole seed of ours where cloud-init looks. In /run,
// it is of this boot.
func (s Store) Exists() bool {
	if target, err := os.Readlink(s.Link); err != nil || target != s.current() {
		return false
	}
	_, err := os.Stat(filepath.Join(s.current(), metaDataFile))
	return err == nil
}

// generation writes inst to a new directory, on disk when it returns.
func (s Store) generation(inst *datasource.Instance) (name string, err error) {
	dir, err := os.MkdirTemp(s.generations(), "")
	if err != nil {
		return "", atomicfile.Error("create a directory in", s.generations(), err)
	}
	if err := atomicfile.PrivateDir(dir); err != nil {
		return "", err
	}
	if err := writeFiles(dir, inst); err != nil {
		return "", err
	}
	return filepath.Base(dir), atomicfile.SyncDir(s.generations())
}

// prune removes every generation but the current one, and what killed runs
// left. Its errors are dropped: the seed is good, and the next Write tries
// again.
func (s Store) prune() {
	_ = atomicfile.Tidy(s.current())
	target, err := os.Readlink(s.current())
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.EINVAL) {
		return // unknown which one is in use; EINVAL: no symlink, so none is
	}
	entries, err := os.ReadDir(s.generations())
	if err != nil {
		return
	}
	for _, e := range entries {
		if e.Name() != filepath.Base(target) {
			_ = os.RemoveAll(filepath.Join(s.generations(), e.Name()))
		}
	}
}

// lock keeps two runs (the service and a refresh) from pruning each other's
// unfinished generation. The kernel drops it when the process ends, and it is
// held for some milliseconds only, so waiting needs no deadline.
func lock(dir string) (unlock func(), err error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("cannot lock %s: %w", dir, err)
	}
	for {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("cannot lock %s: %w", dir, err)
	}
	return func() { _ = f.Close() }, nil
}

// WriteDir writes inst as two plain files, meta-data and user-data (0600), into
// a directory of the user's choice, which is created with mode 0700 if missing.
// Each file is replaced atomically, the two together are not.
func WriteDir(dir string, inst *datasource.Instance) error {
	err := atomicfile.MkdirAll(dir, 0o700)
	if err == nil {
		err = writeFiles(dir, inst)
	}
	if err != nil {
		return fmt.Errorf("cannot write the instance to %s: %w", dir, err)
	}
	return nil
}

// writeFiles writes meta-data last: its presence makes a seed.
func writeFiles(dir string, inst *datasource.Instance) error {
	if err := atomicfile.WriteFile(filepath.Join(dir, userDataFile), inst.UserData, 0o600); err != nil {
		return err
	}
	return atomicfile.WriteFile(filepath.Join(dir, metaDataFile), MetaData(inst), 0o600)
}
