package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// nspawn runs systemd-nspawn in a cgroup of its own. There is no machined to
// register at, and nothing of this machine is copied into the image.
func (i *image) nspawn(ctx context.Context, output io.Writer, args ...string) (err error) {
	path, err := exec.LookPath("systemd-nspawn")
	if err != nil {
		return errors.New("cannot find systemd-nspawn: install the Debian package systemd-container")
	}
	group, err := newCgroup()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, group.remove()) }()
	attr, done, err := group.attr()
	if err != nil {
		return err
	}
	defer done()
	cmd := exec.CommandContext(ctx, path, append([]string{
		"--quiet", "--directory=" + i.root, "--register=no", "--keep-unit",
		"--resolv-conf=off", "--timezone=off", "--link-journal=no",
	}, args...)...)
	// NetworkManager and DHCP clients set up interfaces in /proc/sys/net.
	cmd.Env = append(os.Environ(), "SYSTEMD_NSPAWN_API_VFS_WRITABLE=network")
	cmd.Stdout, cmd.Stderr = output, output
	cmd.SysProcAttr = attr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 5 * time.Second
	return cmd.Run()
}

// run runs a program in the image, which is not booted.
func (i *image) run(ctx context.Context, args ...string) error {
	_, err := i.output(ctx, args...)
	return err
}

func (i *image) output(ctx context.Context, args ...string) (string, error) {
	var out bytes.Buffer
	if err := i.nspawn(ctx, &out, append([]string{"--private-network", "--pipe", "--setenv=SYSTEMD_COLORS=0"}, args...)...); err != nil {
		return out.String(), fmt.Errorf("cannot run %q in the image: %w: %s", args, err, bytes.TrimSpace(out.Bytes()))
	}
	return out.String(), nil
}

// bootContainer boots the image in a network namespace until it powers off.
func (i *image) bootContainer(ctx context.Context, console io.Writer, netns string, cmdline []string) error {
	args := []string{
		"--network-namespace-path=/run/netns/" + netns,
		// nspawn leaves it out with a network namespace that is not its own.
		"--capability=CAP_NET_ADMIN",
		// A console that is a terminal, as a real one, and of which we only see
		// what is written: systemd shows its progress there.
		"--console=read-only",
		"--boot", "systemd.show_status=1",
	}
	if err := i.nspawn(ctx, console, append(args, cmdline...)...); err != nil {
		return fmt.Errorf("cannot boot the container: %w", err)
	}
	return nil
}
