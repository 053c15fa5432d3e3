package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

func TestCloudInitIsUnpackedOnce(t *testing.T) {
	var builds atomic.Int32
	c := cloudInit{filepath.Join(t.TempDir(), "cache", "x"), func(_ context.Context, dir, tmp string) error {
		builds.Add(1)
		return errors.Join(os.WriteFile(filepath.Join(dir, "file"), nil, 0o600), os.WriteFile(filepath.Join(tmp, "file"), nil, 0o600))
	}}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if err := c.make(t.Context()); err != nil {
				t.Error(err)
			}
			if _, err := os.Stat(filepath.Join(c.dir, "file")); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if got := builds.Load(); got != 1 {
		t.Errorf("got %d builds, want 1", got)
	}
	checkOnly(t, filepath.Dir(c.dir), "x", "x.lock")
}

func TestFailedUnpackingLeavesNothing(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	c := cloudInit{filepath.Join(t.TempDir(), "x"), func(ctx context.Context, dir, _ string) error {
		if err := os.WriteFile(filepath.Join(dir, "half"), nil, 0o600); err != nil {
			return err
		}
		cancel()
		return ctx.Err()
	}}
	killed := filepath.Join(c.dir+".unfinished", "root", "file")
	if err := os.MkdirAll(killed, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := c.make(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got error %v, want %v", err, context.Canceled)
	}
	checkOnly(t, filepath.Dir(c.dir), "x.lock")
}

func TestMissingProgramNamesItsPackage(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	for name, pkg := range map[string]string{"mmdebstrap": "mmdebstrap", "apt-get": "apt"} {
		_, err := run(t.Context(), nil, name)
		if want := "Debian package " + pkg; err == nil || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("%s: got error %v, want one with %q", name, err, want)
		}
	}
}

// checkOnly wants these entries of a directory, sorted.
func checkOnly(t *testing.T, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("%s: got %q, want %q", dir, got, want)
	}
}
