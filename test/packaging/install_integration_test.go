//go:build integration

package packaging

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var suites = []string{"bookworm", "trixie", "sid"}

// contents is what dpkg lays down, directories that others have, too, included.
const contents = `drwxr-xr-x 0:0 /etc
drwxr-xr-x 0:0 /etc/cloud
drwxr-xr-x 0:0 /etc/cloud/clean.d
-rwxr-xr-x 0:0 /etc/cloud/clean.d/50-nm-cloud-seed
drwxr-xr-x 0:0 /etc/cloud/cloud.cfg.d
Lrwxrwxrwx 0:0 /etc/cloud/cloud.cfg.d/99-nm-cloud-seed.cfg -> /run/nm-cloud-seed/private/cloud.cfg
-rw-r--r-- 0:0 /etc/nm-cloud-seed.conf
drwxr-xr-x 0:0 /etc/nm-cloud-seed.conf.d
drwxr-xr-x 0:0 /usr
drwxr-xr-x 0:0 /usr/bin
-rwxr-xr-x 0:0 /usr/bin/nm-cloud-seed
drwxr-xr-x 0:0 /usr/lib
drwxr-xr-x 0:0 /usr/lib/NetworkManager
drwxr-xr-x 0:0 /usr/lib/NetworkManager/dispatcher.d
-rwxr-xr-x 0:0 /usr/lib/NetworkManager/dispatcher.d/50-nm-cloud-seed
drwxr-xr-x 0:0 /usr/lib/nm-cloud-seed
drwxr-xr-x 0:0 /usr/lib/nm-cloud-seed/conf.d
drwxr-xr-x 0:0 /usr/lib/systemd
drwxr-xr-x 0:0 /usr/lib/systemd/system
drwxr-xr-x 0:0 /usr/lib/systemd/system-generators
Lrwxrwxrwx 0:0 /usr/lib/systemd/system-generators/nm-cloud-seed-generator -> ../../../bin/nm-cloud-seed
-rw-r--r-- 0:0 /usr/lib/systemd/system/nm-cloud-seed-bus.service
-rw-r--r-- 0:0 /usr/lib/systemd/system/nm-cloud-seed-cleanup.service
-rw-r--r-- 0:0 /usr/lib/systemd/system/nm-cloud-seed-heal.service
-rw-r--r-- 0:0 /usr/lib/systemd/system/nm-cloud-seed-ssh-keys.service
-rw-r--r-- 0:0 /usr/lib/systemd/system/nm-cloud-seed-stages.service
-rw-r--r-- 0:0 /usr/lib/systemd/system/nm-cloud-seed.service
drwxr-xr-x 0:0 /usr/share
drwxr-xr-x 0:0 /usr/share/bash-completion
drwxr-xr-x 0:0 /usr/share/bash-completion/completions
-rw-r--r-- 0:0 /usr/share/bash-completion/completions/nm-cloud-seed
drwxr-xr-x 0:0 /usr/share/dbus-1
drwxr-xr-x 0:0 /usr/share/dbus-1/interfaces
-rw-r--r-- 0:0 /usr/share/dbus-1/interfaces/org.nmcloudseed1.xml
drwxr-xr-x 0:0 /usr/share/dbus-1/system-services
-rw-r--r-- 0:0 /usr/share/dbus-1/system-services/org.nmcloudseed1.service
drwxr-xr-x 0:0 /usr/share/dbus-1/system.d
-rw-r--r-- 0:0 /usr/share/dbus-1/system.d/org.nmcloudseed1.conf
drwxr-xr-x 0:0 /usr/share/doc
drwxr-xr-x 0:0 /usr/share/doc/nm-cloud-seed
-rw-r--r-- 0:0 /usr/share/doc/nm-cloud-seed/changelog.gz
-rw-r--r-- 0:0 /usr/share/doc/nm-cloud-seed/copyright
drwxr-xr-x 0:0 /usr/share/fish
drwxr-xr-x 0:0 /usr/share/fish/vendor_completions.d
-rw-r--r-- 0:0 /usr/share/fish/vendor_completions.d/nm-cloud-seed.fish
drwxr-xr-x 0:0 /usr/share/lintian
drwxr-xr-x 0:0 /usr/share/lintian/overrides
-rw-r--r-- 0:0 /usr/share/lintian/overrides/nm-cloud-seed
drwxr-xr-x 0:0 /usr/share/man
drwxr-xr-x 0:0 /usr/share/man/man5
-rw-r--r-- 0:0 /usr/share/man/man5/nm-cloud-seed.conf.5.gz
drwxr-xr-x 0:0 /usr/share/man/man8
-rw-r--r-- 0:0 /usr/share/man/man8/nm-cloud-seed-generator.8.gz
-rw-r--r-- 0:0 /usr/share/man/man8/nm-cloud-seed.8.gz
drwxr-xr-x 0:0 /usr/share/zsh
drwxr-xr-x 0:0 /usr/share/zsh/vendor-completions
-rw-r--r-- 0:0 /usr/share/zsh/vendor-completions/_nm-cloud-seed
`

