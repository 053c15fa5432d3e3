package debroot

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// tools says which Debian package has a program.
var tools = map[string]string{"mmdebstrap": "mmdebstrap", "apt-get": "apt"}

// configure does for Python and certificates what the packages' configuration
// would: else each start of a program compiles all that it imports, and trixie's
// python3-requests does not even start.
const configure = `set -e
[ ! -x "$1/usr/bin/python3" ] ||
	for dir in "$1"/usr/lib/python3*; do chroot "$1" python3 -m compileall -q -j0 "${dir#"$1"}"; done
[ ! -d "$1/usr/share/ca-certificates" ] ||
	find "$1/usr/share/ca-certificates" -name '*.crt' -exec cat {} + >"$1/etc/ssl/certs/ca-certificates.crt"`

// unpack unpacks the packages only.
var unpack = builder{"2", func(ctx context.Context, dir, suite string, packages []string) error {
	return mmdebstrap(ctx, dir, suite, packages,
		"--variant=extract",
		// Unpacked without their base-files, packages of a release with a
		// merged /usr need its links.
		"--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr",
		"--extract-hook="+configure)
}}

// install configures them, too. What this machine calls itself, and which
// name servers it has, is none of the system's business.
var install = builder{"system-1", func(ctx context.Context, dir, suite string, packages []string) error {
	return mmdebstrap(ctx, dir, suite, packages,
		"--variant=minbase",
		// Fewer files, and no fsync for each of them.
		`--dpkgopt=force-unsafe-io`,
		`--dpkgopt=path-exclude=/usr/share/doc/*`,
		`--dpkgopt=path-exclude=/usr/share/man/*`,
		`--dpkgopt=path-exclude=/usr/share/locale/*`,
		`--customize-hook=rm -f "$1"/etc/hostname "$1"/etc/resolv.conf "$1"/etc/dpkg/dpkg.cfg.d/99mmdebstrap`,
		`--customize-hook=: >"$1"/etc/machine-id`)
}}

// mmdebstrap makes a root. It verifies the archive with the keys that this
// machine's apt trusts or Debian's own keyring.
func mmdebstrap(ctx context.Context, dir, suite string, packages []string, options ...string) error {
	mirror, err := mirror(ctx)
	if err != nil {
		return err
	}
	args := append([]string{
		"--format=directory",
		"--include=" + strings.Join(packages, ","),
		// A mirror, or a snapshot, may be behind: that is no danger to tests.
		`--aptopt=Acquire::Check-Valid-Until "false"`,
	}, options...)
	cmd, err := command(ctx, "mmdebstrap", append(args, suite, dir, mirror)...)
	if err != nil {
		return err
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("mmdebstrap: %w:\n%s", err, out)
	}
	return nil
}

// command is a program that gets time to clean up when the context ends.
func command(ctx context.Context, name string, args ...string) (*exec.Cmd, error) {
	path, err := exec.LookPath(name)
	if err != nil {
		return nil, fmt.Errorf("cannot find %s: install the Debian package %s", name, tools[name])
	}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	return cmd, nil
}

// mirror is where this machine's apt gets Debian's main archive from.
func mirror(ctx context.Context) (string, error) {
	// apt-get knows all places and formats of its sources, and what each
	// archive calls itself.
	cmd, err := command(ctx, "apt-get", "indextargets", "--format",
		"$(REPO_URI)", "Created-By: Packages", "Origin: Debian", "Label: Debian", "Component: main")
	if err != nil {
		return "", err
	}
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("cannot read apt's sources: %w", err)
	}
	uri, _, _ := strings.Cut(string(out), "\n")
	if uri == "" {
		return "", errors.New("cannot find Debian's main archive in apt's lists: it is not in /etc/apt, or apt-get update never ran")
	}
	return uri, nil
}
