package cloudinit

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nm-cloud-seed/nm-cloud-seed/test/debroot"
)

func gzipped(text string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write([]byte(text))
	_ = w.Close()
	return b.String()
}

// message is user-data of several parts, each with its header.
func message(parts ...string) string {
	return "Content-Type: multipart/mixed; boundary=\"==B==\"\nMIME-Version: 1.0\n\n--==B==\n" + strings.Join(parts, "\n--==B==\n") + "\n--==B==--\n"
}

const (
	cloudPart = "Content-Type: text/cloud-config; charset=\"us-ascii\"\nMIME-Version: 1.0\n\n"
	plainPart = "Content-Type: text/plain; charset=\"us-ascii\"\n\n"
)

// packed are ways to give user-data, and the cloud-configs in it.
var packed = []struct {
	name, text string
	want       []string
}{
	{"plain", "#cloud-config\npassword: a\n", []string{"#cloud-config\npassword: a\n"}},
	{"a script", "#!/bin/sh\necho '#cloud-config'\n", nil},
	{"nothing", "", nil},
	{"compressed", gzipped("#cloud-config\npassword: a\n"), []string{"#cloud-config\npassword: a\n"}},
	{"parts", message(plainPart+"#!/bin/sh\n", cloudPart+"password: a", plainPart+"#cloud-config\nb: c"), []string{"password: a", "#cloud-config\nb: c"}},
	{"compressed parts", gzipped(message(cloudPart + "password: a")), []string{"password: a"}},
	{"base64", message("Content-Type: text/cloud-config\nContent-Transfer-Encoding: base64\n\n" + base64.StdEncoding.EncodeToString([]byte("#cloud-config\npassword: a\n"))), []string{"#cloud-config\npassword: a\n"}},
	{"quoted-printable", message("Content-Type: text/cloud-config\nContent-Transfer-Encoding: quoted-printable\n\npassword: =61=\nb"), []string{"password: ab"}},
	{
		"a compressed part", message("Content-Type: application/gzip\nContent-Transfer-Encoding: base64\n\n" + base64.StdEncoding.EncodeToString([]byte(gzipped("#cloud-config\npassword: a\n")))),
		[]string{"#cloud-config\npassword: a\n"},
	},
	{
		"parts of a part", message("Content-Type: multipart/mixed; boundary=\"==C==\"\n\n--==C==\n"+cloudPart+"password: a\n--==C==--\n", cloudPart+"b: c"),
		[]string{"password: a", "b: c"},
	},
	{"one part without others", "Content-Type: text/cloud-config\nMIME-Version: 1.0\n\npassword: a\n", []string{"password: a\n"}},
}

func cloudConfigs(text string) (all []string) {
	for _, p := range parts([]byte(text)) {
		if p.typ == cloudConfigType || isCloudConfig(p.text) {
			all = append(all, string(p.text))
		}
	}
	return all
}

func TestParts(t *testing.T) {
	for _, tt := range packed {
		if diff := cmp.Diff(tt.want, cloudConfigs(tt.text)); diff != "" {
			t.Errorf("%s: -want +got:\n%s", tt.name, diff)
		}
	}
	u := ParseUserConfig([]byte(gzipped(message(cloudPart+"a: b", cloudPart+"password: x\nssh_authorized_keys: [ssh-ed25519 AAAA]"))))
	if got := (Config{}).With(u).Passwords(); got != "user-data:1" || !u.Mentions("AAAA") {
		t.Errorf("passwords: %q, mentions the key: %t", got, u.Mentions("AAAA"))
	}
	u = ParseUserConfig([]byte(message(cloudPart+"user: first", cloudPart+"\nuser: second")))
	if got := (Config{}).With(u).DefaultUser(); got != "second" {
		t.Errorf("of two parts, the user of the last counts: %q", got)
	}
}

func TestPartsHostile(t *testing.T) {
	nested := cloudPart + "password: a"
	for range 2 * maxPartDepth {
		nested = message(nested)
	}
	bomb := gzipped("#cloud-config\n" + strings.Repeat(" ", 64<<20))
	for name, text := range map[string]string{
		"nested":      nested,
		"a bomb":      bomb,
		"parts":       message(strings.Split(strings.Repeat(cloudPart+"a: b\x00", 10*maxParts), "\x00")...),
		"bomb inside": message("Content-Type: application/gzip\n\n" + bomb),
		"cut off":     gzipped("#cloud-config\n")[:20],
		"no end":      strings.TrimSuffix(message(cloudPart+"a: b"), "\n--==B==--\n"),
		"no boundary": "Content-Type: multipart/mixed\nMIME-Version: 1.0\n\nx",
	} {
		if all := parts([]byte(text)); len(all) > maxParts {
			t.Errorf("%s: %d parts", name, len(all))
		}
	}
}

// TestPartsReal: the cloud-inits of the Debian releases unpack the same.
func TestPartsReal(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for i, tt := range packed {
		put(t, dir, fmt.Sprintf("%02d", i), tt.text)
	}
	const script = `
import json, os
from cloudinit import helpers, user_data, util
processor = user_data.UserDataProcessor(helpers.Paths({"cloud_dir": "/nowhere", "run_dir": "/nowhere"}))
for name in sorted(os.listdir("/mnt")):
    message = processor.process(open("/mnt/" + name, "rb").read())
    print(json.dumps([util.fully_decoded_payload(p) for p in message.walk() if p.get_content_type() == "text/cloud-config"]))
`
	for _, suite := range []string{"bookworm", "trixie", "sid"} {
		t.Run(suite, func(t *testing.T) {
			root, err := debroot.Image(suite).Open()
			if err != nil {
				t.Fatal(err)
			}
			var stderr bytes.Buffer
			cmd := exec.CommandContext(t.Context(), "unshare", "--mount", "sh", "-ec", `mount --bind "$1" "$2/mnt" && exec chroot "$2" python3 -c "$3"`, "sh", dir, root, script)
			cmd.Stderr = &stderr
			out, err := cmd.Output()
			if err != nil {
				t.Fatalf("%v\n%s", err, stderr.Bytes())
			}
			lines := strings.Split(strings.TrimSpace(string(out)), "\n")
			for i, tt := range packed {
				var got []string
				if err := json.Unmarshal([]byte(lines[i]), &got); err != nil {
					t.Fatal(err)
				}
				trimmed := func(all []string) (list []string) { // cloud-init adds and drops line ends
					for _, text := range all {
						list = append(list, strings.TrimSpace(text))
					}
					return list
				}
				if diff := cmp.Diff(trimmed(tt.want), trimmed(got)); diff != "" {
					t.Errorf("%s: -ours +cloud-init's:\n%s", tt.name, diff)
				}
			}
		})
	}
}

func FuzzParts(f *testing.F) {
	for _, tt := range packed {
		f.Add([]byte(tt.text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		size := 0
		for _, p := range parts(data) {
			size += len(p.text)
		}
		if size > max(maxUserConfig, len(data)) {
			t.Errorf("%d bytes", size)
		}
	})
}
