package qemu

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
)

// MakeDisk makes an ext4 image of a directory, with owners, modes and extended
// attributes; nothing must be mounted below the directory that does not belong
// on the disk. The image is sparse and has no partitions.
func MakeDisk(ctx context.Context, rootDir, image string, sizeMB int) error {
	// It is not an error of mkfs.ext4 if there is no rootDir.
	if _, err := os.ReadDir(rootDir); err != nil {
		return fmt.Errorf("cannot make a disk: %w", err)
	}
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		return fmt.Errorf("cannot make a disk: %w", err)
	}
	err := os.Truncate(image, int64(sizeMB)<<20)
	if err == nil {
		// A new file is full of zeros already.
		_, err = run(ctx, "mkfs.ext4", "-q", "-F", "-E", "lazy_journal_init=1", "-d", rootDir, image)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("cannot make a disk: %w", err), os.Remove(image))
	}
	return nil
}

// Extract copies a file or a directory from an image into an existing
// directory, with owners and permissions, as far as debugfs can do that: not
// set-user-ID and the like, extended attributes or a link's owner. The image
// must not be in use. After a power cut, its journal is replayed first.
func Extract(ctx context.Context, image, guestPath, hostDir string) error {
	if _, err := run(ctx, "e2fsck", "-p", "-E", "journal_only", image); err != nil {
		return fmt.Errorf("cannot extract %s: %w", guestPath, err)
	}
	stderr, err := run(ctx, "debugfs", "-R", fmt.Sprintf("rdump %s %s", quote(guestPath), quote(hostDir)), image)
	if err != nil {
		return fmt.Errorf("cannot extract %s: %w", guestPath, err)
	}
	// debugfs exits with 0 whatever happens, and always says its version.
	_, complaint, _ := strings.Cut(stderr, "\n")
	if complaint = strings.TrimSpace(complaint); complaint != "" {
		return fmt.Errorf("cannot extract %s: debugfs: %s", guestPath, complaint)
	}
	return nil
}

// quote writes an argument as debugfs wants it.
func quote(arg string) string { return `"` + strings.ReplaceAll(arg, `"`, `""`) + `"` }
