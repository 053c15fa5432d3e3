package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/nm-cloud-seed/nm-cloud-seed/test/debroot"
)

// suite is the Debian that the page's commands run in, and whose images they make.
const suite = "trixie"

// workshop is a Debian with the tools of the page, as root and with this
// machine's network. What is written there is gone with it, but for /bench, which
// has a directory for each way.
type workshop struct {
	root    string // cached, and not written to
	scratch string
	dist    string // what make packages leaves
}

// enter lays a root that can be written over $1, with the scratch directory $2 as
// /bench in it, and runs the script $3 in the directory $4. The tools make
// namespaces of their own, which chroot(2) does not allow: hence pivot_root. There
// is no /dev/kvm: where it is there but does not work, QEMU waits for ever.
const enter = `
mount --make-rprivate /
mount -t overlay -o "lowerdir=$1,upperdir=$2/upper,workdir=$2/overlay" overlay "$2/root"
cd "$2/root"
mount -t proc proc proc
mount --rbind /sys sys
mount -t tmpfs -o mode=755 tmpfs dev
for d in null zero full random urandom tty; do : >dev/$d; mount --bind /dev/$d dev/$d; done
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=666 devpts dev/pts
mount -t tmpfs tmpfs dev/shm
ln -s pts/ptmx dev/ptmx
for d in fd:fd stdin:fd/0 stdout:fd/1 stderr:fd/2; do ln -s "/proc/self/${d#*:}" "dev/${d%%:*}"; done
mount -t tmpfs -o mode=755 tmpfs run
mkdir -p bench
mount --bind "$2/bench" bench
cp /etc/resolv.conf etc/resolv.conf
pivot_root . mnt
exec chroot . sh -euc 'umount --lazy /mnt; cd "/bench/$2"; exec sh -eux "$1"' sh "/bench/$3" "$4"`

func newWorkshop(ctx context.Context, packages []string, dist string) (*workshop, error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("cannot build images as an ordinary user: this takes root")
	}
	if runtime.GOARCH != "amd64" {
		return nil, errors.New("cannot build images here: the page is written for amd64")
	}
	tools := debroot.System(suite, packages...)
	if err := debroot.Prepare(ctx, os.Stdout, tools); err != nil {
		return nil, err
	}
	root, err := tools.Open()
	if err != nil {
		return nil, err
	}
	scratch, err := os.MkdirTemp("", "nm-cloud-seed-images-")
	if err != nil {
		return nil, err
	}
	w := &workshop{root, scratch, dist}
	for _, d := range []string{"bench", "root"} {
		err = errors.Join(err, os.Mkdir(filepath.Join(scratch, d), 0o755))
	}
	return w, err
}

func (w *workshop) close() error { return os.RemoveAll(w.scratch) }

// dir is where a way's commands run, for us.
func (w *workshop) dir(name string) string { return filepath.Join(w.scratch, "bench", name) }

// lay makes the directory of a way, with the page's files and what make packages
// leaves.
func (w *workshop) lay(name string, files map[string]string) error {
	err := os.MkdirAll(w.dir(name), 0o755)
	if err == nil {
		err = os.CopyFS(filepath.Join(w.dir(name), "dist"), os.DirFS(w.dist))
	}
	for file, text := range files {
		file = filepath.Join(w.dir(name), file)
		err = errors.Join(err, os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(text), 0o644))
	}
	if err != nil {
		return fmt.Errorf("cannot lay the files for %s: %w", name, err)
	}
	return nil
}

// run runs commands in the directory of a way.
func (w *workshop) run(ctx context.Context, name, commands string) error {
	const script = "commands"
	err := os.WriteFile(filepath.Join(w.scratch, "bench", script), []byte(commands), 0o644)
	for _, d := range []string{"upper", "overlay"} {
		err = errors.Join(err, os.RemoveAll(filepath.Join(w.scratch, d)), os.Mkdir(filepath.Join(w.scratch, d), 0o755))
	}
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "unshare", "--mount", "--uts", "--ipc", "--pid", "--fork", "--kill-child",
		"sh", "-euc", enter, "sh", w.root, w.scratch, script, name)
	cmd.Env = []string{"PATH=/bench/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8", "HOME=/root", "TERM=dumb"}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	// A file and not a pipe: it also has an end if somebody is left behind.
	log, err := os.Create(filepath.Join(w.scratch, "log"))
	if err != nil {
		return err
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Run(); err != nil {
		out, readErr := os.ReadFile(log.Name())
		return errors.Join(fmt.Errorf("cannot do what the page says: %w:\n%s", err, tail(out)), readErr)
	}
	return nil
}

// tail is the end of an output: where it says what went wrong.
func tail(out []byte) string {
	lines := strings.Split(strings.TrimSpace(string(bytes.ToValidUTF8(out, nil))), "\n")
	return "  " + strings.Join(lines[max(0, len(lines)-40):], "\n  ")
}
