package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/nm-cloud-seed/nm-cloud-seed/internal/config"
)

const top = "../.."

// file is a file of the project.
func file(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(top, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// files are those that match, by their names in the project.
func files(t *testing.T, pattern string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(top, pattern))
	if err != nil || len(names) == 0 {
		t.Fatalf("there is no %s: %v", pattern, err)
	}
	for i := range names {
		names[i] = strings.TrimPrefix(names[i], top+"/")
	}
	return names
}

const manual = "docs/man/nm-cloud-seed.8"

// Each command that is not hidden is in the manual page and in the README's table,
// and each of its options with it in the former.
func TestCommandsDocumented(t *testing.T) {
	var items []string // of the page's list of commands
	root := rootCommand()
	for _, cmd := range root.Commands() {
		items = append(items, regexp.QuoteMeta(cmd.Name()))
	}
	item := regexp.MustCompile(`(?m)^\.It Cm (` + strings.Join(items, "|") + `)$`)
	page, readme := file(t, manual), file(t, "README.md")
	sections := map[string]string{}
	at := item.FindAllStringSubmatchIndex(page, -1)
	for i, m := range at {
		end := len(page)
		if i+1 < len(at) {
			end = at[i+1][0]
		} else if list := strings.Index(page[m[1]:], "\n.Ss "); list >= 0 {
			end = m[1] + list
		}
		sections[page[m[2]:m[3]]] = page[m[1]:end]
	}
	for _, cmd := range root.Commands() {
		if cmd.Hidden {
			continue
		}
		section, ok := sections[cmd.Name()]
		if !ok {
			t.Errorf("nm-cloud-seed(8) has no %s", cmd.Name())
		}
		if !strings.Contains(page, "\n.Nm\n.Cm "+cmd.Name()+"\n") {
			t.Errorf("the synopsis of nm-cloud-seed(8) has no %s", cmd.Name())
		}
		if !regexp.MustCompile("(?m)^\\| `nm-cloud-seed " + cmd.Name() + "\\b").MatchString(readme) {
			t.Errorf("the README has no %s", cmd.Name())
		}
		eachOption(cmd, func(f *pflag.Flag) {
			if !regexp.MustCompile(`(?m)^\.It Fl -` + f.Name + `( |$)`).MatchString(section) {
				t.Errorf("nm-cloud-seed(8) has no --%s of %s", f.Name, cmd.Name())
			}
		})
	}
}

// eachOption is for all but --help, which all have.
func eachOption(cmd *cobra.Command, do func(*pflag.Flag)) {
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if !f.Hidden && f.Name != "help" {
			do(f)
		}
	})
	for _, sub := range cmd.Commands() {
		eachOption(sub, do)
	}
}

// Each key is in the manual page, and with its default in the file that is shipped.
func TestConfigurationDocumented(t *testing.T) {
	page, shipped := file(t, "docs/man/nm-cloud-seed.conf.5"), file(t, "packaging/nm-cloud-seed.conf")
	for _, o := range config.Options() {
		if !strings.Contains(page, ".It Cm "+o.Key+"\n") || !strings.Contains(page, "SECTION ["+o.Section+"]") {
			t.Errorf("nm-cloud-seed.conf(5) has no %s in [%s]", o.Key, o.Section)
		}
		if !strings.Contains(shipped, "\n#"+o.Key+"="+o.Default+"\n") || !strings.Contains(shipped, "\n["+o.Section+"]\n") {
			t.Errorf("nm-cloud-seed.conf has no %s=%s in [%s]", o.Key, o.Default, o.Section)
		}
	}
}

func TestKernelCommandLineDocumented(t *testing.T) {
	for _, word := range []config.Override{config.OverrideOff, config.OverrideForce} {
		for name, as := range map[string]string{
			manual:                          "\n.It Cm nm-cloud-seed=" + string(word) + "\n",
			"docs/man/nm-cloud-seed.conf.5": "\n.Cm nm-cloud-seed=" + string(word) + "\n",
			"packaging/nm-cloud-seed.conf":  "nm-cloud-seed=" + string(word),
			"README.md":                     "`nm-cloud-seed=" + string(word) + "`",
		} {
			if !strings.Contains(file(t, name), as) {
				t.Errorf("%s has no nm-cloud-seed=%s", name, word)
			}
		}
	}
}

