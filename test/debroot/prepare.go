package debroot

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// Prepare builds those of the roots that are missing, one after the other, and
// reports each on out: on a terminal in one line that changes, otherwise in a
// line per root. It writes nothing if no root is missing. Each root that is
// complete stays when ctx ends; of the one that is being built nothing stays.
func Prepare(ctx context.Context, out *os.File, roots ...Root) error {
	s, err := openStore()
	if err != nil {
		return err
	}
	return s.prepare(ctx, out, term.IsTerminal(int(out.Fd())), roots)
}

func (s store) prepare(ctx context.Context, out io.Writer, terminal bool, wanted []Root) error {
	all := withBases(wanted)
	var missing []Root
	var size int64
	var duration time.Duration
	for _, r := range all {
		if err := r.check(); err != nil {
			return err
		}
		if !s.has(r) {
			missing = append(missing, r)
			bytes, d := r.cost()
			size, duration = size+bytes, duration+d
		}
	}
	if len(missing) == 0 {
		return nil
	}
	fmt.Fprintf(out, "%d of %d Debian roots are missing: about %s in %s and %s\n",
		len(missing), len(all), gigabytes(size), short(s.dir), minutes(duration))
	if err := s.checkSpace(size); err != nil {
		return err
	}
	for i, r := range missing {
		line := progress{out: out, terminal: terminal, text: fmt.Sprintf("[%d/%d] %s …", i+1, len(missing), r)}
		if err := line.during(func() error { return s.make(ctx, r) }); err != nil {
			return err
		}
	}
	return nil
}

// withBases returns the roots without duplicates, each after the one that it is
// built on.
func withBases(wanted []Root) (all []Root) {
	seen := map[string]bool{}
	for _, r := range wanted {
		if base, ok := r.base(); ok && !seen[base.name()] {
			seen[base.name()] = true
			all = append(all, base)
		}
		if !seen[r.name()] {
			seen[r.name()] = true
			all = append(all, r)
		}
	}
	return all
}

// cost returns what a root took on a machine with two cores and a fast network.
func (r Root) cost() (size int64, duration time.Duration) {
	switch {
	case r.onImage:
		return 40e6, 15 * time.Second
	case r.isImage():
		return 350e6, 2 * time.Minute
	}
	return 1.2e9, 3 * time.Minute
}

// spare is what stays free on the disk: mmdebstrap needs it for the packages
// that it has downloaded.
const spare = 300e6

func (s store) checkSpace(size int64) error {
	if err := os.MkdirAll(s.dir, 0o755); err != nil {
		return fmt.Errorf("cannot keep Debian roots: %w", err)
	}
	free, err := s.free(s.dir)
	if err != nil {
		return fmt.Errorf("cannot find out how much space is free in %s: %w", s.dir, err)
	}
	if free < size+spare {
		return fmt.Errorf("cannot build the Debian roots: %s are free in %s, %s are needed\n"+
			"free some space, or set XDG_CACHE_HOME to a directory on another disk",
			gigabytes(free), short(s.dir), gigabytes(size+spare))
	}
	return nil
}

func freeSpace(dir string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, &fs.PathError{Op: "statfs", Path: dir, Err: err}
	}
	return int64(st.Bavail) * st.Bsize, nil
}

func gigabytes(n int64) string { return fmt.Sprintf("%.1f GB", float64(n)/1e9) }

func minutes(d time.Duration) string {
	if n := int(math.Ceil(d.Minutes())); n > 1 {
		return fmt.Sprintf("%d minutes", n)
	}
	return "a minute"
}

// short returns a path with ~ for the home directory.
func short(dir string) string {
	home, err := os.UserHomeDir()
	if rest, ok := strings.CutPrefix(dir, home+string(filepath.Separator)); err == nil && ok {
		return filepath.Join("~", rest)
	}
	return dir
}

// progress is the line about one root.
type progress struct {
	out      io.Writer
	terminal bool
	text     string
}

// during shows the line while do runs, and the seconds that do has taken.
func (p progress) during(do func() error) error {
	began := time.Now()
	done := make(chan error, 1)
	go func() { done <- do() }()
	fmt.Fprint(p.out, p.text)
	var tick <-chan time.Time
	if p.terminal {
		ticker := time.NewTicker(time.Second)
		defer ticker.Stop()
		tick = ticker.C
	}
	for {
		select {
		case <-tick:
			fmt.Fprintf(p.out, "\r%s %.0f s", p.text, time.Since(began).Seconds())
		case err := <-done:
			switch {
			case err != nil:
				fmt.Fprintln(p.out)
			case p.terminal:
				fmt.Fprintf(p.out, "\r%s %.0f s\n", p.text, time.Since(began).Seconds())
			default:
				fmt.Fprintf(p.out, " %.0f s\n", time.Since(began).Seconds())
			}
			return err
		}
	}
}
