package vrtest

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestFaultAnswers has the faults that show in the bytes of the answer.
func TestFaultAnswers(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\n" + server
	const closes = "Connection: close\r\n"
	const redirectPage = docType + "<html><head>\n<title>302 Found</title>\n</head><body>\n<h1>Found</h1>\n" +
		"<p>The server could not complete your request.</p>\n</body></html>\n"
	const unavailablePage = docType + "<html><head>\n<title>503 Service Unavailable</title>\n</head><body>\n<h1>Service Unavailable</h1>\n" +
		"<p>The server is temporarily unable to service your\nrequest due to maintenance downtime or capacity\nproblems. Please try again later.</p>\n</body></html>\n"
	id := found("24", "36", exampleID)

	for _, test := range []struct {
		name  string
		fault Fault
		want  string
	}{
		{"none", Fault{}, id},
		{"Status", Fault{Status: 404}, notFound},
		{"Status 503", Fault{Status: 503}, "HTTP/1.1 503 Service Unavailable\r\n" + server + "Content-Length: 339\r\n" + closes + htmlType + unavailablePage},
		{"Empty", Fault{Empty: true}, ok + "Content-Length: 0\r\n" + closes + "\r\n"},
		{"Oversize", Fault{Oversize: 5}, ok + "Content-Length: 5\r\n" + closes + "\r\nxxxxx"},
		{"Body", Fault{Body: []byte("<h1>Router</h1>"), ContentType: "text/html"}, ok + "Content-Length: 15\r\n" + closes + "Content-Type: text/html\r\n\r\n<h1>Router</h1>"},
		{"RedirectTo", Fault{RedirectTo: "http://192.0.2.1/login"}, "HTTP/1.1 302 Found\r\n" + server + "Location: http://192.0.2.1/login\r\nContent-Length: 224\r\n" + closes + htmlType + redirectPage},
		{"NoLength", Fault{NoLength: true}, strings.Replace(id, "Content-Length: 36\r\n", "", 1)},
		{"HeaderBytes", Fault{HeaderBytes: 1000}, strings.Replace(id, "Content-Length", "X-Filler: "+strings.Repeat("x", 1000)+"\r\nContent-Length", 1)},
		{"Truncate", Fault{Truncate: 10}, strings.Replace(id, exampleID, exampleID[:10], 1)},
		{"Truncate nothing", Fault{Truncate: 100}, id},
		{"combined", Fault{Oversize: 1 << 40, NoLength: true, Truncate: 3}, ok + closes + "\r\nxxx"},
	} {
		t.Run(test.name, func(t *testing.T) {
			l := newLab(t)
			l.SetVM(clientA, Example(exampleID, clientA))
			l.SetFaults(test.fault)
			if diff := cmp.Diff(test.want, steady(l.get(t, "/latest/vm-id"))); diff != "" {
				t.Errorf("answer (-want +got):\n%s", diff)
			}
			l.SetFaults()
			if diff := cmp.Diff(id, steady(l.get(t, "/latest/vm-id"))); diff != "" {
				t.Errorf("the fault stays (-want +got):\n%s", diff)
			}
		})
	}
}

// TestFaultClosesConnection has the faults after which a client that would
// keep the connection cannot. Without them the connection closes later, when it
// has been idle.
func TestFaultClosesConnection(t *testing.T) {
	for _, test := range []struct {
		name   string
		fault  Fault
		closes time.Duration // after the request
	}{
		{"none", Fault{}, 5 * time.Second},
		{"Truncate", Fault{Truncate: 10}, 0},
		{"NoLength", Fault{NoLength: true}, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := startPipe(t, test.fault, 0)
				send(t, c, "GET /latest/a HTTP/1.1\r\nHost: vr\r\n\r\n")
				start := time.Now()
				if _, err := io.ReadAll(c); err != nil {
					t.Error(err)
				}
				if took := time.Since(start); took != test.closes {
					t.Errorf("got the connection closed after %s, want %s", took, test.closes)
				}
			})
		})
	}
}

