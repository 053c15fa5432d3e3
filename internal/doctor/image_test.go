package doctor

import (
	"encoding/json"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	unitDir = "usr/lib/systemd/system/"
	unit    = "[Unit]\nDescription=x\n[Service]\nExecStart=/x\n"
	early   = "[Unit]\nDefaultDependencies=no\nBefore=sysinit.target\n[Service]\nExecStart=/x\n"
	link    = "-> " // begins a symbolic link, "-" removes, "|" is a FIFO

	python = "usr/lib/python3/dist-packages/cloudinit/"
	wants  = "etc/systemd/system/multi-user.target.wants/"
	wanted = link + "/usr/lib/systemd/system"
)

// good is an image in which all is well.
func good() map[string]string {
	files := map[string]string{
		"etc/os-release":      "NAME=x\nPRETTY_NAME=\"Example Linux 1\"\n",
		"etc/machine-id":      "\n",
		"etc/cloud/cloud.cfg": "users: []\ndatasource_list: [ CloudStack ]\n",
		"etc/cloud/cloud.cfg.d/99-nm-cloud-seed.cfg": link + "/run/nm-cloud-seed/private/cloud.cfg",
		"etc/nm-cloud-seed.conf":                     "[main]\n",
		"usr/bin/apt-get":                            "",
		"usr/bin/nmcli":                              "",
		"usr/bin/nm-cloud-seed":                      "",
		"usr/lib/systemd/system-generators/nm-cloud-seed-generator": link + "../../../bin/nm-cloud-seed",
		"usr/lib/python3/dist-packages/cloudinit/version.py":        "__VERSION__ = \"24.4.1\"\n_PACKAGED_VERSION = \"@@PACKAGED_VERSION@@\"\n",
		"etc/NetworkManager/NetworkManager.conf":                    "",
		unitDir + "default.target":                                  "[Unit]\nWants=multi-user.target\n",
		unitDir + "multi-user.target":                               "[Unit]\nWants=sysinit.target basic.target NetworkManager.service app.service\n",
		unitDir + "sysinit.target":                                  "[Unit]\nDefaultDependencies=no\n",
		unitDir + "basic.target":                                    "[Unit]\nWants=sockets.target\nAfter=sysinit.target sockets.target\nDefaultDependencies=no\n",
		unitDir + "sockets.target":                                  "[Unit]\nWants=dbus.socket\n",
		unitDir + "dbus.socket":                                     "[Socket]\nListenStream=/run/dbus/system_bus_socket\n",
		unitDir + "dbus.service":                                    unit,
		unitDir + "network.target":                                  "[Unit]\n",
		unitDir + "NetworkManager.service":                          "[Unit]\nAfter=dbus.service\nBefore=network.target\n[Service]\nExecStart=/x\n",
		unitDir + "app.service":                                     unit,
		unitDir + "nm-cloud-seed.service":                           "[Unit]\nDefaultDependencies=no\nAfter=NetworkManager.service\nBefore=cloud-init.service\n[Service]\nExecStart=/x\n",
		unitDir + "nm-cloud-seed-cleanup.service":                   "[Unit]\nAfter=cloud-final.service\n[Service]\nExecStart=/x\n",
		unitDir + "nm-cloud-seed-heal.service":                      "[Unit]\nAfter=cloud-final.service\n[Service]\nExecStart=/x\n",
		unitDir + "nm-cloud-seed-stages.service":                    "[Service]\nExecStart=/x\n",
		unitDir + "nm-cloud-seed-bus.service":                       "[Service]\nExecStart=/x\n",
		unitDir + "nm-cloud-seed-ssh-keys.service":                  "[Unit]\nAfter=cloud-init.service\n[Service]\nExecStart=/x\n",
		unitDir + "cloud-init.target":                               "[Unit]\nAfter=multi-user.target\n",
	}
	for _, name := range []string{"cloud-init-local", "cloud-init", "cloud-config", "cloud-final"} {
		files[unitDir+name+".service"] = unit
		files[unitDir+"cloud-init.target.wants/"+name+".service"] = link + "../" + name + ".service"
	}
	files[unitDir+"cloud-init.service"] = early
	return files
}

