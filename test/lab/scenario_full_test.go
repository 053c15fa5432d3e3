//go:build integration

package lab_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nm-cloud-seed/nm-cloud-seed/internal/credentials"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/daemon"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/seed"
	"github.com/nm-cloud-seed/nm-cloud-seed/test/lab"
)

// File systems that are full, read-only or not there.

// room leaves this many pages and files free in /run, or enough if negative.
func (s *scenario) room(pages, files int) {
	s.Helper()
	var now unix.Statfs_t
	s.must(unix.Statfs("/run", &now))
	blocks, inodes := now.Blocks-now.Bfree+uint64(pages), now.Files-now.Ffree+uint64(files)
	if pages < 0 {
		blocks = 64 << 20 / uint64(now.Bsize)
	}
	if files < 0 {
		inodes = 10000
	}
	s.must(unix.Mount("", "/run", "", unix.MS_REMOUNT|unix.MS_NOSUID|unix.MS_NODEV, fmt.Sprintf("nr_blocks=%d,nr_inodes=%d", blocks, inodes)))
}

// tries is a run that may fail, then says all of these, and leaves the old seed.
func (c *crash) tries(e edition, says ...string) (seeded bool) {
	c.Helper()
	c.serves(e)
	old := c.seen()
	said, err := c.ends(20 * time.Second)
	got := c.seen()
	c.whole()
	switch {
	case err == nil && got != e.name:
		c.Errorf("got edition %q after a run that succeeded, want %q:\n%s", got, e.name, said)
	case err != nil && got != old:
		c.Errorf("got edition %q after a run that failed, want %q:\n%s", got, old, said)
	}
	if err != nil {
		c.lacks(err.Error(), says)
	}
	return err == nil
}

// lacks fails if a text does not say all of these.
func (c *crash) lacks(text string, says []string) {
	c.Helper()
	for _, what := range says {
		if !strings.Contains(strings.ToLower(text), strings.ToLower(what)) {
			c.Errorf("got %q, want %q in it", text, what)
		}
	}
}

// The reasons, and what to do about them.
var (
	noRoom     = []string{"no space left on device", "free some space on that file system"}
	isReadOnly = []string{"read-only file system", "remount that file system read-write"}
	isNoDir    = []string{"not a directory", "remove what stands in the directory's place"}
)

// /run is full from the start, or becomes full at any step of a run.
func TestFullRunDirectoryKeepsOldSeed(t *testing.T) {
	start(t, lab.Config{}, func(s *scenario) {
		c, seen := s.crash(), map[string]int{}
		try := func(pages, files int) { // left
			s.room(-1, -1)
			s.must(os.RemoveAll(daemon.RunDir))
			s.room(pages, files)
			says := noRoom
			if pages == 0 { // NetworkManager has no room for the connection, and its own words
				says = noRoom[:1]
			}
			first := c.tries(c.editions[0], says...)
			s.room(-1, -1)
			c.seeds(c.editions[0])
			s.room(pages, files)
			second := c.tries(c.editions[1], noRoom...)
			seen[fmt.Sprintf("first %t, second %t", first, second)]++
		}
		for _, pages := range []int{0, 1, 2, 3, 4, 6, 10, 40, 72, 74, 75, 76, 77, 78, 80, 90} {
			try(pages, -1)
		}
		for files := range 15 {
			try(-1, files)
		}
		s.Logf("seeded: %v", seen)
		for _, kind := range []string{"first false, second false", "first true, second true"} {
			if seen[kind] < 5 {
				s.Errorf("%s: got %d runs, want 5 or more, as the test shows little otherwise", kind, seen[kind])
			}
		}
	})
}

// readOnly remounts a directory.
func (s *scenario) readOnly(dir string) {
	s.Helper()
	s.must(unix.Mount(dir, dir, "", unix.MS_BIND, ""))
	s.must(unix.MountSetattr(unix.AT_FDCWD, dir, 0, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}))
}

// full replaces a directory by one on a file system that holds no more files, or,
// if there are some, no more data.
func (s *scenario) full(dir string) {
	s.Helper()
	s.must(os.MkdirAll(dir, 0o755))
	s.must(unix.Mount("tmpfs", dir, "tmpfs", 0, "mode=0755,nr_inodes=1"))
}

func (s *scenario) file(path string) {
	s.Helper()
	s.must(os.MkdirAll(filepath.Dir(path), 0o755))
	s.must(os.WriteFile(path, []byte("a file"), 0o644))
}

