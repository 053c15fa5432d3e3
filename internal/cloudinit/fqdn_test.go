package cloudinit

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestTakeBackSecrets(t *testing.T) {
	for _, tt := range []struct {
		name string
		Handover
		want bool // something stays
	}{
		{"a password", Handover{PasswordHash: aHash, AllowPasswordAuth: true}, false},
		{"a name", Handover{FQDN: "web-1"}, true},
		{"both", Handover{PasswordHash: aHash, SSHKeys: true, FQDN: "web-1"}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := tt.Write(dir); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if err := TakeBackSecrets(dir); err != nil {
					t.Fatal(err)
				}
			}
			text, err := os.ReadFile(filepath.Join(dir, dropIn))
			if tt.want != (err == nil) || tt.want && (string(text) != Handover{FQDN: "web-1"}.file() || !strings.Contains(string(text), "\nfqdn: \"web-1\"\n")) {
				t.Errorf("got %q, %v, want the name alone: %t", text, err, tt.want)
			}
		})
	}
	t.Run("the search", func(t *testing.T) {
		dir := t.TempDir()
		if err := NoSearch(dir); err != nil {
			t.Fatal(err)
		}
		if err := TakeBackSecrets(dir); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Lstat(filepath.Join(dir, dropIn)); !os.IsNotExist(err) {
			t.Errorf("got %v, want the drop-in gone", err)
		}
	})
	t.Run("not ours", func(t *testing.T) {
		dir := t.TempDir()
		if err := writeDropIn(dir, "password: x\nfqdn: \"a b\"\n"); err != nil {
			t.Fatal(err)
		}
		if err := TakeBackSecrets(dir); err == nil {
			t.Error("got no error, want one")
		}
		if _, err := os.Lstat(filepath.Join(dir, dropIn)); !os.IsNotExist(err) {
			t.Errorf("got %v, want the drop-in gone", err)
		}
	})
}

func TestHandoverRefusesNames(t *testing.T) {
	for _, bad := range []string{"a b", ".", "a.", ".a", "a\"b", "a\nb: c", "ä"} {
		dir := t.TempDir()
		err := Handover{FQDN: bad}.Write(dir)
		if want := "cannot hand the host name over to cloud-init: it is not a DNS name"; err == nil || err.Error() != want {
			t.Errorf("%q: got %v, want %s", bad, err, want)
		}
	}
}

func TestNames(t *testing.T) {
	for _, tt := range []struct {
		name        string
		image, user string
		want        string // where the FQDN comes from
		prefer      bool
	}{
		{"nothing", "", "", "", false},
		{"host names", "hostname: img\n", "hostname: web\n", "", false},
		{"the image's FQDN", "fqdn: a.b\n", "", "/etc/cloud/cloud.cfg:1", false},
		{"both have an FQDN", "fqdn: a.b\n", "fqdn: c.d\n", "/etc/cloud/cloud.cfg:1", false},
		{"user-data's FQDN overrides ours", "", "fqdn: c.d\nhostname: e.f\n", "", false},
		{"user-data's hostname has a domain", "", "hostname: a.b\n", "user-data:2", false},
		{"the image's hostname has a domain", "hostname: a.b\n", "", "/etc/cloud/cloud.cfg:1", false},
		{"user-data's hostname overrides it", "hostname: a.b\n", "hostname: web\n", "", false},
		{"a dot first", "hostname: .b\n", "", "", false},
		{"prefer", "prefer_fqdn_over_hostname: true\n", "", "", true},
		{"prefer, in words", "prefer_fqdn_over_hostname: \"On\"\n", "", "", true},
		{"user-data prefers", "prefer_fqdn_over_hostname: false\n", "prefer_fqdn_over_hostname: yes\n", "", true},
		{"user-data does not", "prefer_fqdn_over_hostname: true\n", "prefer_fqdn_over_hostname: no\n", "", false},
		{"RHEL's class prefers", "system_info: {distro: rhel}\n", "", "", true},
		{"but is told not to", "prefer_fqdn_over_hostname: false\nsystem_info: {distro: rhel}\n", "", "", false},
		{"Debian's does not", "system_info: {distro: debian}\n", "", "", false},
		{"its own part", "system_info: {distro: debian, prefer_fqdn_over_hostname: 1}\n", "", "", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			root := t.TempDir()
			put(t, root, configFile, tt.image)
			c, err := Files{Root: root}.Config()
			if err != nil {
				t.Fatal(err)
			}
			user := ParseUserConfig([]byte("#cloud-config\n" + tt.user))
			if got := c.Names(user); got != tt.want {
				t.Errorf("got the FQDN from %q, want %q", got, tt.want)
			}
			if got := c.With(user).PreferFQDN(); got != tt.prefer {
				t.Errorf("got the FQDN preferred: %t, want %t", got, tt.prefer)
			}
		})
	}
}

