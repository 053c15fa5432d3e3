package systemd

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// Write carries a plan out, in the generator's directories for normal and for
// early units. They and those below are made as needed. After an error, nothing
// of it is there: a network stage behind a service that nobody starts, or an
// empty file, which masks a unit, would be worse than nothing.
//
// Other generators write to the same directories at the same time. What one of
// them has written (systemd.mask= on the kernel command line) stays, and kept
// names it.
func (p Plan) Write(normal, early string) (kept []string, err error) {
	var written []string
	defer func() {
		if err != nil {
			for _, name := range written {
				err = errors.Join(err, os.Remove(name))
			}
		}
	}()
	for _, f := range p.inOrder() {
		name := filepath.Join(normal, f.Name)
		if f.Early {
			name = filepath.Join(early, f.Name)
		}
		switch err := f.write(name); {
		case errors.Is(err, fs.ErrExist):
			kept = append(kept, name)
		case err != nil:
			return kept, fmt.Errorf("cannot write unit files: %w", err)
		default:
			written = append(written, name)
		}
	}
	return kept, nil
}

// inOrder has the network stages after what makes room for them, and the links
// last: the first files alone do no harm, should we be killed.
func (p Plan) inOrder() []File {
	rank := func(f File) int {
		switch {
		case f.Link != "":
			return 2
		case slices.Contains(stageNames, f.Name):
			return 1
		}
		return 0
	}
	files := slices.Clone(p.Files)
	slices.SortStableFunc(files, func(a, b File) int { return rank(a) - rank(b) })
	return files
}

// write makes a file or a link, whole or not at all, in nobody's place.
func (f File) write(name string) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	if f.Link != "" {
		return os.Symlink(f.Link, name)
	}
	temp, err := os.CreateTemp(filepath.Dir(name), ".nm-cloud-seed-")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(temp.Name()) }()
	_, err = temp.WriteString(f.Text)
	err = errors.Join(err, temp.Chmod(0o644), temp.Close())
	if err == nil {
		err = os.Link(temp.Name(), name)
	}
	return err
}