func TestFaultReset(t *testing.T) {
	for _, port := range []Port{MetadataPort, PasswordPort} {
		l := newLab(t)
		vm := Example(exampleID, clientA)
		vm.Password = "x"
		l.SetVM(clientA, vm)
		l.SetFaults(Fault{Port: port, Reset: true})
		addr := map[Port]net.Addr{MetadataPort: l.metadata, PasswordPort: l.passwords}[port]
		got, err := ask(t, clientA, addr, "GET / HTTP/1.1\r\nHost: vr\r\nDomU_Request: saved_password\r\n\r\n")
		if got != "" || !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("port %d: got %q, %v", port, got, err)
		}
		if r := l.Requests(); len(r) != 1 || r[0].Status != 0 {
			t.Errorf("port %d: log %+v", port, r)
		}
		// The answer is lost, not the request.
		if got, want := l.PasswordAcknowledged(clientA), port == PasswordPort; got != want {
			t.Errorf("port %d: acknowledged: %t, want %t", port, got, want)
		}
	}
}

func TestFaultHangNeverAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := startPipe(t, Fault{Hang: true}, 0)
		send(t, c, "GET / HTTP/1.1\r\nHost: vr\r\n\r\n")
		if err := c.SetReadDeadline(time.Now().Add(24 * time.Hour)); err != nil {
			t.Fatal(err)
		}
		if n, err := c.Read(make([]byte, 1)); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("got %d bytes and %v, want no answer within a day", n, err)
		}
	})
}

func TestFaultOversizeStreams(t *testing.T) {
	l := newLab(t)
	l.SetFaults(Fault{Oversize: 64 << 20})
	r, err := http.Get("http://" + l.metadata.String() + "/latest/user-data")
	if err != nil {
		t.Fatal(err)
	}
	defer closeQuietly(r.Body)
	if n, err := io.Copy(io.Discard, r.Body); n != 64<<20 || err != nil {
		t.Errorf("got %d bytes, %v", n, err)
	}
}

func TestFaultRules(t *testing.T) {
	isHead := func(r Request) bool { return r.Method == http.MethodHead }
	for _, test := range []struct {
		name   string
		faults []Fault
		paths  []string
		want   []int
	}{
		{"path", []Fault{{Match: Path("/latest/vm-id"), Status: 500}}, []string{"/latest/vm-id", "/latest/vm-id?x", "/latest/instance-id"}, []int{500, 200, 200}},
		{"no match", []Fault{{Match: isHead, Status: 500}}, []string{"/latest/vm-id"}, []int{200}},
		{"times", []Fault{{Times: 2, Status: 503}}, []string{"/latest/vm-id", "/latest/vm-id", "/latest/vm-id"}, []int{503, 503, 200}},
		{"times of matching ones", []Fault{{Match: Path("/latest/vm-id"), Times: 1, Status: 503}}, []string{"/latest/", "/latest/vm-id", "/latest/vm-id"}, []int{403, 503, 200}},
		{"one after the other", []Fault{{Times: 1, Status: 500}, {Times: 1, Status: 404}}, []string{"/latest/vm-id", "/latest/vm-id", "/latest/vm-id"}, []int{500, 404, 200}},
		{"first one that matches", []Fault{{Match: Path("/x"), Status: 500}, {Status: 503}, {Status: 404}}, []string{"/latest/vm-id", "/x"}, []int{503, 500}},
		{"other port", []Fault{{Port: PasswordPort, Status: 500}}, []string{"/latest/vm-id"}, []int{200}},
	} {
		t.Run(test.name, func(t *testing.T) {
			l := newLab(t)
			l.SetVM(clientA, Example(exampleID, clientA))
			l.SetFaults(test.faults...)
			for _, path := range test.paths {
				l.get(t, path)
			}
			var got []int
			for _, r := range l.Requests() {
				got = append(got, r.Status)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("status of each (-want +got):\n%s", diff)
			}
		})
	}
}

