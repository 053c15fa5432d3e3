package debroot

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// fakeStore keeps roots that build makes.
func fakeStore(t *testing.T, build func(ctx context.Context, dir string, r Root, base string) error) store {
	return store{t.TempDir(), build, func(string) (int64, error) { return 1 << 50, nil }}
}

func buildNothing(context.Context, string, Root, string) error { return nil }

// With fake time, the build ends only when all others wait for its lock.
func TestRootIsBuiltOnceForAllCallers(t *testing.T) {
	var builds atomic.Int32
	s := fakeStore(t, func(_ context.Context, dir string, _ Root, _ string) error {
		builds.Add(1)
		time.Sleep(time.Second)
		return os.WriteFile(filepath.Join(dir, "complete"), nil, 0o600)
	})
	root := System("sid", "dash")
	synctest.Test(t, func(t *testing.T) {
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				if err := s.make(t.Context(), root); err != nil {
					t.Error(err)
					return
				}
				dir, err := s.open(root)
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := os.Stat(filepath.Join(dir, "complete")); err != nil {
					t.Error(err)
				}
				if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o755 {
					t.Errorf("the root: got %v, %v, want the mode 0755", info, err)
				}
			})
		}
		all.Wait()
	})
	if got := builds.Load(); got != 1 {
		t.Errorf("got %d builds, want 1", got)
	}
}

func TestRootNamesDiffer(t *testing.T) {
	seen := map[string]Root{}
	for _, r := range []Root{
		System("sid", "a1"), System("trixie", "a1"), System("sid", "a1", "b1"), System("sid", "a1b1"),
		Image("sid"), Image("trixie"), Image("sid", "a1"), Image("sid", "b1"),
	} {
		if other, found := seen[r.name()]; found {
			t.Errorf("got the directory %s for %v and for %v, want two", r.name(), r, other)
		}
		seen[r.name()] = r
	}
	if a, b := System("sid", "a1", "b1"), System("sid", "b1", "a1", "b1"); a.name() != b.name() {
		t.Errorf("got %s and %s for the same packages, want one name", a.name(), b.name())
	}
}

func TestFailedBuildLeavesNothing(t *testing.T) {
	noArchive := errors.New("no archive")
	s := fakeStore(t, func(_ context.Context, dir string, _ Root, _ string) error {
		return errors.Join(noArchive, os.WriteFile(filepath.Join(dir, "half"), nil, 0o600))
	})
	if err := s.make(t.Context(), System("sid", "dash")); !errors.Is(err, noArchive) {
		t.Errorf("got the error %v, want %v", err, noArchive)
	}
	if left, _ := filepath.Glob(filepath.Join(s.dir, "*[^k]")); len(left) != 0 { // .lock stays
		t.Errorf("got %q, want nothing to be left", left)
	}
}

func TestBuildRemovesWhatKilledOneLeft(t *testing.T) {
	s, root := fakeStore(t, buildNothing), System("sid", "dash")
	killed := s.path(root) + ".unfinished-1"
	if err := os.MkdirAll(filepath.Join(killed, "usr"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := s.make(t.Context(), root); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(killed); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the killed build's directory: got %v, want %v", err, os.ErrNotExist)
	}
}

func TestWaitForOtherBuildEndsWithContext(t *testing.T) {
	root := System("sid", "dash")
	synctest.Test(t, func(t *testing.T) {
		var s store
		s = fakeStore(t, func(context.Context, string, Root, string) error {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			return s.make(ctx, root) // waits for the lock of the build that it is in
		})
		if err := s.make(t.Context(), root); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got the error %v, want %v", err, context.DeadlineExceeded)
		}
	})
}

func TestErrorNamesMissingProgramOrBadPackage(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	for name, pkg := range tools {
		want := "install the Debian package " + pkg
		if _, err := command(t.Context(), name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got the error %v, want %q in it", name, err, want)
		}
	}
	for _, r := range []Root{System("buster", "dash"), System("sid"), System("sid", "a,b"), System("sid", "--x"), System("sid", "")} {
		if err := fakeStore(t, buildNothing).make(t.Context(), r); err == nil {
			t.Errorf("%q: got no error, want one", r)
		}
	}
}

