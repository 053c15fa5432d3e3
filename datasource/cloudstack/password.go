package cloudstack

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/nm-cloud-seed/nm-cloud-seed/datasource"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/lease"
)

const passwordPort = 8080

// maxPassword is what crypt(3) takes: CRYPT_MAX_PASSPHRASE_SIZE of libxcrypt is
// 512 with the final NUL. CloudStack's own passwords are far below it.
const maxPassword = 511 // bytes

// What is said to the password server, in the field DomU_Request. The second
// is also what it answers: that it has forgotten the password, or that none waits.
const (
	sendMyPassword = "send_my_password"
	savedPassword  = "saved_password"
)

// ErrNoPassword is the password server's word that none is waiting.
var ErrNoPassword = errors.New("no password is waiting")

// errUnequal is of a password server whose answers may not be whole.
var errUnequal = fmt.Errorf("%w: asked twice, the password server gave different answers", datasource.ErrNotReady)

// Password is a password that waits for this VM.
type Password struct {
	Text   string     // secret: in no log and no error
	Server netip.Addr // who served it, and is to be told when it has been applied
}

// String leaves the text out, should a Password end up in a log.
func (p Password) String() string { return "password from " + p.Server.String() }

// GoString does so for %#v.
func (p Password) GoString() string { return p.String() }

// AcknowledgePassword tells the server of a password, from the lease's address,
// that it has been applied. It tries once; port 0 is 8080.
func AcknowledgePassword(ctx context.Context, l lease.Lease, port uint16, server netip.Addr) error {
	c := newClient(l, cmp.Or(port, passwordPort))
	defer c.close()
	return c.acknowledge(ctx, server)
}

// acknowledge sends saved_password to a password server, once.
func (c *client) acknowledge(ctx context.Context, server netip.Addr) error {
	body, _, err := c.ask(ctx, server, "/", domU(savedPassword), maxPassword, probeTimeout)
	if err == nil && string(body) != savedPassword {
		err = fmt.Errorf("%w: the answer is not %s", datasource.ErrRefused, savedPassword)
	}
	if err != nil {
		return fmt.Errorf("cannot acknowledge the password to %s: %w", server, err)
	}
	return nil
}

// password asks one server for the password, twice: an answer ends with its
// connection, so one that was cut off looks like a whole one. half is called
// between the two.
func (c *client) password(ctx context.Context, server netip.Addr, half func()) (string, error) {
	text, err := c.sendMyPassword(ctx, server)
	if err != nil {
		return "", err
	}
	half()
	again, err := c.sendMyPassword(ctx, server)
	switch {
	case err == nil && again == text:
		return text, nil
	case err == nil || errors.Is(err, ErrNoPassword) || errors.Is(err, datasource.ErrRefused):
		return "", errUnequal
	}
	return "", err
}

func (c *client) sendMyPassword(ctx context.Context, server netip.Addr) (string, error) {
	body, header, err := c.ask(ctx, server, "/", domU(sendMyPassword), maxPassword, probeTimeout)
	if err != nil {
		return "", err
	}
	text, err := ParsePassword(body)
	// Any web server may answer "OK"; CloudStack's says its name.
	if err == nil && !isPasswordServer(header) {
		return "", errForeignServer
	}
	return text, err
}

// domU is a word for the password server, not in Go's own spelling.
func domU(word string) http.Header { return http.Header{"DomU_Request": {word}} }

var errForeignServer = fmt.Errorf("%w: the answer is not from a CloudStack password server", datasource.ErrRefused)

func isPasswordServer(header http.Header) bool {
	return slices.ContainsFunc(header.Values("Server"), func(name string) bool {
		return strings.HasPrefix(name, "CloudStack Password Server")
	})
}

// page is how HTML, XML or an HTTP answer begins, even if it is cut off. A tag
// that is not listed has to be whole: "<3" is a password.
var page = regexp.MustCompile(`(?i)^(HTTP/[0-9]|<[!?]|<(html|head|body|title|meta|script)\b|</?[a-z][^<>]*>)`)

// ParsePassword takes the body of the password server's answer to
// send_my_password (passwd_server_ip.py in CloudStack's system VM). Besides
// ErrNoPassword its errors are ErrRefused, and never repeat the answer: the
// server says its own errors with status 200 as well, and a status line has
// become somebody's password before (cloud-init issue 2562).
func ParsePassword(body []byte) (string, error) {
	text := string(body)
	word := strings.TrimSpace(text)
	refused := func(why string) (string, error) {
		return "", fmt.Errorf("%w: the password server's answer %s", datasource.ErrRefused, why)
	}
	switch {
	case text == savedPassword:
		return "", ErrNoPassword
	case word == "": // means "none" on old servers, and nothing on a broken one
		return refused("is empty")
	case word == "bad_request":
		return refused("is that it did not understand the request")
	case word == savedPassword:
		return refused("is almost, but not quite, that no password is waiting")
	case len(text) > maxPassword:
		return refused(fmt.Sprintf("of %d bytes is too long for a password", len(text)))
	case page.MatchString(word):
		return refused("is a page, not a password")
	case !utf8.ValidString(text) || strings.ContainsFunc(text, unfit):
		return refused("has characters that no password has")
	}
	return text, nil
}

// unfit holds of control characters and of Unicode's own line ends: a password
// is one line. Format characters are fit: they join emoji, and can mislead
// nobody where the text is never shown.
func unfit(r rune) bool { return unicode.IsControl(r) || r == '\u2028' || r == '\u2029' }
