package systemd

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/nm-cloud-seed/nm-cloud-seed/internal/rootfs"
)

// TestLoadSkipsOddFiles has files that nobody should have.
func TestLoadSkipsOddFiles(t *testing.T) {
	root, outside := t.TempDir(), t.TempDir()
	writeTree(t, outside, map[string]string{"secret.service": "[Unit]\nAfter=secret.target\n", "d/x.conf": "[Unit]\nAfter=secret.target\n"})
	files := map[string]string{
		lib + "multi-user.target":                  "[Unit]\n",
		etc + "default.target":                     "-> /lib/systemd/system/multi-user.target",
		"lib":                                      "-> usr/lib",
		etc + "out.service":                        "-> " + outside + "/secret.service",
		etc + "up.service":                         "-> ../../../../../../../../" + outside + "/secret.service",
		etc + "multi-user.target.d":                "-> " + outside + "/d",
		etc + "loop.service":                       "-> loop2.service",
		etc + "loop2.service":                      "-> loop.service",
		etc + "dangling.service":                   "-> /opt/dangling.service",
		etc + "linked.service":                     "-> /opt/real.service",
		"opt/real.service":                         "[Unit]\nBefore=multi-user.target\n",
		etc + "big.service":                        strings.Repeat("x", maxFileSize+1),
		etc + "dir.service/x":                      "",
		etc + "masked.service":                     "-> /dev/null",
		etc + "empty.service":                      "",
		etc + "binary.service":                     "\x00\xff[Unit\n=\n[]\n]\n[Unit]\nAfter\n=x\nBefore=multi-user.target\x00\n",
		etc + "bom.service":                        "\ufeff[Unit]\nBefore=multi-user.target\n",
		etc + "unclosed.service":                   "[Unit]\nBefore=multi-user.target\nAfter=\\",
		etc + "multi-user.target.wants/x y":        "-> x",
		etc + "multi-user.target.wants/.d.service": "-> x",
		"etc/fstab":                                "none\n/dev/x\n# x\n/dev/y /y\\040z ext4\n\x00 \xff \\ \n/dev/z swap swap\n",
	}
	writeTree(t, root, files)
	if err := syscall.Mkfifo(filepath.Join(root, etc, "fifo.service"), 0o644); err != nil {
		t.Fatal(err)
	}
	fsys, done, err := rootfs.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	u, err := Load(fsys, "/image")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{
		"cannot read /image/etc/systemd/system/big.service: too big, more than 262144 bytes",
		"cannot read /image/etc/systemd/system/fifo.service: not a regular file",
	}, u.Notes()); diff != "" {
		t.Error(diff)
	}
	for unit, want := range map[string]bool{
		"linked.service": true, "bom.service": true, "unclosed.service": true, "binary.service": true, "multi-user.target": true,
		"out.service": false, "up.service": false, "loop.service": false, "dangling.service": false, "big.service": false,
		"masked.service": false, "empty.service": false, "fifo.service": false, "nosuch.service": false, "": false,
	} {
		if got := u.Installed(unit); got != want {
			t.Errorf("%s: got installed %t, want %t", unit, got, want)
		}
	}
	for _, unit := range []string{"linked.service", "bom.service", "unclosed.service"} {
		if !slices.Contains(u.graph.next[unit], "multi-user.target") {
			t.Errorf("%s: got it before %q, want multi-user.target, too", unit, u.graph.next[unit])
		}
	}
	if _, leak := u.graph.nodes["secret.target"]; leak {
		t.Error("got a unit from outside the root, want none")
	}
	if !u.Started("multi-user.target") || !u.Started(defaultTarget) || u.Started("linked.service") {
		t.Errorf("got started %v, want multi-user.target and %s, not linked.service", u.boot, defaultTarget)
	}
}

func TestLoadFailsWithoutUnits(t *testing.T) {
	if _, err := Load(fstest.MapFS{}, ""); err == nil || !strings.HasPrefix(err.Error(), "cannot read the units of /:") {
		t.Error(err)
	}
}