func TestOpenNamesCommandThatPreparesRoot(t *testing.T) {
	for want, r := range map[string]Root{
		"run: make needs-test":   Image("trixie"),
		"run: make needs-boot":   Image("trixie", "dbus-broker"),
		"run: make needs-images": sets()["images"][1],
		"test/debroot/sets.go":   Image("trixie", "dash"),
	} {
		s := fakeStore(t, buildNothing)
		if dir, err := s.open(r); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %q, %v, want an error with %q", r, dir, err, want)
		}
		if err := s.make(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		if dir, err := s.open(r); err != nil || dir != s.path(r) {
			t.Errorf("%s: got %q, %v, want %q", r, dir, err, s.path(r))
		}
	}
}

// A root with further packages comes after its base, which is counted, too.
func TestPrepareReportsEachMissingRoot(t *testing.T) {
	for _, tt := range []struct {
		name     string
		terminal bool
		line     string
	}{
		{"plain", false, "[2/2] sid with dash … 3 s\n"},
		{"terminal", true, "[2/2] sid with dash …\r[2/2] sid with dash … 1 s\r[2/2] sid with dash … 2 s\r[2/2] sid with dash … 3 s\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := fakeStore(t, func(_ context.Context, _ string, r Root, base string) error {
					if _, ok := r.base(); ok {
						if _, err := os.Stat(base); err != nil {
							t.Errorf("the base of %s: %v", r, err)
						}
						time.Sleep(2900 * time.Millisecond)
					}
					return nil
				})
				wanted := []Root{Image("trixie"), Image("sid", "dash"), Image("trixie")}
				if err := s.make(t.Context(), Image("trixie")); err != nil {
					t.Fatal(err)
				}
				var out bytes.Buffer
				if err := s.prepare(t.Context(), &out, tt.terminal, wanted); err != nil {
					t.Fatal(err)
				}
				head := "2 of 3 Debian roots are missing: about 0.4 GB in " + s.dir + " and 3 minutes\n"
				if got := out.String(); !strings.HasPrefix(got, head) || !strings.HasSuffix(got, tt.line) {
					t.Errorf("got %q, want %q at its begin and %q at its end", got, head, tt.line)
				}
				out.Reset()
				if err := s.prepare(t.Context(), &out, tt.terminal, wanted); err != nil || out.Len() != 0 {
					t.Errorf("with nothing missing: got %q, %v, want nothing", &out, err)
				}
			})
		})
	}
}

func TestPrepareGoesOnAfterInterrupt(t *testing.T) {
	ctx, interrupt := context.WithCancel(t.Context())
	var built []string
	s := fakeStore(t, func(ctx context.Context, _ string, r Root, _ string) error {
		if r.suite == "sid" && ctx.Done() != nil && ctx.Err() == nil && len(built) == 1 {
			interrupt()
			return ctx.Err()
		}
		built = append(built, r.suite)
		return nil
	})
	wanted := []Root{Image("bookworm"), Image("sid"), Image("trixie")}
	var out bytes.Buffer
	if err := s.prepare(ctx, &out, false, wanted); !errors.Is(err, context.Canceled) {
		t.Errorf("got the error %v, want %v", err, context.Canceled)
	}
	out.Reset()
	built = append(built, "interrupted")
	if err := s.prepare(t.Context(), &out, false, wanted); err != nil {
		t.Error(err)
	}
	if got, want := strings.Join(built, " "), "bookworm interrupted sid trixie"; got != want {
		t.Errorf("got builds of %s, want %s", got, want)
	}
	if want := "2 of 3 Debian roots are missing"; !strings.HasPrefix(out.String(), want) {
		t.Errorf("got %q, want %q at its begin", &out, want)
	}
}

func TestPrepareWithTooLittleSpaceBuildsNothing(t *testing.T) {
	s := fakeStore(t, func(context.Context, string, Root, string) error {
		t.Error("got a build, want none")
		return nil
	})
	s.free = func(string) (int64, error) { return 500e6, nil }
	const want = "0.5 GB are free"
	if err := s.prepare(t.Context(), &bytes.Buffer{}, false, []Root{Image("sid")}); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got the error %v, want %q in it", err, want)
	}
}
