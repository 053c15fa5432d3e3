package vrtest

import (
	"fmt"
	"html"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// apache is the metadata port: how Apache speaks. What it says is in
// metadata.go.
type apache struct{ vr *VR }

func (apache) port() Port { return MetadataPort }

// keepAlive is Debian's apache2.conf: MaxKeepAliveRequests and KeepAliveTimeout.
func (apache) keepAlive() (int, time.Duration) { return 100, 5 * time.Second }

func (apache) head(a answer, r *http.Request, s session) string {
	fields := []field{{"Date", httpDate(time.Now())}, {"Server", "Apache"}}
	fields = append(fields, a.fields...)
	// Apache drops the length of an error page that it does not send.
	hidden := r != nil && r.Method == http.MethodHead && a.status >= 300
	if a.size >= 0 && a.status != http.StatusNotModified && !hidden {
		fields = append(fields, field{"Content-Length", strconv.FormatInt(a.size, 10)})
	}
	switch {
	case s.close:
		fields = append(fields, field{"Connection", "close"})
	case r != nil && asksKeepAlive(r):
		fields = append(fields,
			field{"Keep-Alive", fmt.Sprintf("timeout=5, max=%d", s.left)},
			field{"Connection", "Keep-Alive"})
	}
	if a.contentType != "" {
		fields = append(fields, field{"Content-Type", a.contentType})
	}
	return renderHead("HTTP/1.1", a, fields...)
}

// asksKeepAlive reports whether the client names keep-alive; HTTP/1.1 clients
// need not, and Apache confirms it only to those that do.
func asksKeepAlive(r *http.Request) bool {
	for _, token := range strings.Split(strings.Join(r.Header.Values("Connection"), ","), ",") {
		if strings.EqualFold(strings.TrimSpace(token), "keep-alive") {
			return true
		}
	}
	return false
}

func (apache) content(contentType string, body []byte) answer {
	return answer{status: http.StatusOK, contentType: contentType}.withBody(body)
}

func (s apache) page(status int) answer { return s.errorPage(status, errorText(status)) }

// errorPage is Apache's own page, as Debian's 2.4.71 sends it: the W3C document
// type makes the one for 404 236 bytes long, where older versions had 196.
func (apache) errorPage(status int, text string) answer {
	title := http.StatusText(status)
	page := fmt.Sprintf(`<!DOCTYPE HTML PUBLIC "-//W3C//DTD HTML 4.01//EN" "http://www.w3.org/TR/html4/strict.dtd">
<html><head>
<title>%d %s</title>
</head><body>
<h1>%s</h1>
%s</body></html>
`, status, title, title, text)
	return answer{status: status, contentType: "text/html; charset=iso-8859-1"}.withBody([]byte(page))
}

func (s apache) notFound() answer  { return s.page(http.StatusNotFound) }
func (s apache) forbidden() answer { return s.page(http.StatusForbidden) }

func (s apache) moved(location string) answer {
	a := s.errorPage(http.StatusMovedPermanently, fmt.Sprintf("<p>The document has moved <a href=\"%s\">here</a>.</p>\n", html.EscapeString(location)))
	a.fields = []field{{"Location", location}}
	return a
}

func (s apache) methodNotAllowed(method string) answer {
	a := s.errorPage(http.StatusMethodNotAllowed,
		fmt.Sprintf("<p>The requested method %s is not allowed for this URL.</p>\n", html.EscapeString(method)))
	a.fields = []field{{"Allow", "HEAD,GET,POST,OPTIONS"}}
	return a
}

func errorText(status int) string {
	switch status {
	case http.StatusBadRequest:
		return "<p>Your browser sent a request that this server could not understand.<br />\n</p>\n"
	case http.StatusForbidden:
		return "<p>You don't have permission to access this resource.</p>\n"
	case http.StatusNotFound:
		return "<p>The requested URL was not found on this server.</p>\n"
	case http.StatusServiceUnavailable:
		return "<p>The server is temporarily unable to service your\nrequest due to maintenance downtime or capacity\nproblems. Please try again later.</p>\n"
	}
	return "<p>The server could not complete your request.</p>\n"
}
