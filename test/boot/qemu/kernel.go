package qemu

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Kernel finds the kernel in a root's /boot, the last one by name if there are
// several, and its initial RAM disk if it needs one to get at its disk. Debian's cloud kernels do not: they have NVMe
// and ext4 built in. An emulated machine saves 3 s then where initramfs-tools
// made the RAM disk, and 20 s where dracut did, with a systemd of its own.
func Kernel(rootDir string) (kernel, initrd string, err error) {
	kernels, err := filepath.Glob(filepath.Join(rootDir, "boot", "vmlinuz-*"))
	if err != nil {
		return "", "", fmt.Errorf("cannot find a kernel: %w", err)
	}
	if len(kernels) == 0 {
		return "", "", fmt.Errorf("cannot find a kernel in %s/boot", rootDir)
	}
	kernel = slices.Max(kernels)
	version := strings.TrimPrefix(filepath.Base(kernel), "vmlinuz-")
	config, err := os.ReadFile(filepath.Join(rootDir, "boot", "config-"+version))
	if err == nil && builtIn(config, "BLK_DEV_NVME") && builtIn(config, "EXT4_FS") {
		return kernel, "", nil
	}
	initrd = filepath.Join(rootDir, "boot", "initrd.img-"+version)
	if _, err := os.Stat(initrd); err != nil {
		return "", "", fmt.Errorf("cannot find the initial RAM disk of kernel %s: %w", version, err)
	}
	return kernel, initrd, nil
}

// builtIn says whether a kernel of this configuration has a driver without
// loading a module.
func builtIn(config []byte, option string) bool {
	return bytes.Contains(config, []byte("\nCONFIG_"+option+"=y\n"))
}