const (
	conf      = "/etc/nm-cloud-seed.conf"
	dropIn    = "/etc/nm-cloud-seed.conf.d/50-site.conf"
	cloudCfg  = "/etc/cloud/cloud.cfg.d/99-nm-cloud-seed.cfg"
	cleanPart = "/etc/cloud/clean.d/50-nm-cloud-seed"
	seedLink  = "/var/lib/cloud/seed/cs"
	issue     = "/run/issue.d/nm-cloud-seed.issue"
)

// By the name of its link, the binary is the generator.
func checkGenerator(t *testing.T, s *system) {
	t.Helper()
	generate := func() []string {
		s.run("mkdir", "-p", "/run/normal", "/run/early")
		s.run("/usr/lib/systemd/system-generators/nm-cloud-seed-generator", "/run/normal", "/run/early", "/run/late")
		return strings.Fields(s.run("find", "/run/normal", "/run/early", "-name", "nm-cloud-seed.service"))
	}
	if got := generate(); len(got) != 0 {
		t.Errorf("the generator, not on CloudStack: got %q, want no file", got)
	}
	s.write(dropIn, "[main]\nplatform=cloudstack\n")
	if got := generate(); len(got) == 0 {
		t.Error("the generator, on CloudStack: got no file, want nm-cloud-seed.service")
	}
}

// older and newer return the directory of the packages of another version, whose
// configuration file differs. They are built once for all tests.
func older(t *testing.T) string { return built(t, olderRelease) }
func newer(t *testing.T) string { return built(t, newerRelease) }

const olderVersion, newerVersion = "0.0.9", "0.2.0"

var (
	olderRelease = sync.OnceValues(func() (string, error) { return repack(olderVersion) })
	newerRelease = sync.OnceValues(func() (string, error) { return repack(newerVersion) })
)

