package vrtest

import (
	"io"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The pages and headers below were recorded from Debian's Apache 2.4.71 with
// the VR's virtual host and rewrite rules.
const (
	docType  = `<!DOCTYPE HTML PUBLIC "-//W3C//DTD HTML 4.01//EN" "http://www.w3.org/TR/html4/strict.dtd">` + "\n"
	htmlType = "Content-Type: text/html; charset=iso-8859-1\r\n\r\n"

	notFoundPage = docType + "<html><head>\n<title>404 Not Found</title>\n</head><body>\n<h1>Not Found</h1>\n" +
		"<p>The requested URL was not found on this server.</p>\n</body></html>\n"
	forbiddenPage = docType + "<html><head>\n<title>403 Forbidden</title>\n</head><body>\n<h1>Forbidden</h1>\n" +
		"<p>You don't have permission to access this resource.</p>\n</body></html>\n"
	movedPage = docType + "<html><head>\n<title>301 Moved Permanently</title>\n</head><body>\n<h1>Moved Permanently</h1>\n" +
		"<p>The document has moved <a href=\"http://vr/latest/\">here</a>.</p>\n</body></html>\n"
	putPage = docType + "<html><head>\n<title>405 Method Not Allowed</title>\n</head><body>\n<h1>Method Not Allowed</h1>\n" +
		"<p>The requested method PUT is not allowed for this URL.</p>\n</body></html>\n"
	badRequestPage = docType + "<html><head>\n<title>400 Bad Request</title>\n</head><body>\n<h1>Bad Request</h1>\n" +
		"<p>Your browser sent a request that this server could not understand.<br />\n</p>\n</body></html>\n"

	server = "Date: TIME\r\nServer: Apache\r\n"

	notFound   = "HTTP/1.1 404 Not Found\r\n" + server + "Content-Length: 236\r\nConnection: close\r\n" + htmlType + notFoundPage
	forbidden  = "HTTP/1.1 403 Forbidden\r\n" + server + "Content-Length: 239\r\nConnection: close\r\n" + htmlType + forbiddenPage
	badRequest = "HTTP/1.1 400 Bad Request\r\n" + server + "Content-Length: 266\r\nConnection: close\r\n" + htmlType + badRequestPage
)

// found is the answer for a file; size is its length in the two notations of
// the header: hexadecimal in the tag and decimal.
func found(hex, decimal, body string) string {
	return "HTTP/1.1 200 OK\r\n" + server + "Last-Modified: TIME\r\nETag: W/\"" + hex + "-M;M\r\nAccept-Ranges: bytes\r\n" +
		"Content-Length: " + decimal + "\r\nConnection: close\r\n\r\n" + body
}

func TestMetadataPort(t *testing.T) {
	l := newLab(t)
	vm := Example(exampleID, clientA)
	vm.Set("empty", "")
	vm.Set("vm", "part of vm-id")
	vm.Unindexed = []Key{{"hidden", "here"}}
	vm.Stale = []string{"gone"}
	vm.UserData = []byte("\x1f\x8b\x00raw")
	l.SetVM(clientA, vm)
	other := Example("other", clientB)
	other.UserData = nil
	l.SetVM(clientB, other)

	const index = "service-offering\navailability-zone\nlocal-ipv4\nlocal-hostname\npublic-ipv4\npublic-hostname\n" +
		"instance-id\nvm-id\npublic-keys\ncloud-identifier\nhypervisor-host-name\n"
	id := found("24", "36", exampleID)

	for _, test := range []struct {
		name    string
		request string // request line, and fields after Host and Connection
		client  netip.Addr
		want    string
	}{
		{"index", "GET /latest/meta-data/", clientA, found("a8", "168", index+"empty\ngone\n")},
		{"index as a file", "GET /latest/meta-data/meta-data", clientA, found("a8", "168", index+"empty\ngone\n")},
		{"index of other VM", "GET /latest/meta-data/", clientB, found("9d", "157", index)},
		{"key", "GET /latest/meta-data/instance-id", clientA, id},
		{"key of other VM", "GET /latest/meta-data/instance-id", clientB, found("5", "5", "other")},
		{"key, rule ignores case", "GET /latest/META-data/instance-id", clientA, id},
		{"key, file does not", "GET /latest/meta-data/Instance-id", clientA, notFound},
		{"key without meta-data", "GET /latest/vm-id", clientA, id},
		{"key without meta-data ignores case", "GET /latest/VM-id", clientA, id},
		{"key with a query", "GET /latest/meta-data/vm-id?x=/", clientA, id},
		{"key, escaped", "GET /latest/meta-data/vm%2did", clientA, id},
		{"key, doubled slashes", "GET //latest//meta-data//vm-id", clientA, id},
		{"key, dots", "GET /latest/x/../meta-data/./vm-id", clientA, id},
		{"key missing from index", "GET /latest/meta-data/vm", clientA, found("d", "13", "part of vm-id")},
		{"unindexed key", "GET /latest/meta-data/hidden", clientA, found("4", "4", "here")},
		{"empty key", "GET /latest/meta-data/empty", clientA, found("0", "0", "")},
		{"stale key", "GET /latest/meta-data/gone", clientA, notFound},
		{"unknown key", "GET /latest/meta-data/instance", clientA, notFound},
		{"user-data", "GET /latest/user-data", clientA, found("6", "6", "\x1f\x8b\x00raw")},
		{"no user-data", "GET /latest/user-data", clientB, found("0", "0", "")},
		{"user-data is no key", "GET /latest/meta-data/user-data", clientA, notFound},
		{"user-data, slash", "GET /latest/user-data/", clientA, notFound},
		{"index, no slash", "GET /latest/meta-data", clientA, notFound},
		{"key, slash", "GET /latest/meta-data/public-keys/", clientA, notFound},
		{"escaped slash", "GET /latest%2Fvm-id", clientA, notFound},
		{"other version", "GET /1.0/meta-data/", clientA, notFound},
		{"EC2 version", "GET /2009-04-04/meta-data/instance-id", clientA, notFound},
		{"OpenStack", "GET /openstack/latest/meta_data.json", clientA, notFound},
		{"htaccess", "GET /latest/meta-data/.htaccess", clientA, forbidden},
		{"latest/", "GET /latest/", clientA, forbidden},
		{"root", "GET /", clientA, forbidden},
		{"metadata/", "GET /metadata/", clientA, forbidden},
		{
			"latest", "GET /latest", clientA,
			"HTTP/1.1 301 Moved Permanently\r\n" + server + "Location: http://vr/latest/\r\nContent-Length: 265\r\nConnection: close\r\n" + htmlType + movedPage,
		},
		{"POST", "POST /latest/meta-data/vm-id", clientA, id},
		{"POST with a body", "POST /latest/meta-data/vm-id\nContent-Length: 3\n\nabc", clientA, id},
		{
			"PUT", "PUT /latest/api/token", clientA,
			"HTTP/1.1 405 Method Not Allowed\r\n" + server + "Allow: HEAD,GET,POST,OPTIONS\r\nContent-Length: 260\r\nConnection: close\r\n" + htmlType + putPage,
		},
		{"HEAD", "HEAD /latest/meta-data/vm-id", clientA, strings.TrimSuffix(id, exampleID)},
		{
			"HEAD of nothing", "HEAD /latest/meta-data/nothing", clientA,
			"HTTP/1.1 404 Not Found\r\n" + server + "Connection: close\r\n" + htmlType,
		},
		{"other tag", "GET /latest/meta-data/vm-id\nIf-None-Match: \"x\"", clientA, id},
		{
			"any tag", "GET /latest/meta-data/vm-id\nIf-None-Match: *", clientA,
			"HTTP/1.1 304 Not Modified\r\n" + server + "Last-Modified: TIME\r\nETag: W/\"24-M;M\r\nAccept-Ranges: bytes\r\nConnection: close\r\n\r\n",
		},
		{"modified since", "GET /latest/meta-data/vm-id\nIf-Modified-Since: Thu, 01 Jan 2015 00:00:00 GMT", clientA, id},
		{"unknown client: index", "GET /latest/meta-data/", netip.MustParseAddr("127.0.0.13"), notFound},
		{"unknown client: key", "GET /latest/meta-data/vm-id", netip.MustParseAddr("127.0.0.13"), notFound},
		{"unknown client: user-data", "GET /latest/user-data", netip.MustParseAddr("127.0.0.13"), notFound},
		{"forwarded for", "GET /latest/vm-id\nX-Forwarded-For: 127.0.0.11", netip.MustParseAddr("127.0.0.13"), notFound},
	} {
		t.Run(test.name, func(t *testing.T) {
			line, rest, _ := strings.Cut(test.request, "\n")
			fields, body, _ := strings.Cut(rest, "\n\n")
			if fields != "" {
				fields += "\r\n"
			}
			got, err := ask(t, test.client, l.metadata, line+" HTTP/1.1\r\nHost: vr\r\nConnection: close\r\n"+fields+"\r\n"+body)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, steady(got)); diff != "" {
				t.Errorf("answer (-want +got):\n%s", diff)
			}
		})
	}
}

