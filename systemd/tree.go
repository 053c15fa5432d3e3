package systemd

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/nm-cloud-seed/nm-cloud-seed/internal/rootfs"
)

// Limits: far more than any system has, little enough for an early boot.
const (
	maxFileSize = 256 << 10
	maxEntries  = 8192 // of one directory
	maxFiles    = 16384
	maxTotal    = 32 << 20 // bytes of them all
	maxNotes    = 50
)

// Where units are looked for, first come, first served: systemd.unit(5), as of
// systemd-analyze unit-paths. Transient units do not exist at boot. What
// generators have written is not read, but stands for what we know they write:
// they run at the same time as we do, and leave old output at daemon-reload.
var searchPath = []string{
	"etc/systemd/system.control",
	"run/systemd/system.control",
	earlyDir,
	"etc/systemd/system",
	"etc/systemd/system.attached",
	"run/systemd/system",
	"run/systemd/system.attached",
	normalDir,
	"usr/local/lib/systemd/system",
	"lib/systemd/system",
	"usr/lib/systemd/system",
}

const (
	earlyDir  = "run/systemd/generator.early"
	normalDir = "run/systemd/generator"
)

// file is a unit file, a drop-in or a link.
type file struct {
	path     string // "/usr/lib/systemd/system/x.service"
	alias    string // the unit's real name, if this is another one
	masked   bool   // nothing is to be loaded
	broken   bool   // something is, but we could not read it
	text     string
	settings settings
}

// dir is one directory of the search path.
type dir struct {
	name  string
	files map[string]*file
	// subs are directories with the files that go with a unit: x.service.d,
	// x.target.wants. In the latter only names count, and whether they are masked.
	subs map[string]map[string]*file
}

func newDir(name string) *dir {
	return &dir{name: name, files: make(map[string]*file), subs: make(map[string]map[string]*file)}
}

// put adds a file at a path below the directory.
func (d *dir) put(name string, f *file) {
	f.path = "/" + d.name + "/" + name
	sub, base := path.Split(name)
	if sub == "" {
		d.files[base] = f
		return
	}
	sub = path.Clean(sub)
	if d.subs[sub] == nil {
		d.subs[sub] = make(map[string]*file)
	}
	d.subs[sub][base] = f
}

// reader reads the directories of the search path.
type reader struct {
	fsys  fs.FS
	root  string
	links *rootfs.Links
	files int
	bytes int
	real  map[string]bool // where the directories of the search path really are
	notes *notes
}

// notes are what a person should know, of hostile lengths bounded.
type notes struct {
	list []string
	more int
}

func (n *notes) add(format string, args ...any) {
	if len(n.list) == maxNotes {
		n.more++
		return
	}
	n.list = append(n.list, fmt.Sprintf(format, args...))
}

func (n *notes) all() []string {
	if n.more > 0 {
		return append(slices.Clone(n.list), fmt.Sprintf("%d more of these", n.more))
	}
	return n.list
}

func (n *notes) err() error {
	var errs []error
	for _, note := range n.all() {
		errs = append(errs, errors.New(note))
	}
	return errors.Join(errs...)
}

// read reads the whole search path.
func (r *reader) read() []*dir {
	var dirs []*dir
	where := make(map[string]string)
	r.real = map[string]bool{earlyDir: true, normalDir: true}
	for _, name := range searchPath {
		real, err := r.links.Resolve(name)
		if err != nil || r.real[real] || real != name && slices.Contains(searchPath, real) {
			continue // as /lib, where it is a link to /usr/lib
		}
		where[name] = real
		r.real[real] = true
	}
	for _, name := range searchPath {
		d := newDir(name)
		dirs = append(dirs, d)
		if real, ok := where[name]; ok {
			r.readDir(d, real)
		}
	}
	return dirs
}

func (r *reader) readDir(d *dir, real string) {
	for _, e := range r.list(real, d.name) {
		name := e.Name()
		switch {
		case parseName(name).kind != invalid && !e.IsDir():
			d.files[name] = r.file(real, e, d.name, true)
		case slices.Contains([]string{".d", ".wants", ".requires", ".upholds"}, path.Ext(name)):
			r.readSub(d, real, name)
		}
	}
}

func (r *reader) readSub(d *dir, parent, name string) {
	real, err := r.links.Resolve(parent + "/" + name)
	if err != nil {
		return
	}
	dropins := strings.HasSuffix(name, ".d")
	for _, e := range r.list(real, d.name+"/"+name) {
		if dropins == strings.HasSuffix(e.Name(), ".conf") || !dropins {
			d.put(name+"/"+e.Name(), r.file(real, e, d.name+"/"+name, false))
		}
	}
}

// list is what is in a directory, sorted.
func (r *reader) list(real, name string) []fs.DirEntry {
	entries, err := rootfs.List(r.fsys, real, maxEntries)
	switch {
	case errors.Is(err, rootfs.ErrTooBig):
		r.notes.add("%s/%s has more than %d entries, the rest is not read", r.root, name, maxEntries)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		r.notes.add("cannot read %s/%s: %s", r.root, name, rootfs.Reason(err))
	}
	return entries
}

// file reads an entry of a directory. Only units can be aliases.
func (r *reader) file(real string, e fs.DirEntry, shown string, isUnit bool) *file {
	f := &file{path: "/" + shown + "/" + e.Name()}
	name := real + "/" + e.Name()
	if e.Type()&fs.ModeSymlink != 0 {
		// A link into the search path is an alias, any other one a unit file that lies elsewhere.
		if dir, base := path.Split(r.links.Target(name)); isUnit && r.real[path.Clean(dir)] {
			f.alias = base
			return f
		}
		var err error
		if name, err = r.links.Walk(name); err != nil {
			f.broken = true
			return f
		}
	}
	if f.masked = name == "dev/null"; f.masked {
		return f
	}
	if isUnit || path.Ext(shown) == ".d" {
		r.content(f, name)
	} else if info, err := fs.Stat(r.fsys, name); err == nil { // dangling ones count
		f.masked = info.Mode().IsRegular() && info.Size() == 0
	}
	return f
}

func (r *reader) content(f *file, name string) {
	if r.files++; r.files > maxFiles || r.bytes > maxTotal {
		f.broken = true
		r.notes.add("%s%s is not read: more than %d files or %d bytes", r.root, f.path, maxFiles, maxTotal)
		return
	}
	data, err := rootfs.Read(r.fsys, name, maxFileSize)
	if err != nil {
		f.broken = true
		if !errors.Is(err, fs.ErrNotExist) {
			r.notes.add("cannot read %s%s: %s", r.root, f.path, rootfs.Reason(err))
		}
		return
	}
	r.bytes += len(data)
	f.masked = len(data) == 0
	f.setText(string(data))
}

// fileOf is a file that is nowhere yet.
func fileOf(text string) *file {
	f := new(file)
	f.setText(text)
	return f
}

func (f *file) setText(text string) {
	text = strings.TrimPrefix(text, "\ufeff")
	f.text, f.settings = text, parse(text)
}
