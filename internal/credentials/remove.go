package credentials

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"
)

// AuthorizedKeys is the file that cloud-init writes, relative to a home directory.
// sshd also looks at others, in which are only keys that somebody put there.
const AuthorizedKeys = sshDir + "/" + authorizedKeys

const (
	sshDir         = ".ssh"
	authorizedKeys = "authorized_keys"
)

// ErrNotApplied is that the keys whose presence allows removing others are not
// there.
var ErrNotApplied = errors.New("the new SSH keys are not in it yet, so that none was removed")

// Remove removes keys from the authorized_keys file in the home directory, where
// it must be its user who calls this, and gives those that were there. All other
// lines stay as they are, byte for byte. Unless one of present is in the file,
// which proves that cloud-init has applied the new keys, it is ErrNotApplied:
// nobody is locked out. What is there in the end is on disk.
//
// No link is followed below home.
func Remove(home string, remove, present Keys) (removed Keys, err error) {
	path := filepath.Join(home, AuthorizedKeys)
	dir, err := openDir(home)
	if errors.Is(err, unix.ENOENT) {
		return nil, fmt.Errorf("%s: %w", path, ErrNotApplied)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot open %s: %w", filepath.Dir(path), err)
	}
	defer func() { _ = unix.Close(dir) }()
	f := file{dir: dir, name: authorizedKeys}
	f.text, f.stat, err = readRegular(dir, f.name)
	if errors.Is(err, unix.ENOENT) {
		return nil, fmt.Errorf("%s: %w", path, ErrNotApplied)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot remove SSH keys from %s: %w", path, err)
	}
	if _, applied := without(f.text, present); len(applied) == 0 {
		return nil, fmt.Errorf("%s: %w", path, ErrNotApplied)
	}
	rest, removed := without(f.text, remove)
	if len(removed) > 0 {
		err = f.replace(rest)
	} else {
		err = unix.Syncfs(dir) // cloud-init does not
	}
	if err != nil {
		return nil, fmt.Errorf("cannot remove SSH keys from %s: %w", path, err)
	}
	return removed, nil
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