func built(t *testing.T, release func() (string, error)) string {
	t.Helper()
	dir, err := release()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// repack makes the packages of another version with the release's binary.
func repack(version string) (dir string, err error) {
	released, err := release()
	if err != nil {
		return "", err
	}
	if dir, err = os.MkdirTemp("", version+"-"); err != nil { // TestMain removes it
		return "", err
	}
	tree := filepath.Join(dir, "tree")
	if err := os.Mkdir(tree, 0o755); err != nil {
		return "", err
	}
	entries, err := os.ReadDir(top)
	if err != nil {
		return "", err
	}
	for _, e := range entries {
		if slices.Contains([]string{".git", "build", "dist", "test"}, e.Name()) {
			continue
		}
		if out, err := exec.Command("cp", "-r", filepath.Join(top, e.Name()), tree).CombinedOutput(); err != nil {
			return "", fmt.Errorf("cannot copy the tree: %w: %s", err, out)
		}
	}
	conf := tree + "/packaging/nm-cloud-seed.conf"
	text, err := os.ReadFile(conf)
	if err == nil {
		err = os.WriteFile(conf, fmt.Appendf(text, "# of %s\n", version), 0o644)
	}
	if err != nil {
		return "", err
	}
	binary := filepath.Join(released, "nm-cloud-seed-linux-"+runtime.GOARCH)
	if out, err := exec.Command(tree+"/packaging/build", binary, runtime.GOARCH, version, dir).CombinedOutput(); err != nil {
		return "", fmt.Errorf("cannot build the packages of %s: %w:\n%s", version, err, out)
	}
	return dir, os.RemoveAll(tree)
}

func eachSuite(t *testing.T, test func(t *testing.T, s *system)) {
	for _, suite := range suites {
		t.Run(suite, func(t *testing.T) {
			t.Parallel()
			test(t, newSystem(t, suite))
		})
	}
}

func TestDebInstallsListedFilesOnly(t *testing.T) {
	eachSuite(t, func(t *testing.T, s *system) {
		before := s.tree()
		s.install(deb(t, runtime.GOARCH))
		names := strings.Fields(s.run("dpkg", "--listfiles", "nm-cloud-seed"))
		slices.Sort(names)
		names = slices.DeleteFunc(names, func(name string) bool { return name == "/." })
		if diff := cmp.Diff(contents, s.list(names)); diff != "" {
			t.Errorf("installed (-want +got):\n%s", diff)
		}
		for name, what := range s.tree() {
			if _, there := before[name]; !there && !slices.Contains(names, name) && !strings.HasPrefix(name, "/var/lib/dpkg/info/nm-cloud-seed.") {
				t.Errorf("got the new file %s, want only the package's", what)
			}
		}
		if out, err := s.try("dpkg", "--verify", "nm-cloud-seed"); err != nil || out != "" {
			t.Errorf("dpkg --verify: got %q, %v, want nothing", out, err)
		}
		if out, err := s.try("systemd-analyze", "verify", "--man=no", "nm-cloud-seed.service", "nm-cloud-seed-cleanup.service"); err != nil || out != "" {
			t.Errorf("systemd-analyze verify: got %v\n%s, want nothing", err, out)
		}
		if out := s.run("nm-cloud-seed", "version"); !strings.HasPrefix(out, "nm-cloud-seed v"+version+" ") {
			t.Errorf("the program's version: got %q, want v%s", out, version)
		}
		if out, _ := s.try("systemctl", "is-enabled", "nm-cloud-seed.service"); out != "static\n" {
			t.Errorf("systemctl is-enabled: got %q, want static", out)
		}
		checkGenerator(t, s)
	})
}

func TestDebUpgradeKeepsChangedConfiguration(t *testing.T) {
	older := debIn(older(t), olderVersion, runtime.GOARCH)
	newer := debIn(newer(t), newerVersion, runtime.GOARCH)
	eachSuite(t, func(t *testing.T, s *system) {
		now := deb(t, runtime.GOARCH)
		s.install(older)
		shipped := s.read(conf)
		s.install(now)
		if got := s.read(conf); got == shipped {
			t.Errorf("the unchanged configuration: got that of %s, want that of %s:\n%s", olderVersion, version, got)
		}

		const mine = "[main]\nplatform=cloudstack\n"
		s.write(conf, mine)
		s.write(dropIn, mine)
		s.remove(cloudCfg)
		s.install(now) // once more: the file that is shipped has not changed, so nothing is asked
		s.install(newer, "--force-confold")
		if got := s.read(conf); got != mine {
			t.Errorf("the configuration: got\n%s\nwant\n%s", got, mine)
		}
		if got := s.read(dropIn); got != mine {
			t.Errorf("the drop-in: got\n%s\nwant\n%s", got, mine)
		}
		if got := s.list([]string{cloudCfg}); !strings.Contains(contents, got) {
			t.Errorf("the link for cloud-init: got %q, want its line of\n%s", got, contents)
		}
	})
}

// A system as a boot on CloudStack leaves it.
func afterBoot(s *system) {
	s.write("/run/nm-cloud-seed/seed.d/1/meta-data", "{}")
	s.write("/run/nm-cloud-seed/status.json", "{}")
	s.write("/run/nm-cloud-seed/private/cloud.cfg", "{}")
	s.write(issue, "cannot find a virtual router\n")
	s.write("/run/systemd/netif/leases/2", "# Written by nm-cloud-seed, for cloud-init.\nSERVER_ADDRESS=10.1.1.1\n")
	s.write("/var/lib/nm-cloud-seed/copy/meta-data", "{}")
	s.link("seed.d/1", "/run/nm-cloud-seed/seed")
	s.link("/run/nm-cloud-seed/seed", seedLink)
}

func TestDebPurgeRestoresSystem(t *testing.T) {
	older := debIn(older(t), olderVersion, runtime.GOARCH)
	eachSuite(t, func(t *testing.T, s *system) {
		s.write("/var/lib/cloud/seed/other/meta-data", "{}")
		s.write("/run/issue.d/other.issue", "")
		s.write("/run/systemd/netif/leases/3", "# This is private data. Do not parse.\n")
		before := s.tree()
		s.install(older)
		s.install(deb(t, runtime.GOARCH))
		afterBoot(s)
		s.write(conf, "[main]\n")
		s.write(dropIn, "[main]\n")
		s.write("/usr/lib/nm-cloud-seed/conf.d/10-image.conf", "[main]\n")

		// What others have put in our directories is theirs.
		s.run("dpkg", "--remove", "nm-cloud-seed")
		left := []string{
			cleanPart, "/etc/nm-cloud-seed.conf", "/etc/nm-cloud-seed.conf.d", dropIn,
			"/usr/lib/nm-cloud-seed", "/usr/lib/nm-cloud-seed/conf.d", "/usr/lib/nm-cloud-seed/conf.d/10-image.conf",
			"/var/lib/dpkg/info/nm-cloud-seed.list", "/var/lib/dpkg/info/nm-cloud-seed.postrm",
			"/var/lib/nm-cloud-seed", "/var/lib/nm-cloud-seed/copy", "/var/lib/nm-cloud-seed/copy/meta-data",
		}
		if diff := cmp.Diff(left, added(before, s.tree())); diff != "" {
			t.Errorf("left after the removal (-want +got):\n%s", diff)
		}
		s.remove(dropIn)
		s.remove("/usr/lib/nm-cloud-seed/conf.d/10-image.conf")
		s.dpkg("--purge", "nm-cloud-seed")
		if diff := cmp.Diff(before, s.tree()); diff != "" {
			t.Errorf("before the installation and after the purge (-want +got):\n%s", diff)
		}
		if out, err := s.try("dpkg", "--status", "nm-cloud-seed"); err == nil {
			t.Errorf("dpkg --status: got\n%s, want an error", out)
		}

		s.install(deb(t, runtime.GOARCH))
		afterBoot(s)
		s.dpkg("--purge", "nm-cloud-seed")
		if diff := cmp.Diff(before, s.tree()); diff != "" {
			t.Errorf("after a purge at once (-want +got):\n%s", diff)
		}
	})
}

// added is what there is in the one and was not in the other.
func added(before, after map[string]string) []string {
	names := slices.Sorted(maps.Keys(after))
	return slices.DeleteFunc(names, func(name string) bool { _, there := before[name]; return there })
}

// foreignSeeds makes the seeds that are not ours.
var foreignSeeds = map[string]func(*system){
	"directory": func(s *system) { s.write(seedLink+"/meta-data", "{}") },
	"file":      func(s *system) { s.write(seedLink, "") },
	"link":      func(s *system) { s.write("/var/lib/cloud/seed/x", ""); s.link("/mnt/seed", seedLink) },
}

// A seed that is not ours stays, whatever it is.
func TestDebPurgeKeepsForeignSeed(t *testing.T) {
	for name, make := range foreignSeeds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSystem(t, "sid")
			make(s)
			s.install(deb(t, runtime.GOARCH))
			before := s.list([]string{seedLink})
			s.dpkg("--purge", "nm-cloud-seed")
			if after := s.list([]string{seedLink}); after != before {
				t.Errorf("got %s, want %s", after, before)
			}
		})
	}
}

