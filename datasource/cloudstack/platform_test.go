package cloudstack

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestReadPlatform(t *testing.T) {
	t.Parallel()
	const id = "6d3f2c1a-90ab-4cde-8f01-23456789abcd"
	for _, test := range []struct {
		name       string
		files      map[string]string
		want       Platform
		cloudStack bool
		instance   string
	}{
		{"KVM", map[string]string{"product_name": kvm + "\n", "product_uuid": strings.ToUpper(id) + "\n"}, Platform{kvm, id}, true, id},
		{"KVM, not root", map[string]string{"product_name": kvm + "\n"}, Platform{Product: kvm}, true, ""},
		{"another CloudStack", map[string]string{"product_name": "CloudStack Hypervisor\n", "product_uuid": id}, Platform{"CloudStack Hypervisor", id}, true, ""},
		{"VMware", map[string]string{"product_name": "VMware7,1\n", "product_uuid": id}, Platform{"VMware7,1", id}, false, ""},
		{"not at the beginning", map[string]string{"product_name": "Apache CloudStack\n"}, Platform{Product: "Apache CloudStack"}, false, ""},
		{"nothing", nil, Platform{}, false, ""},
		{"empty", map[string]string{"product_name": "", "product_uuid": "\n"}, Platform{}, false, ""},
		{"too long", map[string]string{"product_name": "CloudStack" + strings.Repeat("x", 1<<20)}, Platform{}, false, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			dir := filepath.Join(root, "sys/devices/virtual/dmi/id")
			class := filepath.Join(root, "sys/class/dmi")
			for _, d := range []string{dir, class} {
				if err := os.MkdirAll(d, 0o755); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.Symlink("../../devices/virtual/dmi/id", filepath.Join(class, "id")); err != nil { // as in sysfs
				t.Fatal(err)
			}
			for name, text := range test.files {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			got := ReadPlatform(root)
			if got != test.want {
				t.Errorf("got %.100q, want %.100q", got, test.want)
			}
			if got.CloudStack() != test.cloudStack {
				t.Errorf("CloudStack() = %v", got.CloudStack())
			}
			if got := got.InstanceUUID(); got != test.instance {
				t.Errorf("InstanceUUID() = %q, want %q", got, test.instance)
			}
		})
	}
	if got := ReadPlatform(filepath.Join(t.TempDir(), "nowhere")); got != (Platform{}) {
		t.Errorf("without /sys: %+v", got)
	}
}

// A directory in place of a file is unreadable, not a failure.
func TestReadPlatformUnreadable(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "sys/class/dmi/id/product_name"), 0o755); err != nil {
		t.Fatal(err)
	}
	if got := ReadPlatform(root); got != (Platform{}) {
		t.Errorf("got %+v", got)
	}
}

// A container sees its host's firmware, which says nothing of it.
func TestReadPlatformContainer(t *testing.T) {
	t.Parallel()
	const id = "6d3f2c1a-90ab-4cde-8f01-23456789abcd"
	for _, test := range []struct {
		name, file, text string
		want             Platform
	}{
		{"a VM", "run/systemd/system/x", "", Platform{kvm, id}},
		{"systemd-nspawn", containerFile, "systemd-nspawn", Platform{}},
		{"LXC", containerFile, "lxc\n", Platform{}},
		{"unnamed", containerFile, "", Platform{}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			for name, text := range map[string]string{
				"sys/class/dmi/id/product_name": kvm + "\n", "sys/class/dmi/id/product_uuid": id + "\n", test.file: test.text,
			} {
				path := filepath.Join(root, name)
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if got := ReadPlatform(root); got != test.want {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
		})
	}
}
