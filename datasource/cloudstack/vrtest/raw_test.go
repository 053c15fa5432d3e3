package vrtest

import (
	"context"
	"io"
	"net"
	"net/netip"
	"regexp"
	"testing"
)

// The addresses of two clients; Linux has all of 127.0.0.0/8.
var (
	clientA = netip.MustParseAddr("127.0.0.11")
	clientB = netip.MustParseAddr("127.0.0.12")
)

const exampleID = "6fb2a6a0-6b1e-4b7a-9f1c-0d2f1c9c1f11"

// lab is a VR that serves on both ports.
type lab struct {
	*VR
	metadata, passwords net.Addr
}

func newLab(t *testing.T) lab {
	t.Helper()
	v := New()
	return lab{v, start(t, v.ServeMetadata), start(t, v.ServePasswords)}
}

func start(t *testing.T, serve func(context.Context, net.Listener) error) net.Addr {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() { done <- serve(t.Context(), l) }()
	t.Cleanup(func() {
		if err := <-done; err != nil {
			t.Errorf("got %v, want serving to end with its context", err)
		}
	})
	return l.Addr()
}

func dial(t *testing.T, client netip.Addr, server net.Addr) net.Conn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: client.AsSlice()}}
	c, err := d.DialContext(t.Context(), "tcp4", server.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeQuietly(c) })
	return c
}

// ask sends a request and returns everything that comes back until the server
// closes, and how that ended.
func ask(t *testing.T, client netip.Addr, server net.Addr, request string) (string, error) {
	t.Helper()
	c := dial(t, client, server)
	send(t, c, request)
	answer, err := io.ReadAll(c)
	return string(answer), err
}

func send(t *testing.T, c net.Conn, request string) {
	t.Helper()
	if _, err := io.WriteString(c, request); err != nil {
		t.Fatal(err)
	}
}

// get asks the metadata port on a connection of its own.
func (l lab) get(t *testing.T, path string) string {
	t.Helper()
	answer, err := ask(t, clientA, l.metadata, "GET "+path+" HTTP/1.1\r\nHost: vr\r\nConnection: close\r\n\r\n")
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

// steady replaces what differs from run to run, and only if it has the shape
// that it must have.
func steady(answer string) string {
	for _, r := range []struct{ shape, by string }{
		{`(Date|Last-Modified): [A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT\r\n`, "$1: TIME\r\n"},
		{`ETag: W/"([0-9a-f]+)-[0-9a-f]{13};[0-9a-f]{13}\r\n`, "ETag: W/\"$1-M;M\r\n"},
	} {
		answer = regexp.MustCompile(r.shape).ReplaceAllString(answer, r.by)
	}
	return answer
}
