package vrtest

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
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

func TestRequestsAreLogged(t *testing.T) {
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
			t.Errorf("%s %s: got %s, want a time from %s to now", r.Method, r.Path, r.Time, before)
		}
	}
	if got := l.Connections(); got != 2 {
		t.Errorf("got %d connections on the metadata port, want 2", got)
	}
	l.ResetLog()
	if len(l.Requests()) != 0 || l.Connections() != 0 {
		t.Errorf("got %d requests and %d connections after ResetLog, want none", len(l.Requests()), l.Connections())
	}
}

func TestServeEndsWithItsContext(t *testing.T) {
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
			synctest.Test(t, func(t *testing.T) {
				v, l := New(), newPipeListener()
				v.SetFaults(test.fault)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				done := make(chan error)
				go func() { done <- v.ServeMetadata(ctx, l) }()
				send(t, l.client, "GET / HTTP/1.1\r\nHost: vr\r\n\r\n")
				answer := make(chan error)
				go func() {
					_, err := io.ReadAll(l.client)
					answer <- err
				}()
				synctest.Wait() // until the VR waits for more, or hangs

				start := time.Now()
				cancel()
				if err := <-done; err != nil {
					t.Errorf("got %v from serving, want no error", err)
				}
				if err := <-answer; err != nil {
					t.Errorf("got %v on the open connection, want it closed", err)
				}
				if took := time.Since(start); took != 0 { // a connection is idle for 5 s
					t.Errorf("got the end after %s, want it with the context", took)
				}
				if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
					t.Errorf("got %v from the listener, want %v", err, net.ErrClosed)
				}
			})
		})
	}
}

func TestServeFailsOnAClosedListener(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closeQuietly(l)
	if err := New().ServePasswords(t.Context(), l); err == nil || !strings.HasPrefix(err.Error(), "cannot accept a connection: ") {
		t.Errorf("got %v, want: cannot accept a connection: ...", err)
	}
}