func TestOpaque(t *testing.T) {
	const mixed = "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=x\n\n--x\nContent-Type: %\n\n"
	for _, tt := range []struct {
		name, text      string
		opaque, mayName bool
	}{
		{"nothing", "", false, false},
		{"cloud-config", "#cloud-config\nhostname: a.b\n", false, false},
		{"a script", "#!/bin/sh\nhostname: a\n", false, false},
		{"a template", "## template: jinja\n#cloud-config\nhostname: a.{{ v1.region }}\n", true, true},
		{"a template without a name", "## template: jinja\n#cloud-config\nruncmd: [hostname]\nprefer_fqdn_over_hostname: true\n", true, false},
		{"an archive", "#cloud-config-archive\n- content: |\n    #cloud-config\n    hostname: a\n", true, true},
		{"JSON patches", "#cloud-config-jsonp\n[{\"op\": \"add\", \"path\": \"/x\", \"value\": {\"hostname\": \"a\"}}]\n", true, true},
		{"elsewhere", "#include\nhttps://example.org/user-data\n", true, false},
		{"a template in a part", strings.Replace(mixed, "%", "text/jinja2", 1) + "#cloud-config\nhostname: a\n--x--\n", true, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			u := ParseUserConfig([]byte(tt.text))
			if u.Opaque() != tt.opaque || u.MayName() != tt.mayName {
				t.Errorf("got %t, %t, want %t, %t", u.Opaque(), u.MayName(), tt.opaque, tt.mayName)
			}
		})
	}
}

func TestRecordedFQDN(t *testing.T) {
	const record = `{
 "fqdn": "web-1.lan",
 "hostname": "web-1"
}`
	for _, tt := range []struct {
		name, record, instance, previous, want string
	}{
		{"this instance's", record, "i\n", "", "web-1.lan"},
		{"without a domain", `{"fqdn": "web-1", "hostname": "web-1"}`, "i", "", "web-1"},
		{"another instance's", record, "j", "i", ""},
		{"no instance", record, "", "", ""},
		{"no record", "", "i", "", ""},
		{"damaged", `{"fqdn": `, "i", "", ""},
		{"null", `{"fqdn": null, "hostname": "web-1"}`, "i", "", ""},
		{"too much", record + strings.Repeat(" ", maxRecord), "i", "", ""},
		{"after a boot without data", record, noInstance, "i", "web-1.lan"},
		{"that had no domain", `{"fqdn": "web-1", "hostname": "web-1"}`, noInstance, "i", ""},
		{"after a boot without data of another one", record, noInstance, "j", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			root := t.TempDir()
			put(t, root, recordFile, tt.record)
			put(t, root, instanceFile, tt.instance)
			put(t, root, previousFile, tt.previous)
			if got := (Files{Root: root}).RecordedFQDN("i"); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
	if got := (Files{Root: t.TempDir()}).RecordedFQDN("i"); got != "" {
		t.Errorf("without cloud-init: got %q, want nothing", got)
	}
}
