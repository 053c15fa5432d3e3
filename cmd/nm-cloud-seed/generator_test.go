package main

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/nm-cloud-seed/nm-cloud-seed/systemd"
)

// smallImage is a CloudStack VM's image with what the generator looks at.
func smallImage() map[string]string {
	const units = "usr/lib/systemd/system/"
	return map[string]string{
		"sys/class/dmi/id/product_name":                      "CloudStack KVM Hypervisor\n",
		"proc/cmdline":                                       "quiet\n",
		units + "nm-cloud-seed.service":                      "[Unit]\nDefaultDependencies=no\nAfter=NetworkManager.service\nBefore=cloud-init.service\n[Service]\nExecStart=/x\n",
		units + "nm-cloud-seed-cleanup.service":              "[Unit]\nAfter=cloud-final.service\n[Service]\nExecStart=/x\n",
		units + "nm-cloud-seed-heal.service":                 "[Unit]\nAfter=cloud-final.service\n[Service]\nExecStart=/x\n",
		units + "nm-cloud-seed-ssh-keys.service":             "[Unit]\nAfter=cloud-init.service\n[Service]\nExecStart=/x\n",
		units + "cloud-init.service":                         "[Unit]\nDefaultDependencies=no\nBefore=sysinit.target\n[Service]\nExecStart=/x\n",
		units + "cloud-init.target":                          "[Unit]\nAfter=multi-user.target\n",
		units + "cloud-init.target.wants/cloud-init.service": "",
		units + "NetworkManager.service":                     "[Unit]\nBefore=network.target\n[Service]\nExecStart=/x\n",
		units + "default.target":                             "[Unit]\nWants=multi-user.target NetworkManager.service sysinit.target\n",
		units + "multi-user.target":                          "[Unit]\nDescription=x\n",
		units + "network.target":                             "[Unit]\nDescription=x\n",
		units + "sysinit.target":                             "[Unit]\nDescription=x\n",
		units + "basic.target":                               "[Unit]\nAfter=sysinit.target\n",
	}
}