func write(t *testing.T, files map[string]string) (root string) {
	t.Helper()
	root = t.TempDir()
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		switch to, isLink := strings.CutPrefix(text, link); {
		case text == "-":
		case text == "|":
			err = syscall.Mkfifo(path, 0o600)
		case isLink:
			err = os.Symlink(to, path)
		default:
			mode := fs.FileMode(0o644)
			if strings.Contains(name, "/bin/") {
				mode = 0o755
			}
			err = os.WriteFile(path, []byte(text), mode)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// look examines an image, which is called /image in what is said.
func look(t *testing.T, files map[string]string) Report {
	t.Helper()
	root := write(t, files)
	r, err := Image(root + "/")
	if err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	r = Report{}
	if err := json.Unmarshal([]byte(strings.ReplaceAll(string(data), root, "/image")), &r); err != nil {
		t.Fatal(err)
	}
	return r
}

// changed are the checks that differ.
func changed(from, to Report) []Check {
	var all []Check
	for i, c := range to.Checks {
		if !cmp.Equal(from.Checks[i], c) {
			all = append(all, c)
		}
	}
	return all
}

func TestImage(t *testing.T) {
	all := look(t, good())
	if all.State() != Info { // dbus.service is not held
		t.Errorf("a good image: got %+v, want no more than %s", all, Info)
	}
	for _, tt := range cases {
		t.Run(tt.name, func(t *testing.T) {
			files := good()
			maps.Copy(files, tt.change)
			if diff := cmp.Diff(tt.want, changed(all, look(t, files))); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// TestEarlyOrderingResolvesDeadlock: which units that changes is not our business.
func TestEarlyOrderingResolvesDeadlock(t *testing.T) {
	files := good()
	files["etc/nm-cloud-seed.conf"] = "[main]\nordering=early\n"
	var got []Check
	for _, c := range look(t, files).Checks {
		if c.Name == "ordering.deadlock" || c.Name == "ordering.plan" {
			got = append(got, Check{Name: c.Name, State: c.State, Detail: c.Detail})
		}
	}
	want := []Check{
		{Name: "ordering.deadlock", State: OK, Detail: "resolved by nm-cloud-seed: cloud-init.service before sysinit.target before NetworkManager.service"},
		{Name: "ordering.plan", State: OK, Detail: "ordering=early"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestPlannedCycleIsReported is what a plan should never do.
func TestPlannedCycleIsReported(t *testing.T) {
	i, done, err := open(write(t, good()))
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	if c := i.generator(); c.State != OK {
		t.Errorf("as it is: got %+v, want %s", c, OK)
	}
	files := good()
	files[unitDir+"app.service"] = "[Unit]\nAfter=multi-user.target\nBefore=multi-user.target\n[Service]\nExecStart=/x\n"
	broken, done, err := open(write(t, files))
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	i.planned = broken.units
	want := Check{
		State: Problem, Detail: "the order that nm-cloud-seed makes has cycles", Items: []string{"app.service before multi-user.target before app.service"},
		Fix: "set ordering=early in " + i.root + "/etc/nm-cloud-seed.conf, and report this defect",
	}
	if diff := cmp.Diff(want, i.generator()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func skip(name, needs string) Check {
	return Check{Name: name, State: Skipped, Detail: "depends on " + needs}
}

func TestImageThatCannotBeExamined(t *testing.T) {
	root := write(t, map[string]string{"file": "", "fifo": "|", "empty/etc/os-release": "ID=x\n"})
	for name, want := range map[string]string{
		"missing": "no such file or directory (unpack or mount the image there)",
		"file":    "not a directory (unpack or mount the image, and name the directory)",
		"fifo":    "not a directory (unpack or mount the image, and name the directory)",
		"empty":   "cannot read the units of " + root + "/empty/: file does not exist (is an image with systemd unpacked or mounted there?)",
	} {
		_, err := Image(root + "/" + name)
		if want = "cannot examine " + root + "/" + name + ": " + want; err == nil || err.Error() != want {
			t.Errorf("error %v\nwant  %s", err, want)
		}
	}
}

// TestImageStepsFollowTheirNeeds: what a check needs comes before it.
func TestImageStepsFollowTheirNeeds(t *testing.T) {
	seen := make(map[string]bool)
	for _, s := range new(image).steps() {
		for _, need := range s.needs {
			if !seen[need] {
				t.Errorf("%s needs %s, which does not come before it", s.name, need)
			}
		}
		if seen[s.name] {
			t.Errorf("%s twice", s.name)
		}
		seen[s.name] = true
	}
}

// TestHostileImage: whatever is in an image, nothing hangs, nothing outside is read,
// and nothing odd gets to the terminal.
func TestHostileImage(t *testing.T) {
	outside := write(t, map[string]string{"os-release": "PRETTY_NAME=SECRET\n"})
	files := good()
	maps.Copy(files, map[string]string{
		"etc/os-release":               link + outside + "/os-release",
		"usr/lib/os-release":           "PRETTY_NAME=\"\x1b[31mred\xff\u202e\"\n",
		"etc/machine-id":               "|",
		"etc/cloud/cloud.cfg.d/50.cfg": "|",
		"usr/lib/python3/dist-packages/cloudinit/version.py": "|",
		"usr/lib/python3.9/dist-packages":                    "|",
		"usr/lib/python3.8":                                  "|",
		"usr/lib/python3.7":                                  link + "python3.7",
		"etc/netplan":                                        "|",
		"etc/NetworkManager/NetworkManager.conf":             "|",
		"etc/NetworkManager/conf.d":                          link + "/proc",
		"var/lib/cloud/seed":                                 "|",
		"etc/nm-cloud-seed.conf":                             "|",
		unitDir + "x\x1b[31m.service":                        unit,
		"var/lib/cloud/instance":                             link + "/etc/passwd",
	})
	var b strings.Builder
	if err := look(t, files).Print(&b, 0, func(_ State, text string) string { return text }); err != nil {
		t.Fatal(err)
	}
	if out := b.String(); strings.Contains(out, "SECRET") || strings.ContainsAny(out, "\x1b\u202e") || !strings.Contains(out, "?[31mred") {
		t.Errorf("got this, want no control characters, no SECRET, and ?[31mred:\n%s", out)
	}
}
