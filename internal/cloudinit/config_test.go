package cloudinit

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// configs are trees of configuration and what is to be read in them. The file
// names are those below /etc/cloud.
var configs = []struct {
	name  string
	files map[string]string
	want  Config
}{
	{"nothing in it", map[string]string{"cloud.cfg": ""}, Config{}},
	{"comments", map[string]string{"cloud.cfg": "# datasource_list: [ CloudStack ]\n", "cloud.cfg.d/README": "datasource_list: [ X ]\n"}, Config{}},
	{"one list", map[string]string{"cloud.cfg": "a: 1\ndatasource_list: [ CloudStack, \"None\" ]\n"}, Config{
		Datasources: Setting{[]string{"CloudStack", "None"}, "/etc/cloud/cloud.cfg:2"},
		Identified:  Setting{[]string{"CloudStack", "None"}, "/etc/cloud/cloud.cfg:2"},
	}},
	{"the last file counts", map[string]string{
		"cloud.cfg": "datasource_list: [ A ]\n", "cloud.cfg.d/20.cfg": "datasource_list: ['CloudStack']\n", "cloud.cfg.d/100.cfg": "datasource_list: [ B ]\n",
	}, Config{
		Datasources: Setting{[]string{"CloudStack"}, "/etc/cloud/cloud.cfg.d/20.cfg:1"},
		Identified:  Setting{[]string{"CloudStack"}, "/etc/cloud/cloud.cfg.d/20.cfg:1"},
	}},
	{"a list over several lines", map[string]string{"cloud.cfg": "datasource_list: [ A ]\n", "cloud.cfg.d/1.cfg": "datasource_list:\n  - CloudStack\n"}, Config{
		Datasources: Setting{[]string{"CloudStack"}, "/etc/cloud/cloud.cfg.d/1.cfg:2"},
		Identified:  Setting{At: "/etc/cloud/cloud.cfg.d/1.cfg:1"},
	}},
	{"indented, and blanks", map[string]string{"cloud.cfg": "a: 1\n#datasource_list: [ X ]\n", "cloud.cfg.d/1.cfg": " datasource_list: [CloudStack,  None]  \n"}, Config{
		Datasources: Setting{[]string{"CloudStack", "None"}, "/etc/cloud/cloud.cfg.d/1.cfg:1"},
		Identified:  Setting{[]string{"CloudStack", "None"}, "/etc/cloud/cloud.cfg.d/1.cfg:1"},
	}},
	{"deeper keys are merged", map[string]string{
		"cloud.cfg":         "system_info: {network: {renderers: [netplan, eni]}, distro: debian}\nnetwork: {config: disabled}\n",
		"cloud.cfg.d/1.cfg": "system_info: {distro: ubuntu, network: {x: 1}}\n",
	}, Config{
		Network:   Setting{[]string{"disabled"}, "/etc/cloud/cloud.cfg:2"},
		Renderers: Setting{[]string{"netplan", "eni"}, "/etc/cloud/cloud.cfg:1"},
	}},
	{"nothing replaces something", map[string]string{"cloud.cfg": "network: {config: disabled}\n", "cloud.cfg.d/1.cfg": "network:\n"}, Config{}},
	{"an alias", map[string]string{"cloud.cfg": "a: &x [eni]\nsystem_info: {network: {renderers: *x}}\n"}, Config{
		Renderers: Setting{[]string{"eni"}, "/etc/cloud/cloud.cfg:1"},
	}},
	{"of a repeated key the last", map[string]string{"cloud.cfg": "datasource_list: [ A ]\ndatasource_list: [ B, C ]\n"}, Config{
		Datasources: Setting{[]string{"B", "C"}, "/etc/cloud/cloud.cfg:2"},
		Identified:  Setting{[]string{"B", "C"}, "/etc/cloud/cloud.cfg:2"},
	}},
	{"what is no YAML is skipped, but for a shell script", map[string]string{
		"cloud.cfg": "network: {config: disabled}\n", "cloud.cfg.d/1.cfg": "network: {config: on\npassword: SECRET\n", "cloud.cfg.d/2.cfg": "- SECRET\n",
		"cloud.cfg.d/3.cfg": "--- {}\n--- {SECRET: 1}\n", "cloud.cfg.d/4.cfg": "a: *SECRET\ndatasource_list: [ A ]\n",
	}, Config{
		Network:    Setting{[]string{"disabled"}, "/etc/cloud/cloud.cfg:1"},
		Identified: Setting{[]string{"A"}, "/etc/cloud/cloud.cfg.d/4.cfg:2"},
		Notes: []string{
			"cloud-init skips /etc/cloud/cloud.cfg.d/1.cfg: not YAML (near line 1)",
			"cloud-init skips /etc/cloud/cloud.cfg.d/2.cfg: not a mapping of keys to values",
			"cloud-init skips /etc/cloud/cloud.cfg.d/3.cfg: more than one YAML document",
			"cloud-init skips /etc/cloud/cloud.cfg.d/4.cfg: not YAML",
		},
	}},
}

