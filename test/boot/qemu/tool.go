package qemu

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
)

// run runs a program to its end; its error carries what that said.
func run(ctx context.Context, name string, args ...string) (stderr string, err error) {
	path, err := find(name)
	if err != nil {
		return "", err
	}
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s: %w: %s", name, err, bytes.TrimSpace(append(errs.Bytes(), out.Bytes()...)))
	}
	return errs.String(), nil
}

// packages says which Debian package has a program.
var packages = map[string]string{
	"qemu-system-x86_64": "qemu-system-x86",
	"mkfs.ext4":          "e2fsprogs",
	"e2fsck":             "e2fsprogs",
	"debugfs":            "e2fsprogs",
	"ip":                 "iproute2",
	"tc":                 "iproute2",
}

func find(name string) (string, error) {
	path, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("cannot find %s: install the Debian package %s", name, packages[name])
	}
	return path, nil
}
