package systemd

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Write carries a plan out, in the generator's directories for normal and for
// early units. They and those below are made as needed.
func (p Plan) Write(normal, early string) error {
	for _, f := range p.Files {
		dir := normal
		if f.Early {
			dir = early
		}
		if err := f.write(dir); err != nil {
			return fmt.Errorf("cannot write unit files: %w", err)
		}
	}
	return nil
}

func (f File) write(dir string) error {
	name := filepath.Join(dir, f.Name)
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	// systemd gives us empty directories; by hand they may be used again.
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if f.Link != "" {
		return os.Symlink(f.Link, name)
	}
	return os.WriteFile(name, []byte(f.Text), 0o644)
}
