package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// What a boot's directory has besides what boot-report writes.
const (
	consoleFile = "console"
	journalFile = "journal"
	dhcpFile    = "dhcp" // what the DHCP server of the virtual router logged
	outcomeFile = "outcome.json"
)

// outcome is what is seen of a boot from outside.
type outcome struct {
	Took     time.Duration
	Virtual  bool     `json:",omitempty"` // not in a container
	Cut      bool     `json:",omitempty"` // the power was cut, as it should be
	Error    string   `json:",omitempty"` // it did not boot, or did not power off
	Requests []string `json:",omitempty"` // to the virtual router
}

var notInNames = regexp.MustCompile(`[^a-z0-9]+`)

// bootDir is the name of the directory of a scenario's boot n, counted from 0.
func bootDir(n int, b boot) string {
	return fmt.Sprintf("%d-%s", n+1, notInNames.ReplaceAllString(strings.ToLower(b.what), "-"))
}

// collect copies what a boot left in the image to dir.
func (w *world) collect(ctx context.Context, dir string, o outcome) (err error) {
	if !o.Cut {
		if err := w.copyOut(filepath.Join(guestReport, w.lastReport()), dir); err != nil && o.Error == "" {
			o.Error = err.Error()
		}
		// The system's own journalctl: another's may not know the format. It has
		// the shutdown, too.
		journal, err := w.image.output(ctx, "journalctl", "--directory=/var/log/journal", "--boot", "--no-pager",
			"--output=short-monotonic", "--no-hostname", "--all")
		if err != nil && o.Error == "" {
			o.Error = err.Error()
		}
		if err := w.artifacts.WriteFile(path.Join(dir, journalFile), []byte(journal), 0o644); err != nil {
			return err
		}
	}
	text, err := json.MarshalIndent(o, "", "  ")
	return errors.Join(err, w.artifacts.WriteFile(path.Join(dir, outcomeFile), text, 0o644))
}

// lastReport is the name of the newest report. A boot whose power was cut may
// have begun one.
func (w *world) lastReport() string {
	last := 0
	entries, _ := os.ReadDir(w.image.path(guestReport)) // none: there is no 0, either
	for _, e := range entries {
		if n, err := strconv.Atoi(e.Name()); err == nil {
			last = max(last, n)
		}
	}
	return strconv.Itoa(last)
}

// copyOut copies the files of a directory of the image. Links and what else
// there may be are of no interest.
func (w *world) copyOut(from, to string) error {
	source := w.image.path(from)
	return filepath.WalkDir(source, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(source, name)
		if err != nil {
			return err
		}
		target := path.Join(to, rel)
		switch {
		case d.IsDir():
			if rel == "." {
				return nil
			}
			return w.artifacts.Mkdir(target, 0o755)
		case d.Type()&fs.ModeSymlink != 0:
			// A generator's: its name is what counts.
			to, err := os.Readlink(name)
			if err != nil {
				return err
			}
			return w.artifacts.WriteFile(target, []byte("-> "+to+"\n"), 0o644)
		case !d.Type().IsRegular():
			return nil
		}
		data, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		return w.artifacts.WriteFile(target, data, 0o644)
	})
}