// shown is what others can see.
var shown = cmpopts.IgnoreUnexported(Config{})

func TestConfig(t *testing.T) {
	for _, tt := range configs {
		t.Run(tt.name, func(t *testing.T) {
			root := t.TempDir()
			for name, data := range tt.files {
				put(t, root, "etc/cloud/"+name, data)
			}
			got, err := (Files{Root: root}).Config()
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got, shown); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// TestOnlyCloudStack has lines that only some of the versions tried can read, or
// none of them.
func TestOnlyCloudStack(t *testing.T) {
	const list = "datasource_list: [ CloudStack ]"
	for line, want := range map[string]bool{
		list:                                     true,
		"  datasource_list: ['CloudStack']  ":    true,
		"x: 1\n#datasource_list: [ X ]\n" + list: true,
		list + "\nx: {}":                         true,
		"datasource_list: [ CloudStack, None ]":  false,
		"datasource_list: [ CloudStack, Ec2 ]":   false,
		"datasource_list: [ None, CloudStack ]":  false,
		"datasource_list: [ ]":                   false,
		"datasource_list: CloudStack":            false,
		list + " # VMware":                       false,
		list + "\t":                              false,
		list + "\r":                              false,
		"datasource_list:  [ CloudStack ]":       false,
		"datasource_list:\t[ CloudStack ]":       false,
		"datasource_list : [ CloudStack ]":       false,
		`"datasource_list": [ CloudStack ]`:      false,
		"datasource_list:[CloudStack]":           false,
		"x_datasource_list: [ CloudStack ]":      false,
		"datasource_list:\n- CloudStack":         false,
		list + "\nx_datasource_list: [ X ]":      false,
		list + "\n'datasource_list' : [ X ]":     false,
		list + "\n  # datasource_list: [ X ]":    false,
		list + "\nx: 1 # datasource_list: [ X ]": false,
		list + "\ndatasource_list:":              false,
		"":                                       false,
	} {
		root := t.TempDir()
		put(t, root, configFile, line+"\n")
		if got := (Files{Root: root}).OnlyCloudStack(); got != want {
			t.Errorf("%q: got %v, want %v", line, got, want)
		}
	}
	if (Files{Root: t.TempDir() + "/missing"}).OnlyCloudStack() {
		t.Error("without a root: got a list, want none")
	}
}

// TestConfigHostile has what an image may have in it: a bomb of aliases that was
// unfolded would outlast the test binary's timeout.
func TestConfigHostile(t *testing.T) {
	root, outside := t.TempDir(), t.TempDir()
	put(t, outside, "secret.cfg", "datasource_list: [ SECRET ]\n")
	put(t, root, configFile, "conf_d: /x\nmerge_how: x\ndatasource_list: [ \"\\e[31m\" ]\n")
	bomb := "a0: &a0 [x]\n"
	for i := range 100 {
		bomb += fmt.Sprintf("a%d: &a%d [*a%d, *a%d, *a%d]\n", i+1, i+1, i, i, i)
	}
	put(t, root, configDir+"/1.cfg", bomb+"system_info: {network: {renderers: *a100}}\n")
	put(t, root, configDir+"/2.cfg", strings.Repeat("[", maxConfigFile))
	put(t, root, configDir+"/3.cfg", strings.Repeat("a", maxConfigFile+1))
	put(t, root, configDir+"/4.cfg/x", "")
	for link, to := range map[string]string{"6": outside + "/secret.cfg", "7": "/run/nm-cloud-seed/private/cloud.cfg", "8": "6.cfg"} {
		if err := os.Symlink(to, filepath.Join(root, configDir, link+".cfg")); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(root, configDir, "5.cfg"), 0o600); err != nil {
		t.Fatal(err)
	}
	for i := range 4 {
		put(t, root, fmt.Sprintf("%s/9%d.cfg", configDir, i), "[a"+strings.Repeat(",a", maxConfigFile/2-10)+"]")
	}
	got, err := (Files{Root: root}).Config()
	want := Config{
		Datasources: Setting{[]string{"?[31m"}, "/etc/cloud/cloud.cfg:3"},
		Identified:  Setting{[]string{`\e[31m`}, "/etc/cloud/cloud.cfg:3"},
		Renderers:   Setting{At: "/etc/cloud/cloud.cfg.d/1.cfg:101"},
		Notes: []string{
			"/etc/cloud/cloud.cfg has conf_d, which is not followed",
			"/etc/cloud/cloud.cfg has merge_how, which is not followed",
			"cloud-init skips /etc/cloud/cloud.cfg.d/2.cfg: not YAML",
			"cannot read /etc/cloud/cloud.cfg.d/3.cfg: too big, more than 262144 bytes",
			"cannot read /etc/cloud/cloud.cfg.d/4.cfg: not a regular file",
			"cannot read /etc/cloud/cloud.cfg.d/5.cfg: not a regular file",
			"cloud-init skips /etc/cloud/cloud.cfg.d/90.cfg: not a mapping of keys to values",
			"cloud-init skips /etc/cloud/cloud.cfg.d/91.cfg: not a mapping of keys to values",
			"/etc/cloud/cloud.cfg.d/92.cfg and what follows is not read: more than 128 files or 1048576 bytes",
		},
	}
	if diff := cmp.Diff(want, got, shown); diff != "" || err != nil {
		t.Errorf("%v, -want +got:\n%s", err, diff)
	}
	if got, err := (Files{Root: outside}).Config(); err == nil || !strings.Contains(err.Error(), "/etc/cloud/cloud.cfg") {
		t.Errorf("no configuration: got %v, %v, want an error with /etc/cloud/cloud.cfg", got, err)
	}
	if err := syscall.Mkfifo(filepath.Join(outside, "f"), 0o600); err != nil {
		t.Fatal(err)
	}
	put(t, outside, configFile, "")
	if err := os.Symlink("../../f", filepath.Join(outside, configDir)); err != nil {
		t.Fatal(err)
	}
	got, err = (Files{Root: outside}).Config()
	if diff := cmp.Diff(Config{Notes: []string{"cannot list /etc/cloud/cloud.cfg.d: not a directory"}}, got, shown); diff != "" || err != nil {
		t.Errorf("a FIFO for a directory: %v, -want +got:\n%s", err, diff)
	}
	many := t.TempDir()
	put(t, many, configFile, "")
	for i := range maxConfigEntries + 1 {
		put(t, many, fmt.Sprintf("%s/%d", configDir, i), "")
	}
	got, err = (Files{Root: many}).Config()
	if diff := cmp.Diff(Config{Notes: []string{"cannot list /etc/cloud/cloud.cfg.d: too big, more than 1024 entries"}}, got, shown); diff != "" || err != nil {
		t.Errorf("too many files: %v, -want +got:\n%s", err, diff)
	}
}

func FuzzConfig(f *testing.F) {
	for _, tt := range configs {
		f.Add([]byte(tt.files["cloud.cfg"]))
	}
	f.Fuzz(func(_ *testing.T, data []byte) {
		var s Setting
		s.identify("/x", data)
		if top, err := parse(data); err == nil {
			layers{{"/x", top}}.at("system_info", "network", "renderers").setting()
		}
	})
}
