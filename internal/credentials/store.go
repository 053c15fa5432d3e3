// Package credentials remembers which password and SSH keys of CloudStack's were
// applied last, and removes SSH keys that others have replaced: cloud-init only
// ever adds them.
//
// Passwords and key material never reach a log or an error.
package credentials

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/nm-cloud-seed/nm-cloud-seed/internal/atomicfile"
)

// DefaultDir is where the package has the directory of the [Store].
const DefaultDir = "/var/lib/nm-cloud-seed"

// Store is the record of what was applied last, in a directory that only root
// can enter. There is a file for each kind: two processes never write the same.
//
// Each file is bound to an instance: on a disk that has become another VM, it
// counts as none.
type Store struct {
	Dir string
}

const (
	passwordFile = "password.json"
	keysFile     = "ssh-keys.json"
)

// read reads a JSON file into value. That it does not exist is no error.
func read(path string, value any) (found bool, err error) {
	data, _, err := readRegular(unix.AT_FDCWD, path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("cannot read %s: %w", path, err)
	}
	if json.Unmarshal(data, value) != nil { // whose error may quote
		return false, fmt.Errorf("cannot read %s: it is damaged (it may be removed)", path)
	}
	return true, nil
}

// write writes value as a JSON file that only its owner can read.
func write(path string, value any) error {
	data, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("cannot write %s: %w", path, err)
	}
	if err := atomicfile.PrivateDir(filepath.Dir(path)); err != nil {
		return err
	}
	return atomicfile.WriteFile(path, append(data, '\n'), 0o600)
}

// Forget removes all records but those of an instance. In the place of a record of a
// password that cannot be read it leaves one for this instance that says so: it is not
// known whether a password that is served was applied. It does not where the instance
// is new, as none was applied then.
func (s Store) Forget(instance string, isNew bool) error {
	var all error
	for _, name := range []string{passwordFile, keysFile} {
		var r struct {
			Instance string `json:"instance-id"`
		}
		path := filepath.Join(s.Dir, name)
		found, err := read(path, &r)
		damaged := err != nil || found && r.Instance == ""
		switch {
		case damaged && name == passwordFile && !isNew:
			all = errors.Join(all, s.markDamaged(instance))
		case damaged, found && r.Instance != instance:
			all = errors.Join(all, atomicfile.Remove(path))
		}
	}
	return all
}

// markDamaged replaces whatever stands in the place of the record of the password. At
// no moment there is none, which would be that of an instance without a password.
func (s Store) markDamaged(instance string) error {
	path := filepath.Join(s.Dir, passwordFile)
	if info, err := os.Lstat(path); err == nil && info.IsDir() { // nobody but root made that
		if err := atomicfile.Remove(path); err != nil {
			return err
		}
	}
	if err := atomicfile.Tidy(path); err != nil { // may hold as much of another instance
		return err
	}
	return s.write(passwordRecord{Instance: instance, Damaged: true})
}

type keysRecord struct {
	Instance   string `json:"instance-id"`
	Keys       Keys   `json:"keys"`
	HandedOver Keys   `json:"handed-over,omitempty"`
	First      bool   `json:"first,omitempty"` // none has been applied before HandedOver
}

// Keys gives the SSH keys that were applied last. known is false if that is not
// on record for this instance. handedOver were handed to cloud-init since, and may
// or may not have been applied; also where it is not known what was applied.
func (s Store) Keys(instance string) (keys, handedOver Keys, known bool, err error) {
	var r keysRecord
	found, err := read(filepath.Join(s.Dir, keysFile), &r)
	if !found || instance == "" || r.Instance != instance {
		return nil, nil, false, err
	}
	return r.Keys, r.HandedOver, !r.First, nil
}

// RecordKeys remembers the SSH keys that have been applied, and those that are
// about to be.
func (s Store) RecordKeys(instance string, keys, handedOver Keys) error {
	return write(filepath.Join(s.Dir, keysFile), keysRecord{Instance: instance, Keys: keys, HandedOver: handedOver})
}

// RecordFirstKeys remembers the SSH keys that cloud-init is about to apply at an
// instance's first boot.
func (s Store) RecordFirstKeys(instance string, handedOver Keys) error {
	return write(filepath.Join(s.Dir, keysFile), keysRecord{Instance: instance, HandedOver: handedOver, First: true})
}
