package vrtest

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestDefaultVM(t *testing.T) {
	l := newLab(t)
	l.SetDefaultVM(Example("default", clientB))
	l.SetVM(clientA, Example("own", clientA))
	for _, step := range []struct {
		change func()
		want   string
	}{
		{func() {}, "own"},
		{func() { l.SetVM(clientA, nil) }, "default"},
		{func() { l.SetDefaultVM(nil) }, notFoundPage},
	} {
		step.change()
		if got := l.get(t, "/latest/instance-id"); !strings.HasSuffix(got, "\r\n\r\n"+step.want) {
			t.Errorf("got %q, want %q", got, step.want)
		}
	}
}

func TestLog(t *testing.T) {
	l := newLab(t)
	l.SetVM(clientA, &VM{Metadata: []Key{{"a", "1"}}, Password: "secret"})
	before := time.Now()

	_, err := ask(t, clientA, l.metadata, "GET /latest/a?b HTTP/1.1\r\nHost: vr\r\n\r\nHEAD /nothing HTTP/1.1\r\nHost: vr\r\nConnection: close\r\n\r\n")
	if err != nil {
		t.Fatal(err)
	}
	l.askPassword(t, clientA, "GET /p HTTP/1.1\r\nDomU_Request: send_my_password")
	_, err = ask(t, clientB, l.metadata, "GET /latest/a HTTP/1.0\r\n\r\n")
	if err != nil {
		t.Fatal(err)
	}

	want := []Request{
		{Port: MetadataPort, Client: clientA, Method: "GET", Path: "/latest/a?b", Status: 200, Conn: 1},
		{Port: MetadataPort, Client: clientA, Method: "HEAD", Path: "/nothing", Status: 404, Conn: 1},
		{Port: PasswordPort, Client: clientA, Method: "GET", Path: "/p", DomURequest: "send_my_password", Status: 200, Conn: 2},
		{Port: MetadataPort, Client: clientB, Method: "GET", Path: "/latest/a", Status: 404, Conn: 3},
	}
	got := l.Requests()
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(Request{}, "Time"), cmpopts.EquateComparable(clientA)); diff != "" {
		t.Errorf("log (-want +got):\n%s", diff)
	}
	for _, r := range got {
		if r.Time.Before(before) || r.Time.After(time.Now()) {
			t.Errorf("%s %s was logged for %s", r.Method, r.Path, r.Time)
		}
	}
	if got := l.Connections(); got != 2 {
		t.Errorf("%d connections on the metadata port, want 2", got)
	}
	l.ResetLog()
	if len(l.Requests()) != 0 || l.Connections() != 0 {
		t.Error("ResetLog left something")
	}
}

func TestServeEnds(t *testing.T) {
	for _, test := range []struct {
		name  string
		fault Fault
	}{
		{"waiting for a request", Fault{}},
		{"hanging", Fault{Hang: true}},
		{"delaying", Fault{Delay: time.Hour}},
		{"dripping", Fault{Drip: time.Hour}},
	} {
		t.Run(test.name, func(t *testing.T) {
			v := New()
			v.SetFaults(test.fault)
			l, err := net.Listen("tcp4", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error)
			go func() { done <- v.ServeMetadata(ctx, l) }()
			c := dial(t, clientA, l.Addr())
			send(t, c, "GET / HTTP/1.1\r\nHost: vr\r\n\r\n")
			for len(v.Requests()) == 0 {
				time.Sleep(time.Millisecond)
			}

			cancel()
			select {
			case err := <-done:
				if err != nil {
					t.Errorf("serving ended with %v", err)
				}
			case <-time.After(2 * time.Second): // sooner than a connection is idle for too long
				t.Fatal("serving did not end")
			}
			if rest, err := io.ReadAll(c); err != nil {
				t.Errorf("the open connection was not closed: %q, %v", rest, err)
			}
			// Dialing proves nothing: the port may be another's by now.
			if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
				t.Errorf("the listener is still open: %v", err)
			}
		})
	}
}

func TestServeFails(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closeQuietly(l)
	if err := New().ServePasswords(t.Context(), l); err == nil || !strings.HasPrefix(err.Error(), "cannot accept a connection: ") {
		t.Errorf("serving a closed listener ended with %v", err)
	}
}
