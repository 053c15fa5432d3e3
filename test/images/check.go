package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// examine says what is wrong with an image, by its files.
func examine(ctx context.Context, shop *workshop, dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("cannot examine the image: %w", err)
	}
	defer root.Close()
	binaries, err := filepath.Glob(filepath.Join(shop.dist, "nm-cloud-seed-linux-*"))
	if err != nil || len(binaries) != 1 {
		return fmt.Errorf("cannot examine the image: want one binary in %s, there are %d", shop.dist, len(binaries))
	}
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, binaries[0], "doctor", "--json", "--root", dir)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err = cmd.Run(); err != nil {
		err = fmt.Errorf("doctor: %w: %s", err, strings.TrimSpace(stderr.String()))
	}
	return errors.Join(append(check(root.FS()), err, diagnosis(stdout.Bytes()))...)
}

// gone are files that make the VMs of an image one machine, or do not belong there.
var gone = []string{
	"tmp/nm-cloud-seed.deb",
	"var/lib/cloud/instance",
	"home/debian", // Packer's user
	"etc/systemd/system/multi-user.target.wants/systemd-networkd.service",
	"etc/systemd/system/network-online.target.wants/networking.service",
}

// check is what does not depend on doctor's word.
func check(root fs.FS) []error {
	var wrong []error
	if status, err := fs.ReadFile(root, "var/lib/dpkg/status"); err != nil {
		wrong = append(wrong, err)
	} else if !strings.Contains(string(status), "\nPackage: nm-cloud-seed\nStatus: install ok installed\n") {
		wrong = append(wrong, errors.New("dpkg does not say that the package is installed"))
	}
	if _, err := fs.Stat(root, "usr/lib/systemd/system-generators/nm-cloud-seed-generator"); err != nil {
		wrong = append(wrong, fmt.Errorf("there is no generator: %w", err))
	}
	if id, err := fs.ReadFile(root, "etc/machine-id"); err != nil {
		wrong = append(wrong, fmt.Errorf("systemd could not boot from a read-only disk: %w", err))
	} else if len(bytes.TrimSpace(id)) != 0 && string(id) != "uninitialized\n" {
		wrong = append(wrong, fmt.Errorf("all VMs would have the machine-id %q", id))
	}
	for _, name := range gone {
		if _, err := fs.Lstat(root, name); !errors.Is(err, fs.ErrNotExist) {
			wrong = append(wrong, fmt.Errorf("/%s is there", name))
		}
	}
	return wrong
}

// diagnosis is what doctor has found. Here a warning is too much, too.
func diagnosis(report []byte) error {
	var r struct {
		Checks []struct{ Name, State, Detail string }
	}
	if err := json.Unmarshal(report, &r); err != nil {
		return fmt.Errorf("cannot read what doctor says: %w", err)
	}
	if len(r.Checks) == 0 {
		return errors.New("doctor has checked nothing")
	}
	var wrong []error
	for _, c := range r.Checks {
		if c.State != "ok" && c.State != "info" {
			wrong = append(wrong, fmt.Errorf("doctor: %s: %s: %s", c.State, c.Name, c.Detail))
		}
	}
	return errors.Join(wrong...)
}
