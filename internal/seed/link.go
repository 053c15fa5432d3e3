package seed

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/nm-cloud-seed/nm-cloud-seed/internal/atomicfile"
)

// keptSuffix is added to the name of what stood at Link before us.
const keptSuffix = ".before-nm-cloud-seed"

// maxKept bounds how many such names are tried.
const maxKept = 1000

// place makes link a symlink to target. If it already is, nothing is touched;
// something foreign there gets another name, which is returned.
func place(target, link string) (kept string, err error) {
	got, err := os.Readlink(link)
	switch {
	case err == nil && got == target:
		return "", nil
	case errors.Is(err, fs.ErrNotExist):
		// symlink(2) is atomic and fails if something appeared meanwhile.
		if err := os.Symlink(target, link); err != nil {
			return "", atomicfile.Error("link", link, err)
		}
		return "", atomicfile.SyncDir(filepath.Dir(link))
	}
	kept, err = setAside(target, link)
	if err != nil {
		return "", fmt.Errorf("cannot keep what stands at %s aside: %w (move it away by hand)", link, err)
	}
	return kept, atomicfile.SyncDir(filepath.Dir(link))
}

// setAside puts a symlink to target at link, and what stood there under
// another name.
//
// The new link is first made under that other name, and the two names are then
// exchanged in one step, so that there is never a moment without a seed.
func setAside(target, link string) (kept string, err error) {
	kept, err = standIn(target, link+keptSuffix)
	if err != nil {
		return "", err
	}
	err = unix.Renameat2(unix.AT_FDCWD, link, unix.AT_FDCWD, kept, unix.RENAME_EXCHANGE)
	if err == nil {
		return kept, nil
	}
	// Some file systems (NFS, old overlayfs) have no exchange: two steps then.
	if err := os.Remove(kept); err != nil {
		return "", err
	}
	return kept, setAsideInSteps(target, link, kept)
}

// setAsideInSteps is for file systems without RENAME_EXCHANGE. A kill between
// the two steps leaves no link; the next Write makes it.
func setAsideInSteps(target, link, kept string) error {
	if err := os.Rename(link, kept); err != nil {
		return err
	}
	err := os.Symlink(target, link)
	if err != nil {
		_ = os.Rename(kept, link)
	}
	return err
}

// standIn makes a symlink to target under the first free name: base, base.1 …
// A run that was killed before the exchange left exactly such a link, which is
// taken over.
func standIn(target, base string) (string, error) {
	name := base
	for i := 1; i <= maxKept; i++ {
		err := os.Symlink(target, name)
		if err == nil {
			return name, nil
		}
		if !errors.Is(err, fs.ErrExist) {
			return "", atomicfile.Error("link", name, err)
		}
		if got, err := os.Readlink(name); err == nil && got == target {
			return name, nil
		}
		name = base + "." + strconv.Itoa(i)
	}
	return "", fmt.Errorf("%d names like %s are taken already", maxKept, base)
}
