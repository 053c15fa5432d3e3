package daemon

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/nm-cloud-seed/nm-cloud-seed/datasource"
	"github.com/nm-cloud-seed/nm-cloud-seed/datasource/cloudstack"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/cloudinit"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/config"
)

const cloudCfg = "system_info: {default_user: {name: debian}}\nusers: [default]\ncloud_init_modules: [ssh, [set_passwords, always]]\n"

// applied waits for cloud-init, but not for ever. What follows from its files is
// shown in test/lab.
func TestApplied(t *testing.T) {
	const sem = "var/lib/cloud/instances/i/sem/config_ssh"
	ended := func(failures string) string {
		return `{"v1": {"stage": null, "init": {"start": 1.0, "finished": 2.0, "errors": [` + failures + `]}}}`
	}
	for _, tt := range []struct {
		name, module string
		files        map[string]string
		want         string // a part of the error
	}{
		{"done", keysModule, map[string]string{status: ended(""), sem: ""}, ""},
		{"failed", keysModule, map[string]string{status: ended(`"('ssh', KeyError('x'))"`), sem: ""}, "cloud-init's ssh failed"},
		{"the stage ended without it", keysModule, map[string]string{status: ended("")}, "has not run its module ssh"},
		{"always leaves no semaphore", passwordModule, map[string]string{status: ended("")}, ""},
		{"cloud-init ended without the stage", keysModule, map[string]string{"run/cloud-init/result.json": "{}"}, "has not run its stage init"},
		{"it never ends", keysModule, nil, "cloud-init's stage init has not ended within 30m"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			files := map[string]string{"etc/cloud/cloud.cfg": cloudCfg}
			for name, text := range tt.files {
				files[name] = text
			}
			h := &handover{instance: "i", files: cloudinit.Files{Root: machine(t, files)}}
			config, err := h.files.Config()
			if err != nil {
				t.Fatal(err)
			}
			h.config = config
			synctest.Test(t, func(t *testing.T) {
				err := h.applied(t.Context(), tt.module)
				if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
					t.Errorf("error %v, want %q", err, tt.want)
				}
			})
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := (&handover{files: cloudinit.Files{Root: t.TempDir()}}).applied(ctx, keysModule); !errors.Is(err, context.Canceled) {
		t.Errorf("stopped: got the error %v, want %v", err, context.Canceled)
	}
}

// A handover that fails costs the password, not the host name, without which the network
// stage of cloud-init 24.1 to 25.3 may fail.
func TestFailedHandoverKeepsFQDN(t *testing.T) {
	for name, fqdn := range map[string]string{"without a domain": "vm", "with one": ""} {
		t.Run(name, func(t *testing.T) {
			d, _ := newDaemon(machine(t, map[string]string{"var/lib/cloud/instances": "no directory", RunDir + "/x": ""}), config.Config{})
			h := &handover{Daemon: d, fqdn: fqdn, isNew: true, password: cloudstack.Password{Text: "secret"}}
			h.text.PasswordHash = "$6$salt$secret"
			h.over(t.Context(), &datasource.Instance{ID: "i"})
			want := ""
			if fqdn != "" {
				want = "fqdn: \"vm\"\n"
			}
			text := contentOf(d.Root, RunDir+"/private/cloud.cfg")
			if !strings.HasSuffix(text, want) || (text == "") != (want == "") || strings.Contains(text, "password") {
				t.Errorf("cloud-init has %q, want %q alone", text, want)
			}
			if h.text != (cloudinit.Handover{FQDN: fqdn}) || h.isNew || h.password != (cloudstack.Password{}) {
				t.Errorf("got %t, FQDN %q, want the host name alone handed over", h.isNew, h.text.FQDN)
			}
		})
	}
}