// TestLoadBoundsWhatItReads has more than any system has: time and notes stay bounded.
func TestLoadBoundsWhatItReads(t *testing.T) {
	fsys := fstest.MapFS{lib + "default.target": {Data: []byte("[Unit]\n")}}
	for i := range 200 {
		fsys[fmt.Sprintf("%sbig%d.service", lib, i)] = &fstest.MapFile{Data: make([]byte, maxFileSize+1)}
	}
	long := "[Unit]\n" + strings.Repeat("After="+strings.Repeat("a.service b.service\\\n ", 50)+"\n", 100)
	chain := "[Unit]\n"
	for i := range 5000 {
		chain += fmt.Sprintf("After=n%d.service\n", i)
	}
	fsys[lib+"long.service"] = &fstest.MapFile{Data: []byte(long)}
	fsys[lib+"chain.service"] = &fstest.MapFile{Data: []byte(chain)}
	fsys[lib+strings.Repeat("-", 240)+"@x.service"] = &fstest.MapFile{Data: []byte("[Unit]\n")}
	u, err := Load(fsys, "")
	if err != nil {
		t.Fatal(err)
	}
	if n := u.Notes(); len(n) != maxNotes+1 || n[maxNotes] != "150 more of these" {
		t.Errorf("got %d notes, the last %q, want %d, the last %q", len(n), n[len(n)-1], maxNotes+1, "150 more of these")
	}
	if !slices.Contains(u.graph.next["n4999.service"], "chain.service") {
		t.Errorf("got n4999.service before %q, want chain.service", u.graph.next["n4999.service"])
	}
}

// A FIFO in a directory's place must not be opened: that waits for a writer, and
// the test for its own timeout.
func TestLoadDoesNotOpenFIFOs(t *testing.T) {
	for _, name := range []string{etc + "x.service.wants", etc + "x.service", "run/systemd/system"} {
		root := t.TempDir()
		writeTree(t, root, sample(t, "trixie"))
		if err := os.MkdirAll(filepath.Dir(filepath.Join(root, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Mkfifo(filepath.Join(root, name), 0o600); err != nil {
			t.Fatal(err)
		}
		if p := load(t, root).Plan(Late); len(p.Files) == 0 {
			t.Errorf("%s: got no files in the plan, want some", name)
		}
	}
}

func TestPlanWriteReplacesNothing(t *testing.T) {
	dir := t.TempDir()
	normal, early := filepath.Join(dir, "normal"), filepath.Join(dir, "early")
	if _, err := (Plan{}).Write(normal, early); err != nil {
		t.Fatal(err)
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("got %v from an empty plan, want nothing", left)
	}
	p := Plan{Files: []File{{Name: "a.service", Text: "x"}, {Early: true, Name: "b.d/c.conf", Text: "y"}, {Name: "t.wants/a.service", Link: "/nowhere"}}}
	if kept, err := p.Write(normal, early); err != nil || kept != nil {
		t.Fatal(kept, err)
	}
	// What is there already is another generator's.
	kept, err := Plan{Files: []File{{Name: "a.service", Text: "z"}, {Name: "t.wants/a.service", Link: "/z"}}}.Write(normal, early)
	if want := []string{normal + "/a.service", normal + "/t.wants/a.service"}; err != nil || !slices.Equal(kept, want) {
		t.Errorf("got %q, %v, want %q", kept, err, want)
	}
	got := make(map[string]string)
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			data, err := os.ReadFile(path)
			if err != nil {
				to, _ := os.Readlink(path)
				data = []byte("-> " + to)
			}
			got[strings.TrimPrefix(path, dir+"/")] = string(data)
		}
		return nil
	})
	if diff := cmp.Diff(map[string]string{"normal/a.service": "x", "early/b.d/c.conf": "y", "normal/t.wants/a.service": "-> /nowhere"}, got); diff != "" {
		t.Error(diff)
	}
	// Nothing stays of what cannot be written as a whole: the copy comes first.
	failed := filepath.Join(dir, "failed")
	if _, err := p.Write(failed, "/dev/null"); err == nil {
		t.Error("got no error, want one of the early directory")
	}
	if left, err := filepath.Glob(failed + "/*"); len(left) > 0 {
		t.Errorf("got %q, %v, want nothing left", left, err)
	}
	if _, err := p.Write("/dev/null", early); err == nil || !strings.HasPrefix(err.Error(), "cannot write unit files: ") {
		t.Error(err)
	}
}