func TestFaultOnPasswords(t *testing.T) {
	l := newLab(t)
	l.SetVM(clientA, &VM{Password: "secret"})
	const send, saved = "GET / HTTP/1.1\r\nDomU_Request: send_my_password", "GET / HTTP/1.1\r\nDomU_Request: saved_password"

	l.SetFaults(Fault{Port: PasswordPort, Match: DomURequest("saved_password"), Status: 500})
	if got := l.askPassword(t, clientA, send); got != passwordHead+"secret" {
		t.Errorf("a fault of saved_password hits send_my_password: %q", got)
	}
	if got := l.askPassword(t, clientA, saved); !strings.HasPrefix(got, "HTTP/1.0 500 Internal Server Error\r\n") {
		t.Errorf("Status: got %q", got)
	}
	l.SetVM(clientA, &VM{Password: "secret"})
	for _, test := range []struct {
		fault Fault
		want  string
	}{
		{Fault{Port: PasswordPort, Empty: true}, passwordHead},
		{Fault{Port: PasswordPort, Truncate: 3}, passwordHead + "sec"},
		{Fault{Port: PasswordPort, Oversize: 4}, passwordHead + "xxxx"},
		{Fault{Port: PasswordPort, Body: []byte("<html>"), ContentType: "text/html"}, strings.Replace(passwordHead, "text/plain", "text/html", 1) + "<html>"},
	} {
		l.SetFaults(test.fault)
		if diff := cmp.Diff(test.want, l.askPassword(t, clientA, send)); diff != "" {
			t.Errorf("%+v (-want +got):\n%s", test.fault, diff)
		}
	}
}

// TestFaultTimes has the faults that take time, on a clock of its own.
func TestFaultTimes(t *testing.T) {
	for _, test := range []struct {
		name  string
		fault Fault
		after time.Duration // SetFaults
		took  time.Duration
		want  string
	}{
		{"none", Fault{}, 0, 0, "200 secret"},
		{"Delay", Fault{Delay: time.Minute}, 0, time.Minute, "200 secret"},
		{"Delay of another answer", Fault{Delay: time.Minute, Empty: true}, 0, time.Minute, "200 "},
		{"Drip", Fault{Drip: 2 * time.Second}, 0, 12 * time.Second, "200 secret"},
		{"Drip, truncated", Fault{Drip: 2 * time.Second, Truncate: 2}, 0, 4 * time.Second, "unexpected EOF"},
		{"For, during", Fault{For: 5 * time.Second, Empty: true}, 4999 * time.Millisecond, 0, "200 "},
		{"For, after", Fault{For: 5 * time.Second, Empty: true}, 5 * time.Second, 0, "200 secret"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := startPipe(t, test.fault, test.after)
				start := time.Now()
				got := get(c)
				if took := time.Since(start); took != test.took || got != test.want {
					t.Errorf("got %q after %s, want %q after %s", got, took, test.want, test.took)
				}
			})
		})
	}
}

// startPipe serves a VM with one key on a single connection in the test's
// synctest bubble, from some time after the fault is set until the test ends.
func startPipe(t *testing.T, fault Fault, after time.Duration) net.Conn {
	t.Helper()
	v, l := New(), newPipeListener()
	v.SetDefaultVM(&VM{Metadata: []Key{{"a", "secret"}}})
	v.SetFaults(fault)
	time.Sleep(after)
	done := make(chan error)
	go func() { done <- v.ServeMetadata(t.Context(), l) }()
	t.Cleanup(func() {
		if err := <-done; err != nil {
			t.Errorf("got %v, want serving to end with its context", err)
		}
	})
	return l.client
}

// get reads one answer with net/http, and returns its status and body.
func get(c net.Conn) string {
	if _, err := io.WriteString(c, "GET /latest/a HTTP/1.1\r\nHost: vr\r\nConnection: close\r\n\r\n"); err != nil {
		return err.Error()
	}
	r, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return err.Error()
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%d %s", r.StatusCode, body)
}

// pipeListener has a single connection, without the network, which would make
// a synctest bubble wait for real.
type pipeListener struct {
	client, server net.Conn
	accepted       bool
	closed         chan struct{}
	close          func()
}

func newPipeListener() *pipeListener {
	l := &pipeListener{closed: make(chan struct{})}
	l.client, l.server = net.Pipe()
	l.close = sync.OnceFunc(func() { close(l.closed) })
	return l
}

func (l *pipeListener) Accept() (net.Conn, error) {
	if !l.accepted {
		l.accepted = true
		return l.server, nil
	}
	<-l.closed
	return nil, net.ErrClosed
}

func (l *pipeListener) Close() error { l.close(); return nil }

func (l *pipeListener) Addr() net.Addr { return l.client.LocalAddr() }
