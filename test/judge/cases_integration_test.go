//go:build integration

package judge_test

import (
	"bytes"
	"compress/gzip"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nm-cloud-seed/nm-cloud-seed/datasource/cloudstack/vrtest"
	"github.com/nm-cloud-seed/nm-cloud-seed/test/judge"
)

const onlyCrawl = "only crawl"

const instance = "7d4f1f9a-58c1-4f5e-9a3c-3f0c5d9a1b2e"

// testCase is one VM.
type testCase struct {
	name    string
	change  func(vm *vrtest.VM) // from vrtest.Example
	differs []difference
	same    []string // of the differences that are there in general
	seeded  string   // the host name in the seed, if it is not the virtual router's
	// crawlFails is said by the error of a crawl that cannot give anything, so
	// that there is nothing to compare; the seed must work all the same.
	crawlFails string
}

// difference is a judge.Difference that has a reason: see the package comment.
type difference struct {
	what, kind string
	only       string // in this suite
}

// qualified is there where local-hostname has no dot.
var qualified = []difference{
	{what: "metadata local-hostname", kind: "value"},
	{what: "FQDN", kind: "value", only: "bookworm"}, // has no domain by itself
}

// replaced is there where local-hostname is no host name: the machine keeps its own.
var replaced = []difference{
	{what: "hostname", kind: "value"},
	{what: "FQDN", kind: "value", only: "trixie"},
	{what: "FQDN", kind: "value", only: "sid"},
}

// objects are values that the crawl decodes as JSON.
func objects(keys ...string) (all []difference) {
	for _, key := range keys {
		all = append(all, difference{what: "metadata " + key, kind: "decoded"})
	}
	return all
}

func userData(data []byte) func(*vrtest.VM) {
	return func(vm *vrtest.VM) { vm.UserData = data }
}

func set(pairs ...string) func(*vrtest.VM) {
	return func(vm *vrtest.VM) {
		for i := 0; i < len(pairs); i += 2 {
			vm.Set(pairs[i], pairs[i+1])
		}
	}
}

func zip(text string) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Write([]byte(text)) // a Buffer takes all
	w.Close()
	return b.Bytes()
}

func everyByte() []byte {
	b := make([]byte, 256)
	for i := range b {
		b[i] = byte(i)
	}
	return b
}

func noise(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{1}).Read(b) // never fails
	return b
}

const (
	keyA = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIO8t56uJU8h7b8yAwKej2BEWMdZBziWmGZpcjGHgugbS a@example.org"
	keyB = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIO8t56uJU8h7b8yAwKej2BEWMdZBziWmGZpcjGHgugbS Jörg's \"key\" 🔑"
	keyC = `from="10.0.0.0/8",command="echo \"hi\"" ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQ==`
)

