package doctor

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// bad is an image with something wrong in every group.
func bad() map[string]string {
	files := good()
	maps.Copy(files, map[string]string{
		"etc/nm-cloud-seed.conf":                   "[main]\nordering=first\n",
		"etc/machine-id":                           "0123456789abcdef0123456789abcdef\n",
		"etc/cloud/cloud.cfg":                      "datasource_list: [ NoCloud ]\n",
		"etc/cloud/cloud.cfg.d/1.cfg":              "password: SECRET: x\n",
		python + "version.py":                      "__VERSION__ = \"22.2\"\n",
		wants + "systemd-networkd.service":         wanted,
		unitDir + "systemd-networkd.service":       unit,
		unitDir + "late.service":                   "[Unit]\nBefore=early.service\n[Service]\nExecStart=/x\n",
		unitDir + "early.service":                  "[Unit]\nDefaultDependencies=no\nBefore=cloud-init.service\n[Service]\nExecStart=/x\n",
		wants + "late.service":                     wanted,
		unitDir + "cloud-init-hotplugd.socket":     "[Socket]\nListenFIFO=/run/x\n",
		"etc/systemd/system/cloud-config.service":  link + "/dev/null",
		"etc/systemd/system/cloud-init.service":    "-",
		unitDir + "sockets.target":                 "[Unit]\n",
		"var/lib/cloud/seed/nocloud-net/meta-data": "x",
	})
	return files
}

func plain(_ State, text string) string { return text }

func TestPrint(t *testing.T) {
	for name, files := range map[string]map[string]string{"good": good(), "bad": bad()} {
		r := look(t, files)
		var text, asJSON bytes.Buffer
		if err := r.Print(&text, 0, plain); err != nil {
			t.Fatal(err)
		}
		e := json.NewEncoder(&asJSON)
		e.SetIndent("", "  ")
		if err := e.Encode(r); err != nil {
			t.Fatal(err)
		}
		golden(t, "testdata/"+name+".txt", text.String())
		golden(t, "testdata/"+name+".json", asJSON.String())
	}
}

// golden compares with a file. UPDATE_GOLDEN=1 writes it.
func golden(t *testing.T, name, got string) {
	t.Helper()
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s: -want +got:\n%s", name, diff)
	}
}

// TestPrintAlignsColouredColumns: colours do not disturb the columns.
func TestPrintAlignsColouredColumns(t *testing.T) {
	r := Report{Checks: []Check{
		{Name: "a", State: OK, Detail: "x"}, {Name: "b.long-name", State: Warning, Detail: "y", Fix: "z"}, {Name: "b.c", State: Skipped, Detail: "d"},
	}}
	var b strings.Builder
	if err := r.Print(&b, 0, func(s State, text string) string { return "<" + string(s[0]) + text + ">" }); err != nil {
		t.Fatal(err)
	}
	want := `<ook     >  a            x
<wwarning>  b
<wwarning>    long-name  y
                      to do: z
<sskipped>    c          d

1 warning: b.long-name
`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if err := r.Print(failing{}, 0, plain); !errors.Is(err, errFailing) {
		t.Errorf("got the error %v, want %v", err, errFailing)
	}
}

var errFailing = errors.New("full")

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errFailing }

// TestPrintBreaksLines: on a terminal, what is said fits, and what is to be done stays whole.
func TestPrintBreaksLines(t *testing.T) {
	r := Report{Checks: []Check{{
		Name: "a.name", State: Problem, Detail: "one two three four five six seven", Items: []string{"an item of more than one line", "a-very-long-word-that-does-not-fit"},
		Fix: "a command of any length, to be copied",
	}}}
	var b strings.Builder
	if err := r.Print(&b, 40, plain); err != nil {
		t.Fatal(err)
	}
	want := `problem  a
problem    name  one two three four five
                 six seven
                 - an item of more than
                   one line
                 - a-very-long-word-that-does-not-fit
                 to do: a command of any length, to be copied

1 problem: a.name
`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	b.Reset()
	if err := r.Print(&b, 30, plain); err != nil || !strings.Contains(b.String(), "one two three four five six seven\n") {
		t.Errorf("a narrow terminal: got error %v and this, want unbroken lines:\n%s", err, b.String())
	}
}
