package cloudstack

import (
	"errors"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/nm-cloud-seed/nm-cloud-seed/datasource"
)

func TestInstanceID(t *testing.T) {
	t.Parallel()
	login := "<!DOCTYPE html><title>" + secret + "</title>"
	for _, test := range []struct {
		name, body string
		want       string // empty for none
		notReady   bool
	}{
		{"UUID", vmID, vmID, false},
		{"upper case", strings.ToUpper(vmID), strings.ToUpper(vmID), false},
		{"newline", vmID + "\n", vmID, false},
		{"white space", " \t" + vmID + "\r\n", vmID, false},
		{"internal name", "i-2-34-VM", "i-2-34-VM", false},
		{"internal name, with newline", "i-2-34-VM\n", "i-2-34-VM", false},
		{"internal name of another hypervisor", "i-1-2-QA-x1", "i-1-2-QA-x1", false},
		{"empty", "", "", true},
		{"white space only", " \n", "", false},
		{"EC2", "i-0abcdef1234567890", "", false},
		{"internal name without a name", "i-2-34-", "", false},
		{"internal name, a path", "i-2-34-../x", "", false},
		{"two lines", "i-2-34-VM\ni-2-35-VM", "", false},
		{"login page", login, "", false},
		{"OK", "OK", "", false},
		{"braces", "{" + vmID + "}", "", false},
		{"URN", "urn:uuid:" + vmID, "", false},
		{"no hyphens", strings.ReplaceAll(vmID, "-", ""), "", false},
		{"UUID and more", vmID + " " + secret, "", false},
		{"no hexadecimal", "z" + vmID[1:], "", false},
		{"a long line", strings.Repeat("a", 300), "", false},
		{"a UUID and 300 bytes of white space", vmID + strings.Repeat(" ", 300), "", false},
		{"zero bytes", vmID + "\x00", "", false},
	} {
		got, err := instanceID([]byte(test.body))
		if got != test.want || (err == nil) != (test.want != "") {
			t.Errorf("%s: got %q, %v, want %q", test.name, got, err, test.want)
		}
		if errors.Is(err, datasource.ErrNotReady) != test.notReady {
			t.Errorf("%s: %v", test.name, err)
		}
		if err != nil && strings.Contains(err.Error(), secret) {
			t.Errorf("%s: the error has the body in it: %v", test.name, err)
		}
	}
}

func FuzzInstanceID(f *testing.F) {
	for _, body := range []string{"", vmID, vmID + "\n", "i-2-34-VM", "{" + vmID + "}", "urn:uuid:" + vmID, "OK", "<html>", strings.Repeat("0", 300)} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		id, err := instanceID(body)
		if (id == "") != (err != nil) {
			t.Fatalf("%q: %q and %v", body, id, err)
		}
		if err != nil {
			if text := err.Error(); len(text) > 100 || strings.ContainsFunc(text, unicode.IsControl) {
				t.Fatalf("%q: %q", body, text)
			}
			return
		}
		// It becomes the name of directories.
		if len(id) > 128 || strings.Trim(id, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-") != "" || id[0] == '-' {
			t.Fatalf("%q: %q is no sane id", body, id)
		}
		if strings.TrimSpace(string(body)) != id {
			t.Fatalf("%q: %q is not what is there", body, id)
		}
		if again, err := instanceID([]byte(id)); again != id || err != nil {
			t.Fatalf("%q is %q, %v the second time", id, again, err)
		}
	})
}

func FuzzLeaf(f *testing.F) {
	for _, value := range []string{"", "web-1", "\\u00FC", "a\nb\n", "\xfc", "\xed\xa0\x80", "\U0001f600"} {
		f.Add([]byte(value))
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		text, whole := leaf(value)
		if !utf8.ValidString(text) || whole != (text == string(value)) {
			t.Errorf("%q became %q, %v", value, text, whole)
		}
	})
}
