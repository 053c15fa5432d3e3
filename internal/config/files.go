package config

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/nm-cloud-seed/nm-cloud-seed/internal/rootfs"
)

// Where configuration is read, relative to the root directory.
const (
	vendorDir = "usr/lib/nm-cloud-seed/conf.d"
	mainFile  = "etc/nm-cloud-seed.conf"
	adminDir  = "etc/nm-cloud-seed.conf.d"
)

// Limits: enough for any configuration, little enough for an early boot.
const (
	maxFileSize = 64 << 10
	maxFiles    = 64
	maxEntries  = 1024 // of a directory
	maxProblems = 10
)

// files lists what to read, in order.
func files(fsys fs.FS, root string, p *problems) []string {
	vendor, admin := confs(fsys, root, vendorDir, p), confs(fsys, root, adminDir, p)
	var names []string
	for _, name := range vendor {
		if !slices.Contains(admin, name) { // otherwise masked
			names = append(names, vendorDir+"/"+name)
		}
	}
	names = append(names, mainFile)
	for _, name := range admin {
		names = append(names, adminDir+"/"+name)
	}
	if len(names) > maxFiles {
		p.add("%d files, at most %d are read (merge some)", len(names), maxFiles)
		names = names[:maxFiles]
	}
	return names
}

// confs lists the names in a directory that end in .conf, sorted. Hidden files
// are editors' and package managers' leftovers.
func confs(fsys fs.FS, root, dir string, p *problems) []string {
	entries, err := rootfs.List(fsys, dir, maxEntries)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		p.add("%s/%s: %s", root, dir, rootfs.Reason(err))
	}
	var names []string
	for _, e := range entries {
		if name := e.Name(); strings.HasSuffix(name, ".conf") && !strings.HasPrefix(name, ".") {
			names = append(names, name)
		}
	}
	return names
}

// read is nothing for a missing file and for a link to /dev/null, which is how
// one masks a vendor's file.
func read(fsys fs.FS, name string) ([]byte, error) {
	if target, err := fs.ReadLink(fsys, name); err == nil && target == "/dev/null" {
		return nil, nil
	}
	data, err := rootfs.Read(fsys, name, maxFileSize)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return data, err
}

// problems collects what is wrong, one line each.
type problems struct {
	errs []error
	more int
}

func (p *problems) add(format string, args ...any) {
	if len(p.errs) == maxProblems {
		p.more++
		return
	}
	p.errs = append(p.errs, problem(fmt.Sprintf(format, args...)))
}

func (p *problems) err() error {
	errs := p.errs
	if p.more > 0 {
		errs = append(errs, problem(fmt.Sprintf("%d more problems", p.more)))
	}
	return errors.Join(errs...) // nil if there are none
}

func problem(text string) error {
	return errors.New("cannot read configuration: " + text)
}
