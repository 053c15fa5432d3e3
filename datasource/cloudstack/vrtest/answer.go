package vrtest

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"time"
)

// answer is what a service says, before it is put on the wire.
type answer struct {
	status      int
	reason      string // instead of the standard one
	fields      []field
	contentType string
	body        io.Reader
	size        int64 // Content-Length; negative to leave it out
}

// field is one field of a header: both services send them in a fixed order.
type field struct{ name, value string }

func (a answer) withBody(body []byte) answer {
	a.body, a.size = bytes.NewReader(body), int64(len(body))
	return a
}

// service is what the two ports do differently.
type service interface {
	port() Port
	// answer does what the client asks for.
	answer(client netip.Addr, r *http.Request) answer
	// page and content make answers that the VR itself would not give.
	page(status int) answer
	content(contentType string, body []byte) answer
	// head renders everything in front of the body. r is nil if the request
	// could not be read.
	head(a answer, r *http.Request, s session) string
	// keepAlive says how many requests a connection may have after the first,
	// and how long it may wait for each.
	keepAlive() (requests int, idle time.Duration)
}

// session is the state of a connection that shows in the header.
type session struct {
	left  int  // further requests that the connection may have
	close bool // after this answer
}

// renderHead renders a status line and a header in the given order; fields
// without a name are left out.
func renderHead(proto string, a answer, fields ...field) string {
	reason := a.reason
	if reason == "" {
		reason = http.StatusText(a.status)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s %d %s\r\n", proto, a.status, reason)
	for _, f := range fields {
		if f.name != "" {
			fmt.Fprintf(&b, "%s: %s\r\n", f.name, f.value)
		}
	}
	b.WriteString("\r\n")
	return b.String()
}

func httpDate(t time.Time) string { return t.UTC().Format(http.TimeFormat) }
