package cloudstack

import (
	"errors"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/nm-cloud-seed/nm-cloud-seed/datasource"
)

func TestParsePassword(t *testing.T) {
	t.Parallel()
	var printable strings.Builder
	for c := ' '; c <= '~'; c++ {
		printable.WriteRune(c)
	}
	for _, is := range []string{
		"fbq4GA", printable.String(), `p:#"'\`, "pässwörd", " padded ", strings.Repeat("x", 200), "saved_password2", "Bad_request", "<3",
	} {
		if got, err := ParsePassword([]byte(is)); got != is || err != nil {
			t.Errorf("%q: got %q, %v", is, got, err)
		}
	}
	for _, not := range []string{
		"", " ", "\n", "bad_request", "saved_password\n", "secret\n", "sec\x00ret", "\x1bsecret", "sec\xffret", "secret\u0085",
		"HTTP/1.0 200 OK", "<!DOCTYPE HTML PUBLIC>", "<html>", strings.Repeat("x", maxPassword+1),
	} {
		got, err := ParsePassword([]byte(not))
		if got != "" || !errors.Is(err, datasource.ErrRefused) {
			t.Errorf("%q: got %q, %v", not, got, err)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("the error repeats the answer: %v", err)
		}
	}
	if _, err := ParsePassword([]byte("saved_password")); !errors.Is(err, ErrNoPassword) {
		t.Errorf("got %v", err)
	}
}

func FuzzPassword(f *testing.F) {
	for _, body := range []string{"fbq4GA", "saved_password", "bad_request", "", "HTTP/1.0 200 OK\r\n", "<html>", "a\nb", "\xff"} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := ParsePassword(body)
		switch {
		case err != nil && got != "":
			t.Errorf("%q beside %v", got, err)
		case err == nil && (got != string(body) || len(got) == 0 || len(got) > maxPassword || !utf8.ValidString(got) || strings.ContainsFunc(got, unicode.IsControl)):
			t.Errorf("%q is a password", got)
		case err != nil && len(body) > 12 && strings.Contains(err.Error(), string(body)):
			t.Errorf("the error repeats the answer: %v", err)
		}
	})
}
