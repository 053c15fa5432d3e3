// Package packaging proves the deb and the rpm: what is in them, and that they
// come, stay and go as they should, the deb in the real systems of Debian
// releases, the rpm by rpm's own tools in one of these.
package packaging

import (
	"bytes"
	"debug/elf"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"
)

const version = "0.1.0"

// top is where make works.
const top = "../.."

// dist is where the packages are, for all tests.
var dist string

// built makes the packages of a release.
var built = sync.OnceValue(func() error { return makePackages(dist) })

func TestMain(m *testing.M) {
	status := 1
	var err error
	if dist, err = os.MkdirTemp("", "nm-cloud-seed-packages-"); err == nil {
		status = m.Run()
		err = os.RemoveAll(dist)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(status)
}

func makePackages(dir string, args ...string) error {
	cmd := exec.Command("make", append([]string{"packages", "DIST=" + dir, "VERSION=v" + version}, args...)...)
	cmd.Dir = top
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("make packages: %w:\n%s", err, out)
	}
	return nil
}

// deb is the path of the package for an architecture, by Go's name of it, which
// for these is Debian's, too.
func deb(t *testing.T, arch string) string {
	t.Helper()
	needBuilt(t)
	return debIn(dist, version, arch)
}

// rpm is the path of the rpm for an architecture, by Go's name of it.
func rpm(t *testing.T, arch string) string {
	t.Helper()
	needBuilt(t)
	return rpmIn(dist, version, arch)
}

func needBuilt(t *testing.T) {
	t.Helper()
	if err := built(); err != nil {
		t.Fatal(err)
	}
}

func debIn(dir, version, arch string) string {
	return filepath.Join(dir, "nm-cloud-seed_"+version+"_"+arch+".deb")
}

// rpmArch is rpm's names of architectures, by Go's.
var rpmArch = map[string]string{"amd64": "x86_64", "arm64": "aarch64"}

func rpmIn(dir, version, arch string) string {
	return filepath.Join(dir, "nm-cloud-seed-"+version+"-1."+rpmArch[arch]+".rpm")
}

// run is the output of a program, which a Debian package has.
func run(t *testing.T, pkg, name string, args ...string) (string, error) {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("this test needs %s: install the Debian package %s", name, pkg)
	}
	out, err := exec.CommandContext(t.Context(), path, args...).CombinedOutput()
	return string(out), err
}

func TestBothArchitectures(t *testing.T) {
	for arch, machine := range map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64} {
		if out, err := run(t, "dpkg", "dpkg-deb", "--field", deb(t, arch), "Version", "Architecture"); err != nil ||
			out != "Version: "+version+"\nArchitecture: "+arch+"\n" {
			t.Errorf("%s: %q, %v", arch, out, err)
		}
		if out, err := run(t, "rpm", "rpm", "-qp", "--qf", "%{NEVRA}", rpm(t, arch)); err != nil ||
			out != "nm-cloud-seed-"+version+"-1."+rpmArch[arch] {
			t.Errorf("%s: %q, %v", arch, out, err)
		}
		debRoot, rpmRoot := t.TempDir(), t.TempDir()
		if out, err := run(t, "dpkg", "dpkg-deb", "--extract", deb(t, arch), debRoot); err != nil {
			t.Fatal(out, err)
		}
		if out, err := run(t, "rpm", "rpm", rpmOn(rpmRoot, "--install", "--ignorearch", "--nodeps", "--noscripts", rpm(t, arch))...); err != nil {
			t.Fatal(out, err)
		}
		alone, err := os.ReadFile(filepath.Join(dist, "nm-cloud-seed-linux-"+arch))
		if err != nil {
			t.Fatal(err)
		}
		for _, root := range []string{debRoot, rpmRoot} {
			packed, err := os.ReadFile(filepath.Join(root, "usr/bin/nm-cloud-seed"))
			if err != nil || !bytes.Equal(packed, alone) {
				t.Errorf("%s: the binary beside the package is another one: %v", arch, err)
			}
		}
		f, err := elf.NewFile(bytes.NewReader(alone))
		if err != nil {
			t.Fatal(err)
		}
		if f.Machine != machine {
			t.Errorf("%s: built for %v", arch, f.Machine)
		}
		for _, p := range f.Progs {
			if p.Type == elf.PT_INTERP {
				t.Errorf("%s: not static", arch)
			}
		}
	}
}

// Who builds them again gets the same files, whatever his umask and time zone.
func TestReproducible(t *testing.T) {
	needBuilt(t)
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), "sh", "-c", `umask 077; exec make packages "$@"`, "sh",
		"DIST="+dir, "VERSION=v"+version, "ARCHES="+runtime.GOARCH)
	cmd.Dir, cmd.Env = top, append(os.Environ(), "TZ=Asia/Tokyo")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v:\n%s", err, out)
	}
	for _, path := range []func(dir, version, arch string) string{debIn, rpmIn} {
		a, errA := os.ReadFile(path(dist, version, runtime.GOARCH))
		b, errB := os.ReadFile(path(dir, version, runtime.GOARCH))
		if errA != nil || errB != nil || !bytes.Equal(a, b) {
			t.Errorf("two builds differ: %d and %d bytes, %v, %v", len(a), len(b), errA, errB)
		}
	}
}

