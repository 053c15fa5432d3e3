//go:build integration

package seed

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/nm-cloud-seed/nm-cloud-seed/datasource"
)

// loadScript reads a document and what went into it, as JSON per line, and
// answers with what yaml.safe_load, the loader of cloud-init, makes of the
// document, and with what cloud-init's crawl makes of the values.
const loadScript = `
import json, sys
import yaml

def decoded(value):
    text = value.strip()
    if "\n" in value and not (text.startswith("{") and text.endswith("}")):
        return value.splitlines()
    return value

for line in sys.stdin:
    case = json.loads(line)
    try:
        answer = {"got": yaml.safe_load(case["doc"])}
    except Exception as e:
        answer = {"error": repr(e)[:300]}
    answer["want"] = {k: decoded(v) for k, v in case["values"].items()}
    print(json.dumps(answer), flush=True)
`

// pyYAML is the system's PyYAML in a process that lives as long as the test
// binary: starting Python costs more than a thousand documents.
type pyYAML struct {
	in  io.Writer
	out *bufio.Reader
}

// startPyYAML fails without PyYAML: a test that skips would let a wrong
// document through.
var startPyYAML = sync.OnceValues(func() (*pyYAML, error) {
	python := "/usr/bin/python3" // not a python3 of a virtual environment
	if _, err := os.Stat(python); err != nil {
		python = "python3"
	}
	if out, err := exec.Command(python, "-c", "import yaml").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("cannot import yaml in %s: %w (install the package python3-yaml)\n%s", python, err, out)
	}
	cmd := exec.Command(python, "-c", loadScript)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	return &pyYAML{in, bufio.NewReader(out)}, cmd.Start()
})

// check compares what PyYAML makes of the document of these values with what
// cloud-init's crawl would have made of them.
func check(t *testing.T, values map[string]string) {
	t.Helper()
	p, err := startPyYAML()
	if err != nil {
		t.Fatal(err)
	}
	doc := MetaData(&datasource.Instance{Metadata: values})
	valid := map[string]string{}
	for k, v := range values {
		valid[string([]rune(k))] = string([]rune(v))
	}
	line, err := json.Marshal(map[string]any{"doc": string(doc), "values": valid})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintf(p.in, "%s\n", line); err != nil {
		t.Fatalf("cannot ask PyYAML: %v", err)
	}
	if line, err = p.out.ReadBytes('\n'); err != nil {
		t.Fatalf("cannot hear PyYAML: %v", err)
	}
	var answer struct {
		Got, Want any
		Error     string
	}
	if err := json.Unmarshal(line, &answer); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(answer.Want, answer.Got); diff != "" || answer.Error != "" {
		t.Errorf("PyYAML reads something else (-want +got), %s:\n%.2000s\nfrom %.2000q", answer.Error, diff, doc)
	}
}

// awkward are strings that one YAML reader or another takes for something else.
var awkward = []string{
	"", " ", "  both  ", "\t", "\n", "\r", "\r\n", "\n\n", "a\nb", "a\tb", "trailing\n", "\nleading", " \n ",
	"yes", "no", "on", "off", "y", "true", "null", "Null", "~", "=", "<<", "*", "&a", "!!int 3", "%YAML 1.1", "---", "...", "--- a",
	"0", "0123", "0o17", "0x1f", "1e3", "1_000", "-1", "+1", ".5", ".inf", ".nan", "12:30:45", "190:20:30", "2024-01-02", "2001-12-14t21:59:43.10-05:00",
	`"`, `'`, `\`, `\n`, `\u0041`, `"quoted"`, `'quoted'`, "`", "a: b", "a #b", "# b", "- a", "? a", "[a]", "{a: b}", "{", "}", ",", "|", ">", "@", "a,b", "</script>",
	"\x00", "\x01", "\x07", "\b", "\v", "\f", "\x1b", "\x1f", "\x7f", "\u0080", "\u0085", "\u009f", "\u00a0", "\u00ad",
	"\u2028", "\u2029", "\u200b", "\ufeff", "\ufffd", "\ufffe", "\uffff", "\ufdd0", "\ud7ff", "\ue000", "\U00010000", "\U0001f600", "\U0001fffe", "\U0010ffff",
	"ä", "日本語", "a\u0085b", "a\u2028b", "é", "🇩🇪👩‍👩‍👧", "ssh-rsa AAAA= user@host\nssh-ed25519 BBBB=\n",
}

func TestMetaDataInPyYAML(t *testing.T) {
	var cases []map[string]string
	for _, s := range awkward {
		cases = append(cases, map[string]string{s: s, "a": s, "z" + s: "x" + s + "x"})
	}
	long := strings.Repeat
	cases = append(cases,
		map[string]string{},
		map[string]string{"a": long("x", 64<<10), "b": long("\u00e4 ", 32<<10), "c": long("\n", 64<<10), "d": long("\U0001f600", 16<<10)},
		map[string]string{long("k", 128): "v", long("\x01", 128): "v", long("\u00e4", 128): "v", long("😀", 64): "v"},
		map[string]string{long("k", 255): "v", long("\x01", 255): "v", long("\"", 255): "v"},
		map[string]string{long("k", 997): "v", long("l", 998): "v", long("m", 999): "v", long("n", 1100): "v"},
	)
	random := rand.New(rand.NewPCG(1, 2))
	for range 3000 {
		m := map[string]string{}
		for range 1 + random.IntN(3) {
			m[randomString(random)] = randomString(random)
		}
		cases = append(cases, m)
	}

	for _, m := range cases {
		check(t, m)
	}
}

// indicators are the characters that mean something in YAML.
const indicators = " \n\t:,#-?{}[]&*!|>'\"%@`\\"

// randomString favours what is special in YAML, JSON or Unicode.
func randomString(r *rand.Rand) string {
	var b strings.Builder
	for range r.IntN(12) {
		switch r.IntN(5) {
		case 0:
			b.WriteString(awkward[r.IntN(len(awkward))])
		case 1:
			b.WriteRune(rune(r.IntN(0x100)))
		case 2:
			b.WriteByte(indicators[r.IntN(len(indicators))])
		case 3:
			b.WriteRune(rune(0x2000 + r.IntN(0x100)))
		case 4:
			if c := rune(r.IntN(utf8.MaxRune + 1)); utf8.ValidRune(c) {
				b.WriteRune(c)
			}
		}
	}
	return b.String()
}

// FuzzMetaData sees that PyYAML gives back the same strings, whatever comes in.
func FuzzMetaData(f *testing.F) {
	for _, s := range awkward {
		f.Add(s, s)
	}
	f.Add("k\xff", "\xc3(")
	f.Fuzz(func(t *testing.T, key, value string) {
		if len(key) > 2048 || len(value) > 2048 { // PyYAML takes its time, and nothing depends on the size but keys of 1000
			return
		}
		check(t, map[string]string{key: value})
	})
}