// Each property, with its type, and each method of ours that is on D-Bus.
func TestBusDocumented(t *testing.T) {
	page, interfaces := file(t, manual), file(t, "dbus-policy/org.nmcloudseed1.xml")
	ours, _, found := strings.Cut(interfaces, "</interface>")
	if !found {
		t.Fatal("there is no interface")
	}
	for _, m := range regexp.MustCompile(`<property name="(\w+)" type="(.+?)"`).FindAllStringSubmatch(ours, -1) {
		if !strings.Contains(page, "\n.It Li "+m[1]+" Ta Li "+m[2]+" Ta ") {
			t.Errorf("nm-cloud-seed(8) has no property %s of type %s", m[1], m[2])
		}
	}
	for _, m := range regexp.MustCompile(`<method name="(\w+)"`).FindAllStringSubmatch(ours, -1) {
		if !strings.Contains(page, "\n.Li "+m[1]+"()") {
			t.Errorf("nm-cloud-seed(8) has no method %s", m[1])
		}
	}
}

func TestUnitsDocumented(t *testing.T) {
	page, readme := file(t, manual), file(t, "README.md")
	for _, unit := range files(t, "systemd/nm-cloud-seed*") {
		name := filepath.Base(unit)
		if !strings.Contains(page, "\n.It Pa "+name+"\n") {
			t.Errorf("nm-cloud-seed(8) has no %s", name)
		}
		if !strings.Contains(readme, "\n| `"+name+"` |") {
			t.Errorf("the README has no %s", name)
		}
	}
}

// Each page can be found from the README, and no link between them leads nowhere.
func TestPagesLinked(t *testing.T) {
	readme := file(t, "README.md")
	for _, page := range append(files(t, "docs/*.md"), append(files(t, "docs/man/*"), "CONTRIBUTING.md")...) {
		if !strings.Contains(readme, "]("+page+")") {
			t.Errorf("the README does not lead to %s", page)
		}
	}
	link := regexp.MustCompile(`\]\(([^)#:\s]*)(?:#([^)]*))?\)`)
	for _, page := range append(files(t, "*.md"), files(t, "docs/*.md")...) {
		for _, m := range link.FindAllStringSubmatch(file(t, page), -1) {
			to := filepath.Join(filepath.Dir(page), m[1])
			if m[1] == "" {
				to = page
			}
			if _, err := os.Stat(filepath.Join(top, to)); err != nil {
				t.Errorf("%s: a link leads nowhere: %v", page, err)
			} else if m[2] != "" && !slices.Contains(anchors(file(t, to)), m[2]) {
				t.Errorf("%s: %s has no heading #%s", page, to, m[2])
			}
		}
	}
}

// anchors are what GitHub makes of a page's headings.
func anchors(page string) (all []string) {
	for line := range strings.Lines(page) {
		if heading, ok := strings.CutPrefix(strings.TrimLeft(line, "#"), " "); ok && line[0] == '#' {
			all = append(all, strings.Map(func(r rune) rune {
				switch {
				case r == ' ':
					return '-'
				case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
					return unicode.ToLower(r)
				}
				return -1
			}, strings.TrimSpace(heading)))
		}
	}
	return all
}

// What the pages give as a proof is there: tests by their names, files by theirs.
func TestProofsExist(t *testing.T) {
	tests := map[string]bool{}
	err := filepath.WalkDir(top, func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, m := range regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`).FindAllSubmatch(text, -1) {
			tests[string(m[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	code := regexp.MustCompile("`([^`\n]+)`")
	place := regexp.MustCompile(`^(\.ci|\.golangci\.yml|cmd|datasource|dbus-policy|docs|internal|nm|packaging|systemd|test)(/[\w./-]+)?$`)
	for _, page := range append(files(t, "*.md"), files(t, "docs/*.md")...) {
		for _, m := range code.FindAllStringSubmatch(file(t, page), -1) {
			if name := m[1]; regexp.MustCompile(`^(Test|Fuzz)[A-Z]\w*$`).MatchString(name) && !tests[name] {
				t.Errorf("%s: there is no %s", page, name)
			} else if place.MatchString(name) {
				if _, err := os.Stat(filepath.Join(top, name)); err != nil {
					t.Errorf("%s: %v", page, err)
				}
			}
		}
	}
}
