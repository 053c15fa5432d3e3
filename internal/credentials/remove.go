package credentials

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"
)

// sshd's default AuthorizedKeysFile; cloud-init writes the first.
var authorizedKeys = []string{"authorized_keys", "authorized_keys2"}

const (
	sshDir            = ".ssh"
	maxAuthorizedKeys = 1 << 20
)

// ErrNotApplied is that the keys whose presence allows removing others are not
// there.
var ErrNotApplied = errors.New("the new SSH keys are not in it yet, so that none was removed")

// Removed are the keys that were removed from a file.
type Removed struct {
	File string `json:"file"`
	Keys Keys   `json:"keys"`
}

// Remove removes keys from the authorized_keys files in the home directory, where
// it must be its user who calls this. All other lines stay as they are, byte for
// byte. Unless one of present is in one of the files, which proves that
// cloud-init has applied the new keys, nothing is removed: nobody is locked out.
//
// No link is followed below home. It is no error if there are no such files.
func Remove(home string, remove, present Keys) ([]Removed, error) {
	dir, err := openDir(home)
	if errors.Is(err, unix.ENOENT) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot open %s: %w", filepath.Join(home, sshDir), err)
	}
	defer func() { _ = unix.Close(dir) }()
	var (
		files   []file
		failed  error
		applied bool
	)
	for _, name := range authorizedKeys {
		f := file{dir: dir, name: name, path: filepath.Join(home, sshDir, name)}
		f.text, f.stat, err = readRegular(dir, name, maxAuthorizedKeys)
		if errors.Is(err, unix.ENOENT) {
			continue
		}
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("cannot remove SSH keys from %s: %w", f.path, err))
			continue
		}
		_, found := without(f.text, present)
		applied = applied || len(found) > 0
		files = append(files, f)
	}
	if len(files) > 0 && !applied {
		return nil, errors.Join(failed, fmt.Errorf("%s: %w", files[0].path, ErrNotApplied))
	}
	var done []Removed
	for _, f := range files {
		rest, found := without(f.text, remove)
		if len(found) == 0 {
			continue
		}
		if err := f.replace(rest); err != nil {
			failed = errors.Join(failed, fmt.Errorf("cannot remove SSH keys from %s: %w", f.path, err))
			continue
		}
		done = append(done, Removed{f.path, found})
	}
	return done, failed
}

// openDir opens .ssh, which may not be a link; the home directory may.
func openDir(home string) (int, error) {
	base, err := unix.Open(home, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	defer func() { _ = unix.Close(base) }()
	dir, err := unix.Openat(base, sshDir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOTDIR) {
		err = fmt.Errorf("%w, or a symbolic link", err)
	}
	return dir, err
}

// without gives text without the lines that have one of these keys, and which
// there were.
func without(text []byte, keys Keys) (rest []byte, found Keys) {
	for line := range bytes.Lines(text) {
		key, ok := keyOf(string(line))
		switch {
		case !ok || !keys.Contains(key):
			rest = append(rest, line...)
		case !slices.Contains(found, key):
			found = append(found, key)
		}
	}
	return rest, found
}
