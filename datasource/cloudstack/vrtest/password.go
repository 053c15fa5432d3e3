package vrtest

import (
	"fmt"
	"net/http"
	"net/netip"
	"strconv"
	"time"
)

// SetOldPasswordServer makes the password server answer like that of old VRs:
// an empty body, instead of saved_password, if no password waits.
func (v *VR) SetOldPasswordServer(old bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.oldPasswords = old
}

// PasswordAcknowledged reports whether the VM at addr has acknowledged a
// waiting password since it was set.
func (v *VR) PasswordAcknowledged(addr netip.Addr) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.acknowledged[addr.Unmap()]
}

// password returns the body for send_my_password.
func (v *VR) password(client netip.Addr) string {
	v.mu.Lock()
	defer v.mu.Unlock()
	if vm := v.vmLocked(client); vm != nil && vm.Password != "" && !v.acknowledged[client] {
		return vm.Password
	}
	if v.oldPasswords {
		return ""
	}
	return "saved_password"
}

// forgetPassword carries out saved_password.
func (v *VR) forgetPassword(client netip.Addr) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if vm := v.vmLocked(client); vm != nil && vm.Password != "" {
		v.acknowledged[client] = true
	}
}

// passwordServer is the password port: Python's http.server with the VR's
// passwd_server_ip.py on top.
type passwordServer struct{ vr *VR }

func (passwordServer) port() Port { return PasswordPort }

func (passwordServer) keepAlive() (int, time.Duration) { return 0, 0 }

func (s passwordServer) answer(client netip.Addr, r *http.Request) answer {
	switch r.Method {
	case http.MethodGet:
	case http.MethodPost:
		// Only the VR itself may save a password. The script sends its 200
		// before it looks who asks, and the 403 never leaves.
		return answer{status: http.StatusOK, size: -1}
	default:
		return s.errorPage(http.StatusNotImplemented, fmt.Sprintf("Unsupported method ('%s')", r.Method),
			"Server does not support this operation")
	}
	switch r.Header.Get("DomU_Request") {
	case "send_my_password":
		return s.content("", []byte(s.vr.password(client)))
	case "saved_password":
		s.vr.forgetPassword(client)
		return s.content("", []byte("saved_password"))
	}
	// The script means to answer 400, but has sent 200 already.
	return s.content("", []byte("bad_request"))
}

// content is close-delimited. The script adds a Server field to the one that
// http.server sends.
func (passwordServer) content(contentType string, body []byte) answer {
	if contentType == "" {
		contentType = "text/plain"
	}
	a := answer{
		status: http.StatusOK,
		fields: []field{{"Content-type", contentType}, {"Server", "CloudStack Password Server"}},
	}.withBody(body)
	a.size = -1
	return a
}

func (s passwordServer) page(status int) answer {
	return s.errorPage(status, http.StatusText(status), http.StatusText(status))
}

// errorPage is send_error of Python 3.11's http.server.
func (passwordServer) errorPage(status int, message, explanation string) answer {
	page := fmt.Sprintf(`<!DOCTYPE HTML>
<html lang="en">
    <head>
        <meta charset="utf-8">
        <title>Error response</title>
    </head>
    <body>
        <h1>Error response</h1>
        <p>Error code: %d</p>
        <p>Message: %s.</p>
        <p>Error code explanation: %d - %s.</p>
    </body>
</html>
`, status, message, status, explanation)
	return answer{
		status:      status,
		reason:      message,
		fields:      []field{{"Connection", "close"}},
		contentType: "text/html;charset=utf-8",
	}.withBody([]byte(page))
}

func (passwordServer) head(a answer, _ *http.Request, _ session) string {
	fields := []field{{"Server", "CloudStack Password Server 4.x"}, {"Date", httpDate(time.Now())}}
	fields = append(fields, a.fields...)
	if a.contentType != "" {
		fields = append(fields, field{"Content-Type", a.contentType})
	}
	if a.size >= 0 {
		fields = append(fields, field{"Content-Length", strconv.FormatInt(a.size, 10)})
	}
	return renderHead("HTTP/1.0", a, fields...)
}