var cases = []testCase{
	// User-data.
	{name: "plain", change: userData([]byte("#cloud-config\nruncmd: [ 'echo ü' ]\n"))},
	{name: "gzip", change: userData(zip("#cloud-config\npackages: [nginx]\n"))},
	{name: "binary", change: userData(everyByte())},
	{name: "empty", change: userData(nil)},
	{name: "one line break", change: userData([]byte("\n"))},
	{name: "CRLF and no end", change: userData([]byte("#!/bin/sh\r\necho \x85 \x00"))},
	{name: "byte order mark", change: userData([]byte("\ufeff#cloud-config\n{}\n"))},
	{name: "multipart", change: userData([]byte("Content-Type: multipart/mixed; boundary=\"=a\"\nMIME-Version: 1.0\n\n" +
		"--=a\nContent-Type: text/cloud-config\n\n#cloud-config\n{}\n--=a\nContent-Type: text/x-shellscript\n\n#!/bin/sh\n--=a--\n"))},
	{name: "700 KB", change: userData(noise(700 << 10))},
	{name: "700 KB of text", change: userData([]byte("#cloud-config\n" + strings.Repeat("# ü\r\n", 140<<10)))},

	// Public keys: the list of them is the same, whatever the metadata says.
	{name: "several keys", change: set("public-keys", keyA+"\n"+keyB+"\n"+keyC)},
	{name: "keys and a final line break", change: set("public-keys", keyA+"\n"+keyB+"\n")},
	{name: "keys with blank lines and CRLF", change: set("public-keys", "\n"+keyA+"\r\n\n"+keyB)},
	{name: "a key with U+0085 and U+2028", change: set("public-keys", keyA+"\u0085x\u2028y")},
	{name: "keys with U+0085 and U+2028", change: set("public-keys", keyA+"\u0085x\u2028y\n"+keyB)},
	{name: "no key", change: set("public-keys", "")},

	// Names.
	{name: "non-ASCII as the VR has it", change: set("service-offering", `Gro\u00DFe Instanz`, "availability-zone", `Z\u00FCrich`)},
	{name: "hostname with an escape", change: set("local-hostname", `web-\u00FC`), differs: replaced, seeded: "localhost"},
	{name: "hostname with UTF-8", change: set("local-hostname", "web-ü"), differs: replaced, seeded: "localhost"},
	{name: "hostname is an FQDN", change: set("local-hostname", "web.example.org"), same: all(qualified)},
	{name: "hostname is an FQDN of the network", change: set("local-hostname", "web."+domain), same: all(qualified)},
	{name: "hostname is an address", change: set("local-hostname", "10.1.1.100"), seeded: "ip-10-1-1-100"},
	{name: "hostname is a number", change: set("local-hostname", "0123")},
	{name: "hostname is a word of YAML", change: set("local-hostname", "yes")},
	{name: "no hostname", change: set("local-hostname", ""), seeded: "localhost"},
	{name: "zone is a number", change: set("availability-zone", "0123")},
	{name: "no zone", change: set("availability-zone", "")},
	{name: "keys that cloud-init knows from elsewhere", change: set("cloud-name", "My Cloud", "cloud-domain", "ROOT/ü",
		"region", "eu", "launch-index", "3", "placement", "here", "instance_id", "x", "user-data", "u", "network", "{")},

	// What users choose.
	{name: "values", change: values, differs: objects("v-object", "v-empty-object", "v-object-blanks", "v-object-lines", "v-object-nan", "v-object-twice")},
	{name: "names", change: names},
	{name: "not UTF-8", change: set("latin1", "Z\xfcrich", "nul", "\x00\xff", "half", "\xed\xa0\x80"), differs: []difference{
		{what: "metadata latin1", kind: "value"}, {what: "metadata nul", kind: "value"}, {what: "metadata half", kind: "value"},
	}},

	// Where cloud-init's own crawl falls short.
	{name: "credentials", change: set("security-credentials", "secret"),
		differs: []difference{{what: "metadata security-credentials", kind: "only seed"}}},
	{name: "hidden standard key", change: func(vm *vrtest.VM) {
		vm.Metadata = append([]vrtest.Key{{Name: "my-public-keys", Value: "mine"}}, vm.Metadata...)
	}, differs: []difference{{what: "metadata public-keys", kind: "only seed"}, {what: "public keys", kind: "value"}}},
	{name: "stale key", change: func(vm *vrtest.VM) { vm.Stale = []string{"emptied"} }, crawlFails: "KeyError('instance-id')"},
	{name: "names that the crawl cannot ask for", change: set("0=mine", "x", " blank", "x", "blank-after ", "x", "line\u2028separator", "x"),
		crawlFails: "KeyError('instance-id')"},

	// Where ours falls short: it asks for no name with a control character.
	{name: "control characters in names", change: set("a\tb", "x", "a\x7fb", "x"), differs: []difference{
		{what: "metadata a\tb", kind: onlyCrawl}, {what: "metadata a\x7fb", kind: onlyCrawl},
	}},
}

func all(d []difference) (what []string) {
	for _, d := range d {
		what = append(what, d.what)
	}
	return what
}

