package debroot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
)

// recipe is part of each root's name: it changes with anything below that
// changes what is in a root.
const recipe = "system-2"

// tools says which Debian package has a program.
var tools = map[string]string{"mmdebstrap": "mmdebstrap", "apt-get": "apt"}

// copyBase copies the root $BASE into $1, where mmdebstrap has made its own /dev.
// The files below /usr are shared by hard links, as dpkg replaces files there and
// does not write to them: a copy takes seconds and some MB.
const copyBase = `set -e
for d in "$BASE"/*; do
	case $d in
	*/dev) ;;
	*/usr) cp --archive --link "$d" "$1/" ;;
	*) cp --archive "$d" "$1/" ;;
	esac
done`

// systemPath leaves out what a user may have in front of it: mmdebstrap starts
// Python for each package, and a wrapper of pyenv takes ten times as long.
const systemPath = "/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"

// install builds a root with mmdebstrap. mmdebstrap verifies the archive with the
// keys that this machine's apt trusts or Debian's own keyring.
func install(ctx context.Context, dir string, r Root, base string) error {
	if os.Geteuid() != 0 {
		return errors.New("mmdebstrap needs root here: run as root")
	}
	mirror, err := mirror(ctx)
	if err != nil {
		return err
	}
	args := []string{
		"--format=directory",
		"--include=" + strings.Join(r.packages, ","),
		// A mirror, or a snapshot, may be behind: that is no danger to tests.
		`--aptopt=Acquire::Check-Valid-Until "false"`,
		`--aptopt=Acquire::Retries "3"`,
		// Fewer files, and no fsync for each of them.
		`--dpkgopt=force-unsafe-io`,
		`--dpkgopt=path-exclude=/usr/share/doc/*`,
		`--dpkgopt=path-exclude=/usr/share/man/*`,
		`--dpkgopt=path-exclude=/usr/share/locale/*`,
		// This machine's host name and name servers do not belong in the root.
		`--customize-hook=rm -f "$1"/etc/hostname "$1"/etc/resolv.conf "$1"/etc/dpkg/dpkg.cfg.d/99mmdebstrap`,
		`--customize-hook=: >"$1"/etc/machine-id`,
	}
	if base == "" {
		args = append(args, "--variant=minbase")
	} else {
		args = append(args, "--variant=custom", "--setup-hook="+copyBase)
	}
	cmd, err := command(ctx, "mmdebstrap", append(args, r.suite, dir, mirror)...)
	if err != nil {
		return err
	}
	// Debian's cloud kernels boot without an initial RAM disk (qemu.Kernel), and
	// to make it takes a third of the time.
	cmd.Env = append(os.Environ(), "INITRD=No", "BASE="+base, "PATH="+systemPath)
	if out, err := runAlone(cmd); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return fmt.Errorf("mmdebstrap: %w:\n%s", err, tail(out))
	}
	return nil
}

// tail returns the end of an output, where the reason of a failure is.
func tail(out []byte) string {
	lines := strings.Split(strings.TrimSpace(string(bytes.ToValidUTF8(out, nil))), "\n")
	return "  " + strings.Join(lines[max(0, len(lines)-20):], "\n  ")
}

// runAlone runs cmd in mount and pid namespaces of its own and returns its
// output. When cmd ends, is cancelled or this process dies, the kernel kills all
// that cmd has started and drops its mounts.
func runAlone(cmd *exec.Cmd) ([]byte, error) {
	const enter = `mount --make-rprivate / && mount -t proc proc /proc && "$@"; exit $?` // no exec: sh stays and is pid 1
	cmd.Args = append([]string{"sh", "-c", enter, "sh", cmd.Path}, cmd.Args[1:]...)
	cmd.Path = "/bin/sh"
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID,
		Setsid:     true, // Ctrl-C is for this process, which then cancels cmd
		Pdeathsig:  syscall.SIGKILL,
	}
	type result struct {
		out []byte
		err error
	}
	done := make(chan result)
	go func() {
		// Pdeathsig counts for the thread that has started cmd (https://go.dev/issue/27505).
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		out, err := cmd.CombinedOutput()
		done <- result{out, err}
	}()
	r := <-done
	return r.out, r.err
}

// command returns a program of this machine, or says which package has it.
func command(ctx context.Context, name string, args ...string) (*exec.Cmd, error) {
	path, err := exec.LookPath(name)
	if err != nil {
		return nil, fmt.Errorf("cannot find %s: install the Debian package %s", name, tools[name])
	}
	return exec.CommandContext(ctx, path, args...), nil
}

// mirror returns the address that this machine's apt gets Debian's main archive
// from.
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