func TestGeneratorOrdersUnitsOnCloudStack(t *testing.T) {
	all := []string{
		"normal/cloud-init.service",
		"normal/cloud-init.service.d/nm-cloud-seed.conf",
		"normal/cloud-init.target.wants/nm-cloud-seed-cleanup.service",
		"normal/cloud-init.target.wants/nm-cloud-seed-heal.service",
		"normal/cloud-init.target.wants/nm-cloud-seed-ssh-keys.service",
		"normal/cloud-init.target.wants/nm-cloud-seed.service",
	}
	for _, tt := range []struct {
		name   string
		change map[string]string // "-" removes
		want   []string
		said   string // a part of it; empty: nothing
	}{
		{"CloudStack", nil, all, ""},
		{"cloud-init's word of this boot does not count", map[string]string{"run/cloud-init/disabled": ""}, all, ""},
		{"another machine", map[string]string{"sys/class/dmi/id/product_name": "Standard PC (Q35 + ICH9, 2009)\n"}, nil, ""},
		{"switched off", map[string]string{"proc/cmdline": "nm-cloud-seed=off\n"}, nil, ""},
		{"forced", map[string]string{"sys/class/dmi/id/product_name": "-", "proc/cmdline": "nm-cloud-seed=force\n"}, all, ""},
		{"platform=cloudstack", map[string]string{"sys/class/dmi/id/product_name": "-", "etc/nm-cloud-seed.conf": "[main]\nplatform=cloudstack\n"}, all, ""},
		{"VMware", map[string]string{"sys/class/dmi/id/product_name": "VMware7,1\n", "etc/cloud/cloud.cfg": "{}\n", "etc/cloud/cloud.cfg.d/99.cfg": "datasource_list: [ CloudStack ]\n"}, all, ""},
		{"a list on QEMU's own machine", map[string]string{"sys/class/dmi/id/product_name": "Standard PC (Q35 + ICH9, 2009)\n", "etc/cloud/cloud.cfg": "datasource_list: [ CloudStack ]\n"}, nil, ""},
		{"a list and no firmware", map[string]string{"sys/class/dmi/id/product_name": "-", "etc/cloud/cloud.cfg": "datasource_list: [ CloudStack ]\n"}, all, ""},
		{"VMware on several clouds", map[string]string{"sys/class/dmi/id/product_name": "VMware7,1\n", "etc/cloud/cloud.cfg": "datasource_list: [ VMware, CloudStack ]\n"}, nil, ""},
		{"platform=none", map[string]string{"etc/nm-cloud-seed.conf": "[main]\nplatform=none\n"}, nil, ""},
		{"ordering=off", map[string]string{"etc/nm-cloud-seed.conf": "[main]\nordering=off\n"}, nil, ""},
		{"a mistake in the configuration", map[string]string{"etc/nm-cloud-seed.conf": "[main]\nordering=first\n"}, all, "<4> going on with the rest of the configuration: "},
		{"a mistake on the kernel command line", map[string]string{"proc/cmdline": "nm-cloud-seed=on\n"}, all, "<4> ignoring nm-cloud-seed="},
		{"netplan gives the network to systemd-networkd", map[string]string{
			"usr/lib/NetworkManager/conf.d/10-globally-managed-devices.conf": "[keyfile]\nunmanaged-devices=*,except:type:wifi\n",
			"usr/lib/systemd/system/systemd-networkd.service":                "[Unit]\nDescription=x\n",
			"usr/sbin/netplan": "", "etc/netplan/50-cloud-init.yaml": "network: {ethernets: {eth0: {dhcp4: true}}}\n",
		}, nil, "<6> nothing to do: netplan gives the network to systemd-networkd"},
		{"netplan's file was written in this boot", map[string]string{
			"usr/lib/NetworkManager/conf.d/10-globally-managed-devices.conf": "[keyfile]\nunmanaged-devices=*,except:type:wifi\n",
			"usr/lib/systemd/system/systemd-networkd.service":                "[Unit]\nDescription=x\n",
			"usr/sbin/netplan": "", "etc/netplan/50-cloud-init.yaml": "network: {ethernets: {eth0: {dhcp4: true}}}\n",
			"run/nm-cloud-seed/private/cloud.cfg": "",
		}, all, ""},
		{"netplan's file is still to come", map[string]string{
			"usr/lib/NetworkManager/conf.d/10-globally-managed-devices.conf": "[keyfile]\nunmanaged-devices=*,except:type:wifi\n",
			"usr/lib/systemd/system/systemd-networkd.service":                "[Unit]\nDescription=x\n",
			"usr/sbin/netplan": "",
		}, all, ""},
		{"cloud-init disabled", map[string]string{"etc/cloud/cloud-init.disabled": ""}, nil, ""},
		{"cloud-init not installed", map[string]string{"usr/lib/systemd/system/cloud-init.service": "-"}, nil, "<6> nothing to do: cloud-init is not installed"},
		{"NetworkManager not started", map[string]string{"usr/lib/systemd/system/default.target": "[Unit]\nWants=multi-user.target\n"}, nil, "<6> nothing to do: NetworkManager.service is not started at boot"},
		{"no units", map[string]string{"usr": "-"}, nil, "cannot read the units"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			root, out := t.TempDir(), t.TempDir()
			files := smallImage()
			for name, text := range tt.change {
				for old := range files {
					if text == "-" && (old == name || strings.HasPrefix(old, name+"/")) {
						delete(files, old)
					}
				}
				if text != "-" {
					files[name] = text
				}
			}
			for name, text := range files {
				path := filepath.Join(root, name)
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			var said []string
			run := func(out string) map[string]string {
				said = nil
				say := func(priority int, text string) {
					if !strings.HasPrefix(text, "not held until") {
						said = append(said, fmt.Sprintf("<%d> %s", priority, text))
					}
				}
				plan, err := decide(root, say)
				if err == nil {
					err = write(plan, filepath.Join(out, "normal"), filepath.Join(out, "early"), say)
				}
				if err != nil {
					said = append(said, err.Error())
				}
				return below(t, out)
			}
			// At boot, and at daemon-reload, when what was generated first is there.
			atBoot := run(out)
			if diff := cmp.Diff(tt.want, slices.Sorted(maps.Keys(atBoot)), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if err := os.MkdirAll(filepath.Join(root, "run/systemd"), 0o755); err != nil {
				t.Fatal(err)
			}
			for from, to := range map[string]string{"normal": "generator", "early": "generator.early"} {
				if err := os.CopyFS(filepath.Join(root, "run/systemd", to), os.DirFS(filepath.Join(out, from))); err != nil && !errors.Is(err, fs.ErrNotExist) {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(atBoot, run(t.TempDir())); diff != "" {
				t.Errorf("at daemon-reload: %s", diff)
			}
			if got := strings.Join(said, "\n"); tt.said == "" && got != "" || !strings.Contains(got, tt.said) {
				t.Errorf("said %q, want %q", got, tt.said)
			}
		})
	}
}

// below are all files and links below a directory, with what is in them.
func below(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			name, _ := filepath.Rel(dir, path)
			text, err := os.ReadFile(path)
			if err != nil {
				link, _ := os.Readlink(path)
				text = []byte(link)
			}
			files[name] = string(text)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// TestGeneratorNeverFails: called by mistake, or in an initrd, it returns.
func TestGeneratorNeverFails(t *testing.T) {
	var kmsg strings.Builder
	generator(nil, &kmsg)
	if want := "<3>nm-cloud-seed-generator: cannot generate units: want three directories, not 0"; !strings.HasPrefix(kmsg.String(), want) {
		t.Errorf("got %q, want %q", kmsg.String(), want)
	}
	kmsg.Reset()
	t.Setenv("SYSTEMD_IN_INITRD", "1")
	generator([]string{"/nowhere", "/nowhere", "/nowhere"}, &kmsg)
	if kmsg.Len() > 0 {
		t.Errorf("got %q in an initrd, want nothing", kmsg.String())
	}
}

func TestKmsgLineIsShortAndOne(t *testing.T) {
	var kmsg strings.Builder
	sayTo(&kmsg)(4, strings.Repeat("ä\n", 1000))
	if line := kmsg.String(); len(line) > 976 || strings.Count(line, "\n") != 1 || !strings.HasPrefix(line, "<4>nm-cloud-seed-generator: ä ä") {
		t.Errorf("got %d bytes: %q, want one line of 976 at most", len(line), line)
	}
}

// The configuration's words are the package's.
func TestOrderingWordsAgree(t *testing.T) {
	if systemd.Late != "late" || systemd.Early != "early" {
		t.Errorf("got %q and %q, want the words of the configuration: late and early", systemd.Late, systemd.Early)
	}
}