// A seed that the service has put out of its way is back when the package goes.
func TestDebPurgeRestoresForeignSeed(t *testing.T) {
	t.Parallel()
	s := newSystem(t, "sid")
	s.write(seedLink+"/meta-data", "theirs")
	before := s.tree()
	s.install(deb(t, runtime.GOARCH))
	s.run("mv", seedLink, seedLink+".before-nm-cloud-seed")
	s.write("/run/nm-cloud-seed/seed.d/1/meta-data", "{}")
	s.link("/run/nm-cloud-seed/seed.d/1", seedLink)
	s.dpkg("--purge", "nm-cloud-seed")
	if diff := cmp.Diff(before, s.tree()); diff != "" {
		t.Errorf("before the installation and after the purge (-want +got):\n%s", diff)
	}
}

// watchSystemd makes it look as if systemd ran, writes to /run/log what it is told
// and fails.
func watchSystemd(s *system) {
	for _, name := range []string{"/usr/bin/systemctl", "/usr/bin/deb-systemd-invoke", "/usr/sbin/service"} {
		s.write(name, "#!/bin/sh\necho "+path.Base(name)+" \"$@\" >>/run/log\nexit 1\n")
		s.run("chmod", "755", name)
	}
	s.write("/run/systemd/system/none", "")
}

// Where systemd runs, it is told of the units, and of nothing else: no service
// is started, restarted or stopped. A failure of systemctl is no failure of dpkg.
func TestDebOnlyReloadsSystemd(t *testing.T) {
	older := debIn(older(t), olderVersion, runtime.GOARCH)
	eachSuite(t, func(t *testing.T, s *system) {
		watchSystemd(s)
		for _, step := range []struct {
			what string
			do   func()
		}{
			{"install", func() { s.install(older) }},
			{"upgrade", func() { s.install(deb(t, runtime.GOARCH)) }},
			{"remove", func() { s.dpkg("--remove", "nm-cloud-seed") }},
		} {
			s.write("/run/log", "")
			step.do()
			if got := s.read("/run/log"); got != "systemctl daemon-reload\n" {
				t.Errorf("%s: got %q, want one daemon-reload", step.what, got)
			}
		}
		s.write("/run/log", "")
		s.dpkg("--purge", "nm-cloud-seed")
		if got := s.read("/run/log"); got != "" {
			t.Errorf("purge: got %q, want nothing", got)
		}
	})
}
