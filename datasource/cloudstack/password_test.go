package cloudstack

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/nm-cloud-seed/nm-cloud-seed/datasource"
	"github.com/nm-cloud-seed/nm-cloud-seed/datasource/cloudstack/vrtest"
)

func TestParsePassword(t *testing.T) {
	t.Parallel()
	var printable strings.Builder
	for c := ' '; c <= '~'; c++ {
		printable.WriteRune(c)
	}
	for _, is := range []string{
		"fbq4GA", printable.String(), `p:#"'\`, "pässwörd", " padded ", strings.Repeat("x", maxPassword), "👩\u200d🔧",
		"saved_password2", "Bad_request", "HTTP", "http/x", "<3", "<", "<>", "< a>", "<html5", "<body8x", "<a", "a<b>c", "<3<b>",
	} {
		if got, err := ParsePassword([]byte(is)); got != is || err != nil {
			t.Errorf("%q: got %q, %v", is, got, err)
		}
	}
	for _, not := range []string{
		"", " ", "\n", "\u00a0", "bad_request", "bad_request\r\n", " bad_request",
		"saved_password\n", "saved_password ", " saved_password", "\tsaved_password\r\n", "saved_password\u00a0",
		"secret\n", "\nsecret", "sec\x00ret", "sec\tret", "\x1bsecret", "sec\x7fret", "sec\xffret", "secret\u0085", "sec\u2028ret", "secret\u2029",
		"HTTP/1.0 200 OK", "http/1.1 404 secret", "  HTTP/2 200", strings.Repeat("x", maxPassword+1),
		"<!DOCTYPE HTML PUBLIC>", "<!doctype ht", "<!-- secret", "<?xml version=", "<?php", "<html>", "<HTML lang=en", "  <html>", "\u00a0<html", "\n<!DOCTYPE",
		"<head><title>secret", "<Head", "<body", "<body class=x", "<title>secret", "<meta http-equiv", "<script src=", "<p>secret</p>", "<h1>secret", "</html>", "<error code='1'/>", "<soap:Envelope>",
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
	for _, body := range []string{"fbq4GA", "saved_password", " saved_password", "bad_request", "", "HTTP/1.0 200 OK\r\n", "<html>", " <p>", "<3", "a\nb", "\u2028", "\xff"} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := ParsePassword(body)
		word := strings.ToLower(strings.TrimSpace(got))
		switch {
		case err != nil && got != "":
			t.Errorf("%q beside %v", got, err)
		case err == nil && (got != string(body) || word == "" || len(got) > maxPassword || !utf8.ValidString(got) || strings.ContainsFunc(got, unicode.IsControl)):
			t.Errorf("%q is a password", got)
		case err == nil && (strings.HasPrefix(word, "<!") || strings.HasPrefix(word, "<html>") || strings.TrimSpace(got) == savedPassword || strings.TrimSpace(got) == "bad_request"):
			t.Errorf("%q is a password", got)
		case err != nil && len(body) > 14 && strings.Contains(err.Error(), string(body)):
			t.Errorf("the error repeats the answer: %v", err)
		}
	})
}

func TestPasswordIsNotShown(t *testing.T) {
	t.Parallel()
	p := Password{secret, addr("10.1.1.1")}
	for _, form := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		if said := fmt.Sprintf(form, p) + fmt.Sprintf(form, &p) + fmt.Sprintf(form, struct{ P Password }{p}); strings.Contains(said, secret) || strings.Contains(said, fmt.Sprintf("%x", secret)) {
			t.Errorf("%s: %s", form, said)
		}
	}
}

func TestPasswordRequests(t *testing.T) {
	t.Parallel()
	const head = "HTTP/1.0 200 OK\r\nServer: CloudStack Password Server 4.x\r\nContent-type: text/plain\r\nServer: CloudStack Password Server\r\n\r\n"
	for _, test := range []struct{ word, answer string }{{sendMyPassword, secret}, {savedPassword, savedPassword}} {
		inFakeTime(t, test.word, func(t *testing.T) {
			l := newPipeLab(t, 1)
			requests := l.raw(0, head+test.answer)
			want := []string{"GET / HTTP/1.1\r\nHost: " + netip.AddrPortFrom(l.addr(0), l.port).String() +
				"\r\nUser-Agent: nm-cloud-seed\r\nConnection: close\r\nDomU_Request: " + test.word + "\r\n\r\n"}
			c := l.client(l.lease(0))
			defer c.close()
			var err error
			if test.word == sendMyPassword {
				var p Password
				p, err = c.fetchPassword(t.Context(), l.lease(0))
				want = append(want, want[0])
				if diff := cmp.Diff(Password{secret, l.addr(0)}, p, addresses); diff != "" {
					t.Errorf("-want +got:\n%s", diff)
				}
			} else {
				err = c.acknowledge(t.Context(), l.addr(0))
			}
			if err != nil {
				t.Error(err)
			}
			var got []string
			for len(requests) > 0 {
				got = append(got, <-requests)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestAcknowledgePassword(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name  string
		fault vrtest.Fault
		want  string // an error, or none
		is    error
	}{
		{name: "acknowledged"},
		{name: "slowly", fault: vrtest.Fault{Drip: time.Millisecond}},
		{name: "another word", fault: vrtest.Fault{Body: []byte(secret)}, want: "refused: the answer is not saved_password", is: datasource.ErrRefused},
		{name: "with a newline", fault: vrtest.Fault{Body: []byte("saved_password\n")}, want: "refused: the answer is not saved_password"},
		{name: "bad_request", fault: vrtest.Fault{Body: []byte("bad_request")}, want: "refused: the answer is not saved_password"},
		{name: "empty", fault: vrtest.Fault{Empty: true}, want: "refused: the answer is not saved_password"},
		{name: "truncated", fault: vrtest.Fault{Truncate: 5}, want: "refused: the answer is not saved_password"},
		{name: "over the limit", fault: vrtest.Fault{Oversize: 1 << 30}, want: "refused: the answer is over the limit of 511 bytes"},
		{name: "500", fault: vrtest.Fault{Status: 500}, want: "not ready: the answer is HTTP status 500", is: datasource.ErrNotReady},
		{name: "404", fault: vrtest.Fault{Status: 404}, want: "the answer is 404 Not Found"},
		{name: "redirect", fault: vrtest.Fault{RedirectTo: "/"}, want: "the answer is HTTP status 302"},
		{name: "reset", fault: vrtest.Fault{Reset: true}, want: "connection reset by peer", is: unix.ECONNRESET},
		{name: "hangs", fault: vrtest.Fault{Hang: true}, want: "no answer in time", is: errSilent},
	} {
		inFakeTime(t, test.name, func(t *testing.T) {
			l, vm := newPipeLab(t, 2), example()
			vm.Password = secret
			vr, other := l.passwords(0, nil, test.fault), l.passwords(1, vm)
			own := addr("127.0.0.9")
			vr.SetVM(own, vm)
			from := l.lease(1)
			from.Address = netip.PrefixFrom(own, 8)
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			c := l.client(from)
			defer c.close()
			err := l.note(nil, c.acknowledge(ctx, l.addr(0)))
			if test.want != "" {
				test.want = "cannot acknowledge the password to 127.0.0.2: " + test.want
			}
			if (err == nil) != (test.want == "") || err != nil && err.Error() != test.want {
				t.Errorf("got %v, want %s", err, test.want)
			}
			if test.is != nil && !errors.Is(err, test.is) {
				t.Errorf("got %v, want %v", err, test.is)
			}
			if !vr.PasswordAcknowledged(own) || len(vr.Requests()) != 1 || len(other.Requests()) != 0 {
				t.Errorf("got requests %v and %v, acknowledged: %v, want one, none and true", vr.Requests(), other.Requests(), vr.PasswordAcknowledged(own))
			}
		})
	}
}

func TestAcknowledgePasswordWithoutServerFails(t *testing.T) {
	t.Parallel()
	l := newLab(t, 1)
	for server, want := range map[netip.Addr]string{
		l.addr(50): "cannot acknowledge the password to 127.0.0.52: connection refused",
		{}:         "cannot acknowledge the password to invalid IP: ",
	} {
		if err := AcknowledgePassword(t.Context(), l.lease(0), l.port, server); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got %v, want %s...", err, want)
		}
	}
}