// FuzzUnits reads whatever there may be in unit files, drop-ins and fstab.
// What a plan writes must keep everything else of the stage, be read back as
// meant, and make no cycle.
func FuzzUnits(f *testing.F) {
	f.Add("[Unit]\nDefaultDependencies=no\nBefore=sysinit.target \\\n x.service\n", "[Unit]\nBefore=basic.target\n", "/dev/x /y ext4 x-systemd.after=cloud-init.service\n")
	f.Add("[Unit]\nBefore=sysinit.target\\\n# c\n\\", "[Service]\nType=dbus\nBusName=%i\n", "a /b nfs x-systemd.automount,x-systemd.wanted-by=a.service\n")
	f.Add("\ufeff[Unit]\r\nBefore = basic.target\r\n[Unit]\nAfter=b@.service %n", "[Unit]\nWants=a.service\nDefaultDependencies=off", "\\040 /\\134 none _netdev")
	nm := "[Unit]\nWants=network.target\nAfter=dbus.service\nBefore=network.target\n[Service]\nType=dbus\nBusName=org.freedesktop.NetworkManager\n"
	f.Fuzz(func(t *testing.T, stage, other, fstab string) {
		fsys := fstest.MapFS{"etc/fstab": {Data: []byte(fstab)}}
		for name, text := range map[string]string{
			"default.target": "[Unit]\nWants=NetworkManager.service a.service b@x.service b.socket c.mount\n", "sysinit.target": "[Unit]\nDefaultDependencies=no\n",
			"basic.target": "[Unit]\nRequires=sysinit.target\nAfter=sysinit.target\n", "cloud-init.target": "[Unit]\n",
			Service:        "[Unit]\nDefaultDependencies=no\nAfter=NetworkManager.service\nBefore=cloud-init.service\n",
			networkManager: nm, "cloud-init.service": stage, "a.service": other, "b@.service": other, "b.socket": other, "c.mount": other, "cloud-init.service.d/x.conf": other,
		} {
			fsys[lib+name] = &fstest.MapFile{Data: []byte(text)}
		}
		u, err := Load(fsys, "")
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range []Ordering{Late, Early} {
			p := u.Plan(o)
			if c := u.newCycle(p); c != nil {
				t.Fatalf("a new cycle: %s\n%s", c, p)
			}
			for _, file := range p.Files {
				if file.Name == "cloud-init.service" {
					checkCopy(t, stage, file.Text)
				}
			}
		}
	})
}

// checkCopy: of the settings, only Before= differs, and what was added.
func checkCopy(t *testing.T, original, copied string) {
	t.Helper()
	others := func(text string) []string {
		var all []string
		for _, l := range logicalLines(strings.TrimPrefix(text, "\ufeff")) {
			if key, _, _ := strings.Cut(l.text, "="); strings.TrimSpace(key) != "Before" {
				all = append(all, l.text)
			}
		}
		return all
	}
	before, after := others(original), others(copied)
	added := []string{"[Unit]", "SourcePath=/usr/lib/systemd/system/cloud-init.service", "Wants=" + Service, "After=dbus.socket NetworkManager.service " + Service}
	if diff := cmp.Diff(append(before, added...), after); diff != "" {
		t.Fatal(diff)
	}
}
