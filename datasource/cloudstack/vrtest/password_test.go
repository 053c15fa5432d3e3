package vrtest

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Recorded from passwd_server_ip.py's http.server on Python 3.11.
const (
	passwordHead = "HTTP/1.0 200 OK\r\nServer: CloudStack Password Server 4.x\r\nDate: TIME\r\n" +
		"Content-type: text/plain\r\nServer: CloudStack Password Server\r\n\r\n"
	unsupportedPut = "HTTP/1.0 501 Unsupported method ('PUT')\r\nServer: CloudStack Password Server 4.x\r\nDate: TIME\r\n" +
		"Connection: close\r\nContent-Type: text/html;charset=utf-8\r\nContent-Length: 356\r\n\r\n" +
		"<!DOCTYPE HTML>\n<html lang=\"en\">\n    <head>\n        <meta charset=\"utf-8\">\n        <title>Error response</title>\n    </head>\n" +
		"    <body>\n        <h1>Error response</h1>\n        <p>Error code: 501</p>\n        <p>Message: Unsupported method ('PUT').</p>\n" +
		"        <p>Error code explanation: 501 - Server does not support this operation.</p>\n    </body>\n</html>\n"
	unsupportedHead = "HTTP/1.0 501 Unsupported method ('HEAD')\r\nServer: CloudStack Password Server 4.x\r\nDate: TIME\r\n" +
		"Connection: close\r\nContent-Type: text/html;charset=utf-8\r\nContent-Length: 357\r\n\r\n"
)

// askPassword sends a request line with fields and returns the whole answer.
func (l lab) askPassword(t *testing.T, client netip.Addr, request string) string {
	t.Helper()
	answer, err := ask(t, client, l.passwords, request+"\r\n\r\n")
	if err != nil {
		t.Fatal(err)
	}
	return steady(answer)
}

func TestPasswordPort(t *testing.T) {
	const send = "GET / HTTP/1.1\r\nHost: vr\r\nDomU_Request: send_my_password"
	const saved = "GET / HTTP/1.1\r\nHost: vr\r\nDomU_Request: saved_password"
	with, without := Example(exampleID, clientA), Example(exampleID, clientA)
	with.Password = "Pa55 w=rd"

	for _, test := range []struct {
		name         string
		vm           *VM
		old          bool
		client       netip.Addr
		requests     []string // the answer to the last one counts
		want         string
		acknowledged bool
	}{
		{"waiting", with, false, clientA, []string{send}, passwordHead + "Pa55 w=rd", false},
		{"repeatable", with, false, clientA, []string{send, send}, passwordHead + "Pa55 w=rd", false},
		{"acknowledgement", with, false, clientA, []string{send, saved}, passwordHead + "saved_password", true},
		{"after acknowledgement", with, false, clientA, []string{send, saved, send}, passwordHead + "saved_password", true},
		{"any path, keep-alive, lower case name", with, false, clientA, []string{"GET /any/path?x HTTP/1.1\r\nConnection: keep-alive\r\ndomu_request: send_my_password"}, passwordHead + "Pa55 w=rd", false},
		{"none waiting", without, false, clientA, []string{send}, passwordHead + "saved_password", false},
		{"none waiting, acknowledged", without, false, clientA, []string{saved}, passwordHead + "saved_password", false},
		{"none waiting, old server", without, true, clientA, []string{send}, passwordHead, false},
		{"waiting, old server", with, true, clientA, []string{send}, passwordHead + "Pa55 w=rd", false},
		{"wrong address", with, false, clientB, []string{send}, passwordHead + "saved_password", false},
		{"acknowledged from the wrong address", with, false, clientB, []string{saved}, passwordHead + "saved_password", false},
		{"no header", with, false, clientA, []string{"GET / HTTP/1.1\r\nHost: vr"}, passwordHead + "bad_request", false},
		{"unknown value", with, false, clientA, []string{"GET / HTTP/1.1\r\nDomU_Request: x"}, passwordHead + "bad_request", false},
		{"wrong case", with, false, clientA, []string{"GET / HTTP/1.1\r\nDomU_Request: Send_My_Password"}, passwordHead + "bad_request", false},
		{"HEAD", with, false, clientA, []string{"HEAD / HTTP/1.1\r\nDomU_Request: saved_password"}, unsupportedHead, false},
		{"PUT", with, false, clientA, []string{"PUT / HTTP/1.1\r\nDomU_Request: saved_password"}, unsupportedPut, false},
		{"POST", with, false, clientA, []string{"POST / HTTP/1.1\r\nDomU_Request: save_password"}, "HTTP/1.0 200 OK\r\nServer: CloudStack Password Server 4.x\r\nDate: TIME\r\n\r\n", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			l := newLab(t)
			l.SetVM(clientA, test.vm)
			l.SetOldPasswordServer(test.old)
			var got string
			for _, request := range test.requests {
				got = l.askPassword(t, test.client, request)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("answer (-want +got):\n%s", diff)
			}
			if got := l.PasswordAcknowledged(clientA); got != test.acknowledged {
				t.Errorf("got acknowledged %t, want %t", got, test.acknowledged)
			}
		})
	}
}

func TestPasswordReplay(t *testing.T) {
	const send = "GET / HTTP/1.1\r\nDomU_Request: send_my_password"
	const saved = "GET / HTTP/1.1\r\nDomU_Request: saved_password"
	vm := &VM{Password: "again"}
	for _, set := range []struct {
		name string
		vm   func(v *VR)
	}{
		{"SetVM", func(v *VR) { v.SetVM(clientA, vm) }},
		{"SetDefaultVM", func(v *VR) { v.SetDefaultVM(vm) }},
	} {
		t.Run(set.name, func(t *testing.T) {
			l := newLab(t)
			set.vm(l.VR)
			l.askPassword(t, clientA, saved)
			if !l.PasswordAcknowledged(clientA) {
				t.Fatal("got the password not acknowledged, want it acknowledged")
			}
			set.vm(l.VR)
			if got := l.askPassword(t, clientA, send); got != passwordHead+"again" || l.PasswordAcknowledged(clientA) {
				t.Errorf("set again: got %q, acknowledged %t, want the password waiting", got, l.PasswordAcknowledged(clientA))
			}
		})
	}
}