func values(vm *vrtest.VM) {
	var keys []vrtest.Key
	for name, value := range map[string]string{
		"yes": "yes", "no": "No", "on": "ON", "true": "true", "null": "null", "tilde": "~", "empty": "", "blank": " ",
		"octal": "0123", "octal2": "0o17", "hex": "0x1F", "binary": "0b11", "exponent": "1e3", "float": "1.0", "under": "1_000",
		"inf": ".inf", "nan": ".NaN", "sexagesimal": "12:30:45", "date": "2001-01-01", "time": "2001-12-14t21:59:43.10-05:00",
		"default": "=", "merge": "<<", "anchor": "&a", "alias": "*a", "tag": "!!int 3", "binary-tag": "!!binary aGk=",
		"flow": "{a: b}", "flow-list": "[1, 2]", "json-list": `["a"]`, "item": "- x", "map": "a: b", "comment": "a # b",
		"hash": "#", "directive": "%YAML 1.1", "document": "---", "end": "...", "at": "@", "backtick": "`", "pipe": "|", "fold": ">",
		"question": "? a", "colon": ":", "comma": ",", "brace": "}", "not-object": "{x}", "jinja": "{{ v1.region }}",
		"quotes": `"a" 'b'`, "backslash": `a\nb\\c\u00FC\`, "umlaut": "Zürich", "emoji": "a😀b🇩🇪", "plane16": "\U0010ffff",
		"tab": "a\tb", "tabs": "\ta\t", "blanks": "  a  ", "cr": "a\rb", "vt": "a\vb\fc", "escape": "\x1b[31m", "nul": "a\x00b", "del": "a\x7fb",
		"c1": "a\u0080b\u009f", "nel": "a\u0085b", "nel-end": "a\u0085", "ls": "a\u2028b\u2029", "nbsp": "\u00a0a\u00a0",
		"bom": "\ufeffa", "nonchar": "\ufffe\uffff\ufdd0", "replacement": "\ufffd", "combining": "u\u0308", "rtl": "\u202eabc",
		"long": strings.Repeat("0123456789abcde\u00fc ", 60<<10/18), "long-word": strings.Repeat("x", 60<<10),
		// Lists and objects for the crawl.
		"lines": "a\n b\n\nc ", "crlf": "a\r\nb\r\n", "final": "a\n", "break": "\n", "separators": "a\nb\u0085c\u2028d\x1ce\vf",
		"yaml": "a: b\n- c\n", "object": `{"a": [1, 2.5, null, true], "ü": "\u00fc\ud83d\ude00"}`, "empty-object": "{}",
		"object-blanks": " {\"a\": 1}\t", "object-lines": "{\n\"a\": 1\n}\n", "object-nan": `{"a": NaN}`, "object-twice": `{"a": 1, "a": 2}`,
	} {
		keys = append(keys, vrtest.Key{Name: "v-" + name, Value: value})
	}
	prepend(vm, keys)
}

func names(vm *vrtest.VM) {
	var keys []vrtest.Key
	for _, name := range []string{
		"yes", "No", "null", "~", "0123", "1e3", "1.5", "0x1F", "12:30:45", "2001-01-01", "=", "<<", "a=b", "=c", "d=", "true",
		"-", "?", ":", "a: b", "- a", "*a", "&a", "!a", "|", "@", "`", "'", `"`, `\`, `a\nb`, "[a]", "{a}", ",", "schlüssel", "😀", "Zürich-😀",
		"a b", "a%41b", "a%zz", "%2e%2e", "a?b", "a#b", "http:x", "..a", "x=5", "a&b", "a;b", "a+b", "(a)", strings.Repeat("k", 128), "\u2027", "u\u0308", "\ufeff",
	} {
		keys = append(keys, vrtest.Key{Name: name, Value: "value of " + name})
	}
	prepend(vm, keys)
}

// prepend puts the keys first, short names before long ones, as the VR hides a
// name that is part of one before it.
func prepend(vm *vrtest.VM, keys []vrtest.Key) {
	slices.SortFunc(keys, func(a, b vrtest.Key) int { return len(a.Name) - len(b.Name) })
	vm.Metadata = append(keys, vm.Metadata...)
}

// checkSeed wants all that the VR serves, as it is, from cloud-init; a list of
// lines is left to the comparison with the crawl.
func (c *testCase) checkSeed(t *testing.T, vm *vrtest.VM, seed judge.Answer) {
	t.Helper()
	want := map[string]any{}
	for _, key := range vm.Metadata {
		if slices.Contains(c.differs, difference{what: "metadata " + key.Name, kind: onlyCrawl}) {
			continue
		}
		value := strings.ToValidUTF8(key.Value, "\uFFFD")
		if key.Name == "local-hostname" && !slices.Contains(c.same, "metadata local-hostname") {
			if c.seeded != "" {
				value = c.seeded
			}
			value += "." + domain
		}
		want[key.Name] = map[string]any{"str": value}
		if got, _ := seed.Metadata[key.Name].(map[string]any); got["list"] != nil && strings.Contains(value, "\n") {
			want[key.Name] = got
		}
	}
	if diff := cmp.Diff(want, seed.Metadata); diff != "" {
		t.Errorf("cloud-init reads in the seed (+), the VR serves (-):\n%s", diff)
	}
}
