package credentials

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// file is a file as it was read, in a directory that is held open: whatever
// becomes of the path meanwhile, this is the directory that is written in.
type file struct {
	dir  int
	name string
	text []byte
	stat unix.Stat_t
}

var (
	errOwner   = errors.New("it belongs to another user or group, which would be lost")
	errChanged = errors.New("it was changed meanwhile")
)

// replace replaces the file by one with this text and the same mode. What a kill
// or a power cut leaves is the old file or the new one, whole.
func (f file) replace(text []byte) (err error) {
	// One name, not a random one: what a killed run left is cleared away.
	temp := "." + f.name + ".nm-cloud-seed"
	if err := unix.Unlinkat(f.dir, temp, 0); err != nil && !errors.Is(err, unix.ENOENT) {
		return err
	}
	fd, err := unix.Openat(f.dir, temp, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	w := os.NewFile(uintptr(fd), temp)
	defer w.Close()
	defer func() {
		if err != nil {
			_ = unix.Unlinkat(f.dir, temp, 0)
		}
	}()
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return err
	}
	if stat.Uid != f.stat.Uid || stat.Gid != f.stat.Gid {
		return errOwner
	}
	if _, err := w.Write(text); err != nil {
		return err
	}
	if err := unix.Fchmod(fd, f.stat.Mode&0o777); err != nil {
		return err
	}
	if err := w.Sync(); err != nil {
		return err
	}
	if err := f.unchanged(); err != nil {
		return err
	}
	if err := unix.Renameat(f.dir, temp, f.dir, f.name); err != nil {
		return err
	}
	return unix.Fsync(f.dir)
}

// unchanged says whether the file is still as it was read: another program may
// have added a key, such as a script of user-data that runs at every boot.
func (f file) unchanged() error {
	var now unix.Stat_t
	if err := unix.Fstatat(f.dir, f.name, &now, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	if now.Dev != f.stat.Dev || now.Ino != f.stat.Ino || now.Size != f.stat.Size ||
		now.Mtim != f.stat.Mtim || now.Ctim != f.stat.Ctim {
		return errChanged
	}
	return nil
}