// In dpkg's order, which is rpm's, too.
func TestVersions(t *testing.T) {
	last := "0"
	for _, tt := range []struct{ described, want string }{
		{"e0bba2e", "0.0.0+20261122155612.ge0bba2e"},
		{"e0bba2e-dirty", "0.0.0+20261122155612.ge0bba2e.dirty"},
		{"unknown", "0.0.0+20261122155612.unknown"},
		{"v0.1.0-rc1", "0.1.0~rc1"},
		{"v0.1.0-rc1-2-ge0bba2e", "0.1.0~rc1+2.ge0bba2e"},
		{"v0.1.0-rc.2", "0.1.0~rc.2"},
		{"v0.1.0", "0.1.0"},
		{"v0.1.0-dirty", "0.1.0+0.dirty"},
		{"v0.1.0-3-ge0bba2e", "0.1.0+3.ge0bba2e"},
		{"v0.1.0-3-ge0bba2e-dirty", "0.1.0+3.ge0bba2e.dirty"},
		{"v0.1.0-10-g0123456", "0.1.0+10.g0123456"},
		{"0.1.1", "0.1.1"},
		{"v0.10.0", "0.10.0"},
		{"v1.0", "1.0"},
		{"main", ""},
		{"", ""},
		{"v1.0 beta", ""},
		{"1.0/2", ""},
	} {
		cmd := exec.CommandContext(t.Context(), top+"/packaging/version", tt.described)
		cmd.Env = append(os.Environ(), "SOURCE_DATE_EPOCH=1795362972")
		out, err := cmd.Output()
		got := strings.TrimSpace(string(out))
		if got != tt.want || (err != nil) != (tt.want == "") {
			t.Errorf("%q gives %q, %v; want %q", tt.described, got, err, tt.want)
			continue
		}
		if tt.want == "" {
			continue
		}
		if out, err := run(t, "dpkg", "dpkg", "--compare-versions", last, "lt", got); err != nil {
			t.Errorf("%s does not come before %s: %s", last, got, out)
		}
		if out, err := run(t, "rpm", "rpm", "--eval", fmt.Sprintf("%%{lua: print(rpm.vercmp('%s', '%s'))}", last, got)); err != nil || out != "-1\n" {
			t.Errorf("to rpm, %s does not come before %s: %q, %v", last, got, out, err)
		}
		last = got
	}
}

func TestChangelog(t *testing.T) {
	const text = `# Changelog

All notable changes.

## [Unreleased]

### Added

- One thing,
  told in two lines, the two of which have to become lines of another length.

### Fixed

- Another thing.

## [0.0.2] - 2026-03-01

## [0.0.1] - 2026-02-28

- The first one.

[0.0.1]: https://example.org/0.0.1
`
	const want = `nm-cloud-seed (0.1.0) unstable; urgency=medium

  [ Added ]
  * One thing, told in two lines, the two of which have to become lines of
    another length.

  [ Fixed ]
  * Another thing.

 -- A <a@example.org>  Sun, 22 Nov 2026 15:56:12 +0000

nm-cloud-seed (0.0.1) unstable; urgency=medium

  * The first one.

 -- A <a@example.org>  Sat, 28 Feb 2026 12:00:00 +0000

`
	cmd := exec.CommandContext(t.Context(), top+"/packaging/changelog",
		"-v", "version=0.1.0", "-v", "date=Sun, 22 Nov 2026 15:56:12 +0000", "-v", "maintainer=A <a@example.org>")
	cmd.Stdin = strings.NewReader(text)
	out, err := cmd.CombinedOutput()
	if err != nil || string(out) != want {
		t.Errorf("%v:\n%s", err, out)
	}
}

// The program says the version that git describes, the packages the one that
// can be sorted.
func TestDevelopmentVersion(t *testing.T) {
	dir := t.TempDir()
	if err := makePackages(dir, "VERSION=v0.1.0-3-ge0bba2e", "ARCHES="+runtime.GOARCH); err != nil {
		t.Fatal(err)
	}
	const sortable = "0.1.0+3.ge0bba2e"
	if out, err := run(t, "dpkg", "dpkg-deb", "--field", debIn(dir, sortable, runtime.GOARCH), "Version"); err != nil || out != sortable+"\n" {
		t.Errorf("%q, %v", out, err)
	}
	if out, err := run(t, "rpm", "rpm", "-qp", "--qf", "%{VERSION}", rpmIn(dir, sortable, runtime.GOARCH)); err != nil || out != sortable {
		t.Errorf("%q, %v", out, err)
	}
	out, err := run(t, "", filepath.Join(dir, "nm-cloud-seed-linux-"+runtime.GOARCH), "version")
	if err != nil || !regexp.MustCompile(`^nm-cloud-seed v0\.1\.0-3-ge0bba2e `).MatchString(out) {
		t.Errorf("%q, %v", out, err)
	}
}
