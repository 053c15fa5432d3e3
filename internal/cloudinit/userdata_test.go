package cloudinit

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
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

func TestPartsOfUserData(t *testing.T) {
	for _, tt := range packed {
		if diff := cmp.Diff(tt.want, cloudConfigs(tt.text)); diff != "" {
			t.Errorf("%s: -want +got:\n%s", tt.name, diff)
		}
	}
	u := ParseUserConfig([]byte(gzipped(message(cloudPart+"a: b", cloudPart+"password: x\nssh_authorized_keys: [ssh-ed25519 AAAA]"))))
	if got := (Config{}).With(u).Passwords(); got != "user-data:1" || !u.Mentions("AAAA") {
		t.Errorf("got passwords at %q, key mentioned %t, want user-data:1, true", got, u.Mentions("AAAA"))
	}
	u = ParseUserConfig([]byte(message(cloudPart+"user: first", cloudPart+"\nuser: second")))
	if got := (Config{}).With(u).DefaultUser(); got != "second" {
		t.Errorf("of two parts: got user %q, want that of the last", got)
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
			t.Errorf("%s: got %d parts, want at most %d", name, len(all), maxParts)
		}
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
			t.Errorf("got %d bytes, want at most %d", size, max(maxUserConfig, len(data)))
		}
	})
}
