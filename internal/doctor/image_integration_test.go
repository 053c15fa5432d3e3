//go:build integration

package doctor

import (
	"bufio"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nm-cloud-seed/nm-cloud-seed/test/debroot"
)

// enter puts an overlay over the root $1, in a mount namespace of its own, and
// stays until the end of the input.
const enter = `mount -t tmpfs tmpfs "$2"
mkdir "$2/upper" "$2/work" "$2/root"
mount -t overlay -o "lowerdir=$1,upperdir=$2/upper,workdir=$2/work" overlay "$2/root"
echo in
exec cat`

// system is a real Debian system in which anything may be changed.
type system struct {
	t    *testing.T
	pid  string
	dir  string // in its namespace
	root string // the same for us
}

func newSystem(t *testing.T, suite string) system {
	t.Helper()
	root, err := debroot.Image(suite).Open()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cmd := exec.Command("unshare", "--mount", "sh", "-ec", enter, "sh", root, dir)
	in, errIn := cmd.StdinPipe()
	out, errOut := cmd.StdoutPipe()
	if errIn != nil || errOut != nil {
		t.Fatal(errIn, errOut)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		_ = cmd.Wait()
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil && err != io.EOF || line != "in\n" {
		t.Fatalf("cannot enter a %s system, as root: %v", suite, err)
	}
	pid := fmt.Sprint(cmd.Process.Pid)
	return system{t, pid, dir + "/root", "/proc/" + pid + "/root" + dir + "/root"}
}

// run runs a script outside of the system's root, in its namespace.
func (s system) run(script string) string {
	s.t.Helper()
	cmd := exec.CommandContext(s.t.Context(), "nsenter", "--target", s.pid, "--mount", "sh", "-ec", `cd "$1"; `+script, "sh", s.dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // the other one ends with its input
	out, err := cmd.CombinedOutput()
	if err != nil {
		s.t.Fatalf("%s: %v\n%s", script, err, out)
	}
	return strings.TrimSpace(string(out))
}

// wrong are the checks that found something wrong.
func (s system) wrong() map[string]string {
	s.t.Helper()
	r, err := Image(s.root)
	if err != nil {
		s.t.Fatal(err)
	}
	all := make(map[string]string)
	for _, c := range r.Checks {
		if c.State == Warning || c.State == Problem {
			all[c.Name] = string(c.State) + ": " + c.Detail
		}
	}
	return all
}

// TestDoctorAgreesWithRealCloudInit examines Debian's systems: as they are, they have the deadlock; with
// the package's files there, nothing is wrong.
func TestDoctorAgreesWithRealCloudInit(t *testing.T) {
	t.Parallel()
	for suite, stage := range map[string]string{"bookworm": "cloud-init", "trixie": "cloud-init-network", "sid": "cloud-init-network"} {
		t.Run(suite, func(t *testing.T) {
			s := newSystem(t, suite)
			want := map[string]string{
				"nm-cloud-seed.installed": "problem: the package is not installed",
				"ordering.deadlock":       "problem: cloud-init looks for CloudStack without a network: " + stage + ".service before sysinit.target before NetworkManager.service",
			}
			if diff := cmp.Diff(want, s.wrong()); diff != "" {
				t.Errorf("without the package, -want +got:\n%s", diff)
			}
			project, err := filepath.Abs("../..")
			if err != nil {
				t.Fatal(err)
			}
			s.run(`cp "` + project + `"/systemd/*.service usr/lib/systemd/system
cp "` + project + `"/packaging/nm-cloud-seed.conf etc
install -m 755 /dev/null usr/bin/nm-cloud-seed
ln -s ../../../bin/nm-cloud-seed usr/lib/systemd/system-generators/nm-cloud-seed-generator
ln -s /run/nm-cloud-seed/private/cloud.cfg etc/cloud/cloud.cfg.d/99-nm-cloud-seed.cfg`)
			if diff := cmp.Diff(map[string]string{}, s.wrong()); diff != "" {
				t.Errorf("with the package, -want +got:\n%s", diff)
			}
			s.renderers()
		})
	}
}

// renderers has cloud-init itself choose among the ways to configure a network.
func (s system) renderers() {
	s.run("mkdir -p run/systemd/system") // by which cloud-init knows systemd
	const choose = `SYSTEMD_OFFLINE=1 chroot . python3 -c '
from cloudinit.net import renderers
try: print(renderers.select()[0])
except Exception: pass'`
	for _, change := range []string{
		"true", // as installed
		"touch usr/sbin/netplan; chmod +x usr/sbin/netplan",
		"mkdir -p etc/network; touch etc/network/interfaces; cd usr/sbin; touch ifup ifdown ifquery; chmod +x ifup ifdown ifquery",
		"rm usr/sbin/ifquery usr/sbin/netplan",
		"rm etc/NetworkManager/NetworkManager.conf",
		"systemctl --root=. disable NetworkManager.service",
		"rm -f bin/ip usr/bin/ip usr/sbin/ip sbin/ip",
	} {
		s.run(change)
		i, done, err := open(s.root)
		if err != nil {
			s.t.Fatal(err)
		}
		if got, want := string(i.selected()), s.run(choose); got != want {
			s.t.Errorf("after %q: %q, but cloud-init chooses %q", change, got, want)
		}
		done()
	}
}
