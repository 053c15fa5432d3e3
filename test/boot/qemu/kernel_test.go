package qemu

import (
	"os"
	"path/filepath"
	"testing"
)

func TestKernelIsTheNewestWithItsRAMDisk(t *testing.T) {
	const cloud = "# a comment\nCONFIG_BLK_DEV_NVME=y\nCONFIG_EXT4_FS=y\n"
	for name, c := range map[string]struct {
		files          map[string]string
		kernel, initrd string // nothing is an error
	}{
		"no boot":               {},
		"no kernel":             {files: map[string]string{"config-6.1": cloud}},
		"no RAM disk needed":    {files: map[string]string{"vmlinuz-6.1": "", "config-6.1": cloud, "initrd.img-6.1": ""}, kernel: "vmlinuz-6.1"},
		"drivers are modules":   {files: map[string]string{"vmlinuz-6.1": "", "config-6.1": "\nCONFIG_BLK_DEV_NVME=m\nCONFIG_EXT4_FS=y\n", "initrd.img-6.1": ""}, kernel: "vmlinuz-6.1", initrd: "initrd.img-6.1"},
		"drivers are not known": {files: map[string]string{"vmlinuz-6.1": "", "initrd.img-6.1": ""}, kernel: "vmlinuz-6.1", initrd: "initrd.img-6.1"},
		"RAM disk missing":      {files: map[string]string{"vmlinuz-6.1": "", "initrd.img-6.0": ""}},
		"the last of two":       {files: map[string]string{"vmlinuz-6.1": "", "vmlinuz-6.2": "", "config-6.2": cloud}, kernel: "vmlinuz-6.2"},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			in := func(file string) string {
				if file == "" {
					return ""
				}
				return filepath.Join(root, "boot", file)
			}
			if len(c.files) > 0 {
				if err := os.Mkdir(filepath.Join(root, "boot"), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			for file, text := range c.files {
				if err := os.WriteFile(in(file), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			kernel, initrd, err := Kernel(root)
			if kernel != in(c.kernel) || initrd != in(c.initrd) || (err == nil) != (c.kernel != "") {
				t.Errorf("got %q, %q, %v", kernel, initrd, err)
			}
		})
	}
}