// What is wrong with /var/lib/cloud when a run begins, where there is edition "a"
// as ours, as somebody else's, or nothing.
func TestUnusableSeedDirectoryIsReported(t *testing.T) {
	ours := func(c *crash) { c.seeds(c.editions[0]) }
	foreign := func(c *crash) { c.must(seed.WriteDir(daemon.SeedLink, &c.editions[0].inst)) }
	for _, tt := range []struct {
		name   string
		before func(c *crash)
		cause  func(c *crash)
		what   string   // the error says; "" for a run that seeds
		why    []string // it says as well
	}{
		{"missing", nil, func(c *crash) { c.must(os.RemoveAll("/var/lib/cloud")) }, "", nil},
		{"read-only, with our link", ours, func(c *crash) { c.readOnly("/var/lib/cloud") }, "", nil},
		{"read-only, with a seed", foreign, func(c *crash) { c.readOnly("/var/lib/cloud") }, "cannot keep what stands at /var/lib/cloud/seed/cs aside", isReadOnly},
		{"read-only", nil, func(c *crash) { c.readOnly("/var/lib/cloud") }, "cannot create directory /var/lib/cloud/seed", isReadOnly},
		{"read-only, with seed", nil, func(c *crash) {
			c.must(os.MkdirAll("/var/lib/cloud/seed", 0o755))
			c.readOnly("/var/lib/cloud")
		}, "cannot link /var/lib/cloud/seed/cs", isReadOnly},
		{"missing, and /var/lib read-only", nil, func(c *crash) {
			c.must(os.RemoveAll("/var/lib/cloud"))
			c.readOnly("/var/lib")
		}, "cannot create directory /var/lib/cloud", isReadOnly},
		{"full", nil, func(c *crash) { c.full("/var/lib/cloud") }, "cannot create directory /var/lib/cloud/seed", noRoom},
		{"full, with seed", nil, func(c *crash) { c.full("/var/lib/cloud/seed") }, "cannot link /var/lib/cloud/seed/cs", noRoom},
		{"a file", nil, func(c *crash) {
			c.must(os.RemoveAll("/var/lib/cloud"))
			c.file("/var/lib/cloud")
		}, "cannot create directory /var/lib/cloud", isNoDir},
		{"seed is a file", nil, func(c *crash) { c.file("/var/lib/cloud/seed") }, "cannot create directory /var/lib/cloud/seed", isNoDir},
	} {
		t.Run(tt.name, func(t *testing.T) {
			start(t, lab.Config{}, func(s *scenario) {
				c := s.crash()
				c.serves(c.editions[1])
				if tt.before != nil {
					tt.before(c)
				}
				tt.cause(c)
				says := append([]string{"cannot write the seed: " + tt.what}, tt.why...)
				seeded := c.tries(c.editions[1], says...)
				if seeded != (tt.what == "") {
					s.Errorf("got seeded %t, want %t", seeded, tt.what == "")
				}
				if seeded {
					return
				}
				state, err := daemon.ReadState("")
				s.must(err)
				c.lacks(state.Error, says)
				c.lacks(read("/run/issue.d/nm-cloud-seed.issue"), says)
			})
		})
	}
}

// What is wrong with our own state: it costs no seed. Where it cannot be written,
// the journal says so.
func TestUnusableStateDirectoryCostsNoSeed(t *testing.T) {
	const dir = credentials.DefaultDir
	for _, tt := range []struct {
		name  string
		cause func(c *crash)
		says  []string // in the journal; nil for nothing
	}{
		{"missing", func(c *crash) { c.must(os.RemoveAll(dir)) }, nil},
		{"read-only", func(c *crash) { c.readOnly(dir) }, isReadOnly},
		{"missing, and /var/lib read-only", func(c *crash) {
			c.must(os.RemoveAll(dir))
			c.readOnly("/var/lib")
		}, isReadOnly},
		{"full", func(c *crash) { c.full(dir) }, noRoom},
		{"a file", func(c *crash) {
			c.must(os.RemoveAll(dir))
			c.file(dir)
		}, isNoDir},
	} {
		t.Run(tt.name, func(t *testing.T) {
			start(t, lab.Config{}, func(s *scenario) {
				c := s.crash()
				c.seeds(c.editions[0])
				record := read(records["ssh"])
				c.serves(c.editions[1])
				tt.cause(c)
				said := c.seeds(c.editions[1])
				c.whole()
				if c.lacks(said, tt.says); tt.says == nil && strings.Contains(said, dir) {
					s.Errorf("got this log, want it without %s:\n%s", dir, said)
				}
				if tt.name == "read-only" && read(records["ssh"]) != record {
					s.Errorf("got the record %q, want %q", read(records["ssh"]), record)
				}
			})
		})
	}
}
