package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestKernelCommandLine(t *testing.T) {
	const known = " on the kernel command line (known: off, force)"
	for _, tt := range []struct {
		name, cmdline string
		want          Override
		warnings      []string
	}{
		{"empty", "", OverrideNone, nil},
		{"not there", "BOOT_IMAGE=/vmlinuz root=/dev/vda1 ro quiet", OverrideNone, nil},
		{"off", "ro nm-cloud-seed=off quiet\n", OverrideOff, nil},
		{"force", "nm-cloud-seed=force", OverrideForce, nil},
		{"underscores", "nm_cloud_seed=off", OverrideOff, nil},
		{"last one counts", "nm-cloud-seed=off nm-cloud-seed=force", OverrideForce, nil},
		{"after --", "ro -- nm-cloud-seed=off", OverrideOff, nil},
		{"quoted value", `nm-cloud-seed="off" ro`, OverrideOff, nil},
		{"quoted parameter", `"nm-cloud-seed=off" ro`, OverrideOff, nil},
		{"inside another's quotes", `x="a nm-cloud-seed=off b" ro`, OverrideNone, nil},
		{"open quote", `x="a nm-cloud-seed=off`, OverrideNone, nil},
		{"tabs and lines", "ro\tnm-cloud-seed=off\nquiet", OverrideOff, nil},
		{"a container's", "/sbin/init\x00nm-cloud-seed=off\x00", OverrideOff, nil},
		{"longer name", "xnm-cloud-seed=off nm-cloud-seed2=off nm-cloud-seed.x=off", OverrideNone, nil},
		{"unknown value", "nm-cloud-seed=on", OverrideNone, []string{`ignoring nm-cloud-seed="on"` + known}},
		{"unknown value does not undo", "nm-cloud-seed=off nm-cloud-seed=Force", OverrideOff, []string{`ignoring nm-cloud-seed="Force"` + known}},
		{"no value", "nm-cloud-seed nm-cloud-seed=", OverrideNone, []string{`ignoring nm-cloud-seed=""` + known, `ignoring nm-cloud-seed=""` + known}},
		{"many", strings.Repeat("nm-cloud-seed=x ", 9), OverrideNone, []string{`ignoring nm-cloud-seed="x"` + known, `ignoring nm-cloud-seed="x"` + known, `ignoring nm-cloud-seed="x"` + known}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, warnings := KernelCommandLine(tt.cmdline)
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			if diff := cmp.Diff(tt.warnings, warnings); diff != "" {
				t.Errorf("warnings (-want +got):\n%s", diff)
			}
		})
	}
}

func TestCommandLine(t *testing.T) {
	root := t.TempDir()
	put := func(name, data string) {
		t.Helper()
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(data), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	check := func(want, wantErr string) {
		t.Helper()
		got, err := CommandLine(root)
		if got != want || (err == nil) != (wantErr == "") || err != nil && !strings.HasPrefix(err.Error(), wantErr) {
			t.Errorf("got %q, %v; want %q, %s", got, err, want, wantErr)
		}
	}
	check("", "") // an image
	put("proc/cmdline", "ro quiet\n")
	put("proc/1/cmdline", "/sbin/init\x00nm-cloud-seed=off\x00")
	check("ro quiet\n", "")
	put("run/systemd/container", "lxc")
	check("/sbin/init\x00nm-cloud-seed=off\x00", "")
	put("proc/1/cmdline", strings.Repeat("x", 64<<10+1))
	check("", "cannot read kernel command line: "+root+"/proc/1/cmdline: too big, more than 65536 bytes")

	if got, err := CommandLine(""); err != nil || got == "" {
		t.Errorf("of this system: got %q, %v, want /proc/cmdline", got, err)
	}
	if _, err := CommandLine(root + "/missing"); err == nil {
		t.Error("missing root: got no error, want one")
	}
}