func TestNotFoundLength(t *testing.T) {
	if got := len(notFoundPage); got != 236 {
		t.Errorf("got a page of %d bytes, want 236 like the VR's", got)
	}
}

func TestMalformedRequests(t *testing.T) {
	l := newLab(t)
	for _, request := range []string{
		"rubbish\r\n\r\n",
		"GET /latest/meta-data/ HTTP/1.1\r\nConnection: close\r\n\r\n", // HTTP/1.1 demands a Host
	} {
		got, err := ask(t, clientA, l.metadata, request)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(badRequest, steady(got)); diff != "" {
			t.Errorf("answer to %q (-want +got):\n%s", request, diff)
		}
	}
}

func TestNotModified(t *testing.T) {
	l := newLab(t)
	l.SetVM(clientA, Example(exampleID, clientA))
	first := l.get(t, "/latest/meta-data/vm-id")
	for _, name := range []string{"ETag", "Last-Modified"} {
		_, value, _ := strings.Cut(first, name+": ")
		value, _, _ = strings.Cut(value, "\r\n")
		condition := map[string]string{"ETag": "If-None-Match", "Last-Modified": "If-Modified-Since"}[name]
		got, err := ask(t, clientA, l.metadata, "GET /latest/meta-data/vm-id HTTP/1.1\r\nHost: vr\r\nConnection: close\r\n"+condition+": "+value+"\r\n\r\n")
		if err != nil || !strings.HasPrefix(got, "HTTP/1.1 304 Not Modified\r\n") || strings.Contains(got, "Content-Length") {
			t.Errorf("%s %s: got %q, %v, want 304 without a length", condition, value, got, err)
		}
	}
}

