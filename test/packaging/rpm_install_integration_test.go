//go:build integration

package packaging

import (
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// newRPMSystem is a system that is rpm's, too. Its files are Debian's, which is
// enough for the scripts: a shell, coreutils and grep.
func newRPMSystem(t *testing.T) *system {
	t.Helper()
	s := newSystem(t, "trixie")
	s.run("mkdir", "-p", "/usr/share/licenses", "/usr/share/man/man5", "/usr/share/man/man8")
	s.rpm("", "--install", provides(t, rhel))
	return s
}

// tryRPM runs this machine's rpm.
func (s *system) tryRPM(args ...string) (string, error) {
	s.t.Helper()
	return run(s.t, "util-linux", "nsenter", append([]string{"--target", s.pid, "--mount", "rpm"}, rpmOn(s.mnt, args...)...)...)
}

// rpm has to say this, and to leave nothing amiss.
func (s *system) rpm(says string, args ...string) {
	s.t.Helper()
	out, err := s.tryRPM(args...)
	if err != nil || out != says {
		s.t.Errorf("rpm %q: got %q, %v, want %q", args, out, err, says)
	}
	if out, err := s.tryRPM("--verify", "--all", "--noconfig"); err != nil || out != "" {
		s.t.Errorf("rpm --verify after rpm %q: got %q, %v, want nothing", args, out, err)
	}
}

func TestRPMInstallsListedFilesOnly(t *testing.T) {
	t.Parallel()
	s := newRPMSystem(t)
	before := s.tree()
	s.rpm("", "--install", rpm(t, runtime.GOARCH))
	out, err := s.tryRPM("-ql", "nm-cloud-seed")
	if err != nil {
		t.Fatal(out, err)
	}
	names := strings.Fields(out)
	if diff := cmp.Diff(rpmContents, s.list(names)); diff != "" {
		t.Errorf("installed (-want +got):\n%s", diff)
	}
	for _, name := range added(before, s.tree()) {
		if !slices.Contains(names, name) {
			t.Errorf("got the new file %s, want only the package's", name)
		}
	}
	if out := s.run("nm-cloud-seed", "version"); !strings.HasPrefix(out, "nm-cloud-seed v"+version+" ") {
		t.Errorf("the program's version: got %q, want v%s", out, version)
	}
	checkGenerator(t, s)
}

func TestRPMUpgradeKeepsChangedConfiguration(t *testing.T) {
	t.Parallel()
	s := newRPMSystem(t)
	s.rpm("", "--install", rpmIn(older(t), olderVersion, runtime.GOARCH))
	shipped := s.read(conf)
	s.rpm("", "--upgrade", rpm(t, runtime.GOARCH))
	if got := s.read(conf); got == shipped {
		t.Errorf("the unchanged configuration: got that of %s, want that of %s:\n%s", olderVersion, version, got)
	}

	const mine = "[main]\nplatform=cloudstack\n"
	s.write(conf, mine)
	s.write(dropIn, mine)
	s.write("/var/lib/cloud/seed/other/meta-data", "theirs")
	afterBoot(s)
	ours := []string{seedLink, issue, "/run/nm-cloud-seed/status.json", "/run/systemd/netif/leases/2", "/var/lib/nm-cloud-seed/copy/meta-data"}
	booted := s.list(ours)
	s.rpm("warning: "+conf+" created as "+conf+".rpmnew\n", "--upgrade", rpmIn(newer(t), newerVersion, runtime.GOARCH))
	for _, name := range []string{conf, dropIn} {
		if got := s.read(name); got != mine {
			t.Errorf("%s: got\n%s\nwant\n%s", name, got, mine)
		}
	}
	if diff := cmp.Diff(booted, s.list(ours)); diff != "" {
		t.Errorf("what is of this boot, before and after (-want +got):\n%s", diff)
	}
}

// What was changed by hand has another name afterwards, and what others have put
// in our directories is theirs. All else is as it was, what dpkg purges, too.
func TestRPMEraseRestoresSystem(t *testing.T) {
	t.Parallel()
	s := newRPMSystem(t)
	s.write(seedLink+".before-nm-cloud-seed/meta-data", "theirs")
	s.write("/run/issue.d/other.issue", "")
	s.write("/run/systemd/netif/leases/3", "# This is private data. Do not parse.\n")
	before := s.tree()
	s.rpm("", "--install", rpm(t, runtime.GOARCH))
	afterBoot(s)
	const mine = "[main]\nplatform=none\n"
	s.write(conf, mine)
	s.write(dropIn, mine)
	s.rpm("warning: "+conf+" saved as "+conf+".rpmsave\n", "--erase", "nm-cloud-seed")
	left := []string{"/etc/nm-cloud-seed.conf.d", dropIn, conf + ".rpmsave", seedLink, seedLink + "/meta-data"}
	if diff := cmp.Diff(left, added(before, s.tree())); diff != "" {
		t.Errorf("left (-want +got):\n%s", diff)
	}
	if got := s.read(conf + ".rpmsave"); got != mine {
		t.Errorf("the configuration: got\n%s\nwant\n%s", got, mine)
	}

	s.run("rm", "-r", conf+".rpmsave", "/etc/nm-cloud-seed.conf.d")
	s.run("mv", seedLink, seedLink+".before-nm-cloud-seed")
	if diff := cmp.Diff(before, s.tree()); diff != "" {
		t.Errorf("before the installation and after the removal (-want +got):\n%s", diff)
	}
}

// As dpkg's: only a reload, and a failure of it is no failure of rpm. rpm deletes
// the older version's units last of all, and so there is another reload.
func TestRPMOnlyReloadsSystemd(t *testing.T) {
	t.Parallel()
	s := newRPMSystem(t)
	watchSystemd(s)
	const reload = "systemctl daemon-reload\n"
	for _, step := range []struct {
		want string
		args []string
	}{
		{reload, []string{"--install", rpmIn(older(t), olderVersion, runtime.GOARCH)}},
		{reload + reload, []string{"--upgrade", rpm(t, runtime.GOARCH)}},
		{reload, []string{"--erase", "nm-cloud-seed"}},
	} {
		s.write("/run/log", "")
		s.rpm("", step.args...)
		if got := s.read("/run/log"); got != step.want {
			t.Errorf("rpm %q: got %q, want %q", step.args, got, step.want)
		}
	}
}
