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
		s.t.Errorf("rpm %q: %q, %v", args, out, err)
	}
	if out, err := s.tryRPM("--verify", "--all", "--noconfig"); err != nil || out != "" {
		s.t.Errorf("after rpm %q: %q, %v", args, out, err)
	}
}

func TestRPMInstalled(t *testing.T) {
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
			t.Errorf("new and not the package's: %s", name)
		}
	}
	if out := s.run("nm-cloud-seed", "version"); !strings.HasPrefix(out, "nm-cloud-seed v"+version+" ") {
		t.Errorf("the program says %q", out)
	}
	checkGenerator(t, s)
}

func TestRPMUpgrade(t *testing.T) {
	t.Parallel()
	older, newer := another(t, "0.0.9"), another(t, "0.2.0")
	s := newRPMSystem(t)
	s.rpm("", "--install", rpmIn(older, "0.0.9", runtime.GOARCH))
	shipped := s.read(conf)
	s.rpm("", "--upgrade", rpm(t, runtime.GOARCH))
	if s.read(conf) == shipped {
		t.Error("the configuration that nobody has touched is still the older one")
	}

	const mine = "[main]\nplatform=cloudstack\n"
	s.write(conf, mine)
	s.write(dropIn, mine)
	s.write("/var/lib/cloud/seed/other/meta-data", "theirs")
	afterBoot(s)
	ours := []string{seedLink, issue, "/run/nm-cloud-seed/status.json", "/run/systemd/netif/leases/2", "/var/lib/nm-cloud-seed/copy/meta-data"}
	booted := s.list(ours)
	s.rpm("warning: "+conf+" created as "+conf+".rpmnew\n", "--upgrade", rpmIn(newer, "0.2.0", runtime.GOARCH))
	for _, name := range []string{conf, dropIn} {
		if got := s.read(name); got != mine {
			t.Errorf("%s is now\n%s", name, got)
		}
	}
	if diff := cmp.Diff(booted, s.list(ours)); diff != "" {
		t.Errorf("what is of this boot, before and after (-want +got):\n%s", diff)
	}
}

// What was changed by hand has another name afterwards, and what others have put
// in our directories is theirs. All else is as it was, what dpkg purges, too.
func TestRPMErase(t *testing.T) {
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
		t.Errorf("the configuration is now\n%s", got)
	}

	s.run("rm", "-r", conf+".rpmsave", "/etc/nm-cloud-seed.conf.d")
	s.run("mv", seedLink, seedLink+".before-nm-cloud-seed")
	if diff := cmp.Diff(before, s.tree()); diff != "" {
		t.Errorf("before the installation and after the removal (-want +got):\n%s", diff)
	}
}

// As dpkg's: only a reload, and a failure of it is no failure of rpm. rpm deletes
// the older version's units last of all, and so there is another reload.
func TestRPMSystemdIsOnlyReloaded(t *testing.T) {
	t.Parallel()
	s := newRPMSystem(t)
	watchSystemd(s)
	older := another(t, "0.0.9")
	const reload = "systemctl daemon-reload\n"
	for _, step := range []struct {
		want string
		args []string
	}{
		{reload, []string{"--install", rpmIn(older, "0.0.9", runtime.GOARCH)}},
		{reload + reload, []string{"--upgrade", rpm(t, runtime.GOARCH)}},
		{reload, []string{"--erase", "nm-cloud-seed"}},
	} {
		s.write("/run/log", "")
		s.rpm("", step.args...)
		if got := s.read("/run/log"); got != step.want {
			t.Errorf("%q: %q", step.args, got)
		}
	}
}
