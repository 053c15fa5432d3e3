package cloudstack

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/nm-cloud-seed/nm-cloud-seed/datasource"
)

// maxPassword is far above what CloudStack generates or accepts.
const maxPassword = 1024 // bytes

// ErrNoPassword is the password server's word that none is waiting.
var ErrNoPassword = errors.New("no password is waiting")

// ParsePassword takes the body of the password server's answer to
// send_my_password (passwd_server_ip.py in CloudStack's system VM). Besides
// ErrNoPassword its errors are ErrRefused, and never repeat the answer: the
// server says its own errors with status 200 as well, and a status line has
// become somebody's password before (cloud-init issue 2562).
func ParsePassword(body []byte) (string, error) {
	text := string(body)
	lower := strings.ToLower(text)
	refused := func(why string) (string, error) {
		return "", fmt.Errorf("%w: the password server's answer %s", datasource.ErrRefused, why)
	}
	switch {
	case text == "saved_password":
		return "", ErrNoPassword
	case strings.TrimSpace(text) == "": // means "none" on old servers, and nothing on a broken one
		return refused("is empty")
	case text == "bad_request":
		return refused("is that it did not understand the request")
	case len(text) > maxPassword:
		return refused(fmt.Sprintf("of %d bytes is too long for a password", len(text)))
	case !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl):
		return refused("has characters that no password has")
	case strings.HasPrefix(text, "HTTP/") || strings.HasPrefix(lower, "<!doctype") || strings.HasPrefix(lower, "<html"):
		return refused("is a page, not a password")
	}
	return text, nil
}
