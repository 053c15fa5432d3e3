package cloudinit

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const semDir = instancesDir + "/i-1/sem"

func TestSemaphores(t *testing.T) {
	for _, tt := range []struct {
		name, module string
		files, left  []string // all, and after Rerun
	}{
		{"none", "set_passwords", []string{"consume_data"}, []string{"consume_data"}},
		{"as usual", "set_passwords", []string{"config_set_passwords", "config_ssh"}, []string{"config_ssh"}},
		{"asked for in other words", "cc_set-passwords", []string{"config_set_passwords"}, nil},
		{"spelled in all ways", "set_passwords", []string{"config-set-passwords", "config_cc_set_passwords", "config_set_passwords.py"}, nil},
		{"others", "ssh", []string{"config_ssh_import_id", "config_sshd", "ssh", "xconfig_ssh"}, []string{"config_ssh_import_id", "config_sshd", "ssh", "xconfig_ssh"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			root := t.TempDir()
			for _, name := range tt.files {
				put(t, root, semDir+"/"+name, "")
			}
			files := Files{Root: root}
			had, err := files.HasRun("i-1", tt.module)
			if had != !slices.Equal(tt.files, tt.left) || err != nil {
				t.Errorf("got has run %v, %v, want %v", had, err, !slices.Equal(tt.files, tt.left))
			}
			for range 2 {
				if err := files.Rerun("i-1", tt.module); err != nil {
					t.Fatal(err)
				}
			}
			var left []string
			for name := range tree(t, root) {
				left = append(left, filepath.Base(name))
			}
			slices.Sort(left)
			if diff := cmp.Diff(tt.left, left); diff != "" {
				t.Errorf("-want +left:\n%s", diff)
			}
			if has, err := files.HasRun("i-1", tt.module); has || err != nil {
				t.Errorf("after Rerun: got has run %v, %v, want false", has, err)
			}
		})
	}
}

func TestHadInstance(t *testing.T) {
	for _, tt := range []struct {
		name, dir string // dir: where the instances are
		instances []string
		want      bool
	}{
		{"never booted", instancesDir, nil, false},
		{"none yet", instancesDir + "/" + noInstance, []string{"boot-finished"}, false},
		{"one", instancesDir, []string{"i-1/sem/config_ssh"}, true},
		{"one, after none", instancesDir, []string{noInstance + "/sem/config_ssh", "i-1/sem/config_ssh"}, true},
		{"two", instancesDir, []string{"6d3f2c1a-90ab-4cde-8f01-23456789abcd/x", "0e0a7d52-13c4-4a1b-9c55-fedcba987654/x"}, true},
		{"almost none", instancesDir, []string{noInstance + "-1/x"}, true},
		{"of a seed", instancesDir, []string{"iid-local01/x"}, true},
		{"elsewhere", "var/lib/cloud", []string{"data/instance-id", "sem/config_scripts_per_once.once"}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			root := t.TempDir()
			for _, name := range tt.instances {
				put(t, root, tt.dir+"/"+name, "")
			}
			if had, err := (Files{Root: root}).HadInstance(); had != tt.want || err != nil {
				t.Errorf("got %v, %v, want %v", had, err, tt.want)
			}
		})
	}
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, instancesDir), 0o755); err != nil {
		t.Fatal(err)
	}
	if had, err := (Files{Root: root}).HadInstance(); had || err != nil { // as after cloud-init clean
		t.Errorf("an empty directory: got %v, %v, want false", had, err)
	}
	root = t.TempDir()
	put(t, root, instancesDir, "")
	had, err := Files{Root: root}.HadInstance()
	if had || !strings.HasPrefix(text(err), "cannot tell which instances this system has been: ") {
		t.Errorf("a file in its place: got %v, %v, want an error", had, err)
	}
}

func TestSemaphoresHostile(t *testing.T) {
	const name = "config_ssh"
	root := t.TempDir()
	files := Files{Root: root}
	try := func(instance, want string) {
		t.Helper()
		had, err := files.HasRun(instance, "ssh")
		if got := text(err); had || !strings.Contains(got, want) || (want == "") != (got == "") {
			t.Errorf("HasRun %q: got %v, %v, want false, %q", instance, had, err, want)
		}
		if got := text(files.Rerun(instance, "ssh")); !strings.Contains(got, want) || (want == "") != (got == "") {
			t.Errorf("Rerun %q: got %q, want %q", instance, got, want)
		}
	}
	try("i-1", "") // nothing there at all
	put(t, root, "var/lib/cloud/sem/"+name, "")
	put(t, root, semDir+"/x/y", "")
	put(t, root, "outside/sem/"+name, "")
	try("missing", "")
	const bad = "cannot look at cloud-init's files: the instance-id is no file name"
	for _, instance := range []string{"", ".", "..", "../..", "/", "a/b", "a/", "/a", "i-1/../i-1"} {
		try(instance, bad)
		if _, err := files.UserConfig(instance); text(err) != bad {
			t.Errorf("UserConfig %q: got %v, want %s", instance, err, bad)
		}
	}
	for link, to := range map[string]string{"up": "../../../../outside", "absolute": root + "/outside"} {
		if err := os.Symlink(to, filepath.Join(root, instancesDir, link)); err != nil {
			t.Fatal(err)
		}
		try(link, "escapes")
	}
	put(t, root, instancesDir+"/file", "")
	try("file", "not a directory")
	put(t, root, semDir+"/config_ssh/y", "")
	if err := files.Rerun("i-1", "ssh"); err == nil || !strings.HasPrefix(err.Error(), "cannot have cloud-init run ssh again: ") {
		t.Errorf("a directory: got %v, want: cannot have cloud-init run ssh again: ...", err)
	}
	want := []string{instancesDir + "/file", semDir + "/config_ssh/y", semDir + "/x/y", "outside/sem/" + name, "var/lib/cloud/sem/" + name}
	for _, file := range want {
		if _, err := os.Lstat(filepath.Join(root, file)); err != nil {
			t.Error(err)
		}
	}
}
