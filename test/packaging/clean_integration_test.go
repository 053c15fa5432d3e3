//go:build integration

package packaging

import (
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// cloud-init clean takes along what is of the instance: all that we keep for a
// later boot, and the link to our seed. What is not ours stays.
func TestCloudInitCleanRemovesInstanceData(t *testing.T) {
	eachSuite(t, func(t *testing.T, s *system) {
		s.write(seedLink+".before-nm-cloud-seed/meta-data", "theirs")
		s.write("/var/lib/cloud/seed/other/meta-data", "theirs")
		theirs := s.kept()
		s.install(deb(t, runtime.GOARCH))
		for _, what := range []string{"what there is", "nothing"} {
			if what != "nothing" {
				afterBoot(s)
			}
			s.clean()
			if diff := cmp.Diff(theirs, s.kept()); diff != "" {
				t.Errorf("after cleaning %s (-want +got):\n%s", what, diff)
			}
		}

		// Without the package, dpkg leaves the script behind, with the copy. The
		// seed that was put aside is in its place again.
		s.run("rm", "-r", "/run/nm-cloud-seed")
		afterBoot(s)
		s.run("dpkg", "--remove", "nm-cloud-seed")
		s.clean()
		for i, name := range theirs {
			theirs[i] = strings.Replace(name, ".before-nm-cloud-seed", "", 1)
		}
		slices.Sort(theirs)
		if diff := cmp.Diff(theirs, s.kept()); diff != "" {
			t.Errorf("after cleaning without the package (-want +got):\n%s", diff)
		}
		if _, err := os.Lstat(s.dir + cleanPart); err != nil {
			t.Error(err)
		}
	})
}

// A directory that is a link is not followed, and a seed that is not ours stays.
func TestCloudInitCleanKeepsForeignSeedAndLinkTarget(t *testing.T) {
	s := newSystem(t, "sid")
	s.install(deb(t, runtime.GOARCH))
	s.write("/srv/theirs", "")
	s.link("/srv", "/var/lib/nm-cloud-seed")
	for name, make := range foreignSeeds {
		make(s)
		before := s.list([]string{seedLink})
		s.clean()
		if after := s.list([]string{seedLink}); after != before {
			t.Errorf("%s: got %s, want %s", name, after, before)
		}
		s.run("rm", "-r", seedLink)
	}
	if _, err := os.Lstat(s.dir + "/srv/theirs"); err != nil {
		t.Error(err)
	}
}

// What cannot be deleted makes the clean fail, and the rest goes.
func TestCloudInitCleanFailsAndRemovesTheRest(t *testing.T) {
	s := newSystem(t, "sid")
	s.install(deb(t, runtime.GOARCH))
	s.write("/var/lib/cloud/seed/other/meta-data", "theirs")
	afterBoot(s)
	s.run("mount", "-t", "tmpfs", "tmpfs", "/var/lib/nm-cloud-seed/copy")
	if out, err := s.try("cloud-init", "clean"); err == nil || !strings.Contains(out, "50-nm-cloud-seed") {
		t.Errorf("got %v, %q, want an error that names 50-nm-cloud-seed", err, out)
	}
	if _, err := os.Lstat(s.dir + seedLink); err == nil {
		t.Errorf("got the link %s, want none", seedLink)
	}
}

func (s *system) clean() {
	s.t.Helper()
	if out := s.run("cloud-init", "clean"); out != "" {
		s.t.Errorf("cloud-init clean: got %q, want no output", out)
	}
}

// kept is the names of what would be in an image of the system.
func (s *system) kept() []string {
	s.t.Helper()
	names := slices.Sorted(maps.Keys(s.tree()))
	return slices.DeleteFunc(names, func(name string) bool {
		return !strings.HasPrefix(name, "/var/lib/cloud/seed/") && !strings.HasPrefix(name, "/var/lib/nm-cloud-seed")
	})
}
