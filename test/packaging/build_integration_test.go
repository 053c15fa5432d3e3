//go:build integration

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

// dist returns the directory of the packages of a release and of the binaries in
// them, for all architectures. They are built once for all tests.
func dist(t *testing.T) string {
	t.Helper()
	dir, err := release()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

var release = sync.OnceValues(func() (dir string, err error) {
	if dir, err = os.MkdirTemp("", "release-"); err == nil { // TestMain removes it
		err = makePackages(dir)
	}
	return dir, err
})

func makePackages(dir string, args ...string) error {
	cmd := exec.Command("make", append([]string{"packages", "DIST=" + dir, "VERSION=v" + version}, args...)...)
	cmd.Dir = top
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("make packages: %w:\n%s", err, out)
	}
	return nil
}

// deb returns the path of the package for an architecture, by Go's name of it,
// which for these is Debian's, too.
func deb(t *testing.T, arch string) string {
	t.Helper()
	return debIn(dist(t), version, arch)
}

// rpm returns the path of the rpm for an architecture, by Go's name of it.
func rpm(t *testing.T, arch string) string {
	t.Helper()
	return rpmIn(dist(t), version, arch)
}

func debIn(dir, version, arch string) string {
	return filepath.Join(dir, "nm-cloud-seed_"+version+"_"+arch+".deb")
}

// rpmArch is rpm's names of architectures, by Go's.
var rpmArch = map[string]string{"amd64": "x86_64", "arm64": "aarch64"}

func rpmIn(dir, version, arch string) string {
	return filepath.Join(dir, "nm-cloud-seed-"+version+"-1."+rpmArch[arch]+".rpm")
}

func TestPackagesHaveStaticBinaryOfEachArchitecture(t *testing.T) {
	for arch, machine := range map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64} {
		if out, err := run(t, "dpkg", "dpkg-deb", "--field", deb(t, arch), "Version", "Architecture"); err != nil ||
			out != "Version: "+version+"\nArchitecture: "+arch+"\n" {
			t.Errorf("the deb's version and architecture: got %q, %v, want %s and %s", out, err, version, arch)
		}
		if out, err := run(t, "rpm", "rpm", "-qp", "--qf", "%{NEVRA}", rpm(t, arch)); err != nil ||
			out != "nm-cloud-seed-"+version+"-1."+rpmArch[arch] {
			t.Errorf("the rpm's name: got %q, %v, want nm-cloud-seed-%s-1.%s", out, err, version, rpmArch[arch])
		}
		debRoot, rpmRoot := t.TempDir(), t.TempDir()
		if out, err := run(t, "dpkg", "dpkg-deb", "--extract", deb(t, arch), debRoot); err != nil {
			t.Fatal(out, err)
		}
		if out, err := run(t, "rpm", "rpm", rpmOn(rpmRoot, "--install", "--ignorearch", "--nodeps", "--noscripts", rpm(t, arch))...); err != nil {
			t.Fatal(out, err)
		}
		alone, err := os.ReadFile(filepath.Join(dist(t), "nm-cloud-seed-linux-"+arch))
		if err != nil {
			t.Fatal(err)
		}
		for _, root := range []string{debRoot, rpmRoot} {
			packed, err := os.ReadFile(filepath.Join(root, "usr/bin/nm-cloud-seed"))
			if err != nil || !bytes.Equal(packed, alone) {
				t.Errorf("%s: got %d bytes, %v, want the %d bytes of the binary beside the package", arch, len(packed), err, len(alone))
			}
		}
		f, err := elf.NewFile(bytes.NewReader(alone))
		if err != nil {
			t.Fatal(err)
		}
		if f.Machine != machine {
			t.Errorf("%s: got a binary for %v, want %v", arch, f.Machine, machine)
		}
		for _, p := range f.Progs {
			if p.Type == elf.PT_INTERP {
				t.Errorf("%s: got a binary with an interpreter, want a static one", arch)
			}
		}
	}
}

// A second build gives the same files with another umask and time zone.
func TestPackagesAreReproducible(t *testing.T) {
	t.Parallel()
	released, dir := dist(t), t.TempDir()
	cmd := exec.CommandContext(t.Context(), "sh", "-c", `umask 077; exec make packages "$@"`, "sh",
		"DIST="+dir, "VERSION=v"+version, "ARCHES="+runtime.GOARCH)
	cmd.Dir, cmd.Env = top, append(os.Environ(), "TZ=Asia/Tokyo")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v:\n%s", err, out)
	}
	for _, path := range []func(dir, version, arch string) string{debIn, rpmIn} {
		a, errA := os.ReadFile(path(released, version, runtime.GOARCH))
		b, errB := os.ReadFile(path(dir, version, runtime.GOARCH))
		if errA != nil || errB != nil || !bytes.Equal(a, b) {
			t.Errorf("got two builds of %d and %d bytes that differ, %v, %v, want the same", len(a), len(b), errA, errB)
		}
	}
}

// Each version comes after the one before, for dpkg and for rpm.
func TestPackageVersionsSortInOrderOfCommits(t *testing.T) {
	last := "0"
	for _, tt := range versions {
		if tt.want == "" {
			continue
		}
		if out, err := run(t, "dpkg", "dpkg", "--compare-versions", last, "lt", tt.want); err != nil {
			t.Errorf("dpkg --compare-versions %s lt %s: got %v %s, want true", last, tt.want, err, out)
		}
		if out, err := run(t, "rpm", "rpm", "--eval", fmt.Sprintf("%%{lua: print(rpm.vercmp('%s', '%s'))}", last, tt.want)); err != nil || out != "-1\n" {
			t.Errorf("rpm: comparing %s with %s: got %q, %v, want -1", last, tt.want, out, err)
		}
		last = tt.want
	}
}

func TestChangelogBecomesDebianChangelog(t *testing.T) {
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
		t.Errorf("got %v\n%s\nwant\n%s", err, out, want)
	}
}

// The program reports the version that git describes, the packages have the one
// that can be sorted.
func TestProgramAndPackagesHaveDevelopmentVersion(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := makePackages(dir, "VERSION=v0.1.0-3-ge0bba2e", "ARCHES="+runtime.GOARCH); err != nil {
		t.Fatal(err)
	}
	const sortable = "0.1.0+3.ge0bba2e"
	if out, err := run(t, "dpkg", "dpkg-deb", "--field", debIn(dir, sortable, runtime.GOARCH), "Version"); err != nil || out != sortable+"\n" {
		t.Errorf("the deb's version: got %q, %v, want %q", out, err, sortable)
	}
	if out, err := run(t, "rpm", "rpm", "-qp", "--qf", "%{VERSION}", rpmIn(dir, sortable, runtime.GOARCH)); err != nil || out != sortable {
		t.Errorf("the rpm's version: got %q, %v, want %q", out, err, sortable)
	}
	out, err := run(t, "", filepath.Join(dir, "nm-cloud-seed-linux-"+runtime.GOARCH), "version")
	if err != nil || !regexp.MustCompile(`^nm-cloud-seed v0\.1\.0-3-ge0bba2e `).MatchString(out) {
		t.Errorf("the program's version: got %q, %v, want v0.1.0-3-ge0bba2e", out, err)
	}
}