func TestKeepAliveEndsAfter101Answers(t *testing.T) {
	l := newLab(t)
	l.SetVM(clientA, Example(exampleID, clientA))

	// The 101st answer is the last one of a connection.
	got, err := ask(t, clientA, l.metadata, strings.Repeat("GET /latest/vm-id HTTP/1.1\r\nHost: vr\r\n\r\n", 102))
	if err != nil && len(got) == 0 {
		t.Fatal(err)
	}
	if n := strings.Count(got, "HTTP/1.1 200 OK\r\n"); n != 101 {
		t.Errorf("got %d answers on one connection, want 101", n)
	}
	if n := strings.Index(got, "Connection: close\r\n"); n < strings.LastIndex(got, "HTTP/1.1") {
		t.Errorf("got the end announced at byte %d, want it in the last answer, after %d", n, strings.LastIndex(got, "HTTP/1.1"))
	}

	// Only a client that names keep-alive hears of it.
	c := dial(t, clientA, l.metadata)
	send(t, c, "POST /latest/vm-id HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\nabcGET /latest/vm-id HTTP/1.0\r\n\r\n")
	answers, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Replace(found("24", "36", exampleID), "Connection: close", "Keep-Alive: timeout=5, max=100\r\nConnection: Keep-Alive", 1) +
		found("24", "36", exampleID)
	if diff := cmp.Diff(want, steady(string(answers))); diff != "" {
		t.Errorf("answers to HTTP/1.0 (-want +got):\n%s", diff)
	}
}
