//go:build integration

package systemd

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var (
	sets    = flag.Uint64("sets", 120, "number of generated sets of units that are held against systemd")
	analyze = flag.String("analyze", "systemd-analyze", "the judge, of another version maybe")
	first   = flag.Uint64("first", 1, "seed of the first one")
)

// TestGraphsAgreeWithSystemd holds the graphs of generated sets of units against what
// the real systemd makes of them: every edge, everything pulled in, every cycle.
func TestGraphsAgreeWithSystemd(t *testing.T) {
	dir := t.TempDir()
	cyclic, cycles, broken := 0, 0, 0
	for seed := *first; seed < *first+*sets; seed++ {
		root := filepath.Join(dir, fmt.Sprint(seed))
		files := generate(rand.New(rand.NewPCG(seed, 0)))
		if *analyze != "systemd-analyze" { // what later versions do otherwise, where it makes no difference
			for name, text := range files {
				files[name] = strings.NewReplacer("DynamicUser=yes\n", "", "PrivateTmp=yes\n", "", "LogNamespace=n\n", "").Replace(text)
			}
		}
		writeTree(t, root, files)
		u := load(t, root)
		v := judge(t, root, u.loadable())
		if wrong := v.compare(u); len(wrong) > 0 {
			for _, name := range slices.Sorted(maps.Keys(files)) {
				t.Logf("--- %s\n%.500s", name, files[name])
			}
			t.Fatalf("set %d (-first %d -sets 1):\n%s", seed, seed, strings.Join(wrong, "\n"))
		}
		if len(v.cycles) > 0 {
			cyclic++
		}
		cycles += len(v.cycles)
		if v.failed {
			broken++
		}
		if err := os.RemoveAll(root); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d sets: %d with cycles, %d cycles, %d that systemd could not break", *sets, cyclic, cycles, broken)
	if n := int(*sets); n >= 100 && (cyclic < n/5 || cyclic > n*4/5) {
		t.Errorf("got %d of %d sets with cycles, want %d to %d: else they mean little", cyclic, n, n/5, n*4/5)
	}
}

// unitDirs are directories that both look into.
var unitDirs = []string{"etc/systemd/system", "run/systemd/system", "usr/local/lib/systemd/system", "usr/lib/systemd/system", "usr/lib/systemd/system", "usr/lib/systemd/system"}

// toJournal is the default at boot, but not in systemd-analyze.
const toJournal = "StandardOutput=journal\n"

// generator makes a set of units.
type generator struct {
	*rand.Rand
	files map[string]string
	names []string // that may be named
	early []string // targets, each may pull in only earlier ones
	// Specifiers of a unit with aliases mean the name by which it was first loaded.
	aliases int
}

func (g *generator) one(in int) bool         { return g.IntN(in) == 0 }
func (g *generator) pick(of []string) string { return of[g.IntN(len(of))] }

// generate makes a set of units: names that are prefixes of each other, all
// types, drop-ins of all kinds, aliases, masks, instances.
func generate(r *rand.Rand) map[string]string {
	g := &generator{Rand: r, files: base(), aliases: max(0, r.IntN(6)-2)}
	stems := []string{"b", "c-d", "c-e", "c-d-f", "foo", "bar", "x_y", "v.w"}
	r.Shuffle(len(stems), func(i, j int) { stems[i], stems[j] = stems[j], stems[i] })
	for _, stem := range append(stems[:3+r.IntN(5)], "a") {
		g.names = append(g.names, stem+".service")
		for _, typ := range []string{"socket", "timer", "path", "target"} {
			if g.one(5) {
				g.names = append(g.names, stem+"."+typ)
			}
		}
		if g.one(4) {
			g.names = append(g.names, stem+"@1.service", stem+"@x-y.service")
			g.define(stem + "@.service")
		}
	}
	for _, m := range []string{"var.mount", "var-lib.mount", "tmp.mount", "srv.mount", "dev-x.mount", "usr.mount", "var-lib.automount"} {
		if g.one(4) {
			g.names = append(g.names, m)
		}
	}
	for _, name := range slices.Clone(g.names) {
		if !strings.Contains(name, "@") || g.one(4) {
			g.define(name)
		}
		if g.one(2) {
			g.link(g.pick([]string{"multi-user", "multi-user", "sysinit", "basic", "sockets", "timers", "cloud-init"})+".target", name)
		}
	}
	for range r.IntN(6) {
		g.dropin()
	}
	for range g.aliases {
		g.alias()
	}
	if g.one(3) {
		if name := g.pick(g.names); g.aliases == 0 || !strings.Contains(name, "@") {
			g.put("etc/systemd/system/"+name, "-> /dev/null")
		}
	}
	return g.files
}

// put writes a file unless there is one, or a directory.
func (g *generator) put(name, text string) {
	if _, ok := g.files[name]; !ok {
		g.files[name] = text
	}
}

// define writes a unit, sometimes more than once.
func (g *generator) define(name string) {
	g.put(g.pick(unitDirs)+"/"+name, g.text(name))
	if g.one(8) {
		g.put(g.pick(unitDirs)+"/"+name, g.text(name))
	}
	if strings.HasSuffix(name, ".target") {
		g.early = append(g.early, name)
	}
}

func (g *generator) text(name string) string {
	n := parseName(name)
	text := "[Unit]\n" + g.unitSection(name, g.IntN(3))
	if g.one(3) {
		text += "DefaultDependencies=" + g.pick([]string{"no", "no", "false", "off", "yes", "maybe"}) + "\n"
	}
	switch n.typ {
	case "service":
		text += "[Service]\nExecStart=/bin/true\n" + toJournal + g.service(n)
	case "socket":
		text += "[Socket]\nListenStream=" + g.pick([]string{"/var/lib/s", "80", "/run/x/s"}) + "\n"
		if g.one(3) {
			text += "Service=" + g.pick(g.services()) + "\n"
		}
		if g.one(3) {
			text += "ExecStartPre=/bin/true\nPrivateTmp=yes\n" + toJournal
		}
	case "timer":
		text += "[Timer]\n" + g.pick([]string{"OnBootSec=1", "OnCalendar=daily", "OnCalendar=daily\nOnCalendar=\nOnBootSec=1\n"}) + "\n"
		if g.one(2) {
			text += "Persistent=yes\n"
		}
		if g.one(3) {
			text += "Unit=" + g.pick(g.services()) + "\n"
		}
	case "path":
		text += "[Path]\nPathExists=/var/lib/x\n"
	case "mount":
		where := "/" + strings.ReplaceAll(strings.TrimSuffix(name, ".mount"), "-", "/")
		text += "[Mount]\n" + toJournal + "Where=" + where + "\nWhat=" + g.pick([]string{"tmpfs\nType=tmpfs", "h:/x\nType=nfs", "/srv/x\nType=none\nOptions=bind", "none\nType=foo\nOptions=_netdev", "none\nType=foo\nOptions=ro,nofail"}) + "\n"
	case "automount":
		text += "[Automount]\nWhere=/var/lib\n"
	}
	return text
}

func (g *generator) services() []string {
	return slices.DeleteFunc(slices.Clone(g.names), func(name string) bool { return !strings.HasSuffix(name, ".service") })
}

// service are settings that imply dependencies.
func (g *generator) service(n unitName) string {
	var b strings.Builder
	for range g.IntN(3) {
		b.WriteString(g.pick([]string{
			"PrivateTmp=yes", "StateDirectory=x", "StateDirectory=x\nStateDirectory=", "RuntimeDirectory=x y", "WorkingDirectory=/var/lib/w",
			"WorkingDirectory=/srv", "Slice=a-b.slice", "DynamicUser=yes", "StandardOutput=null", "StandardOutput=null\nStandardError=journal", "StandardInput=tty",
			"LogsDirectory=x", "RootDirectory=/srv/root", "LogNamespace=n",
		}) + "\n")
	}
	if n.kind == plain && g.one(4) { // two of one name are an error
		b.WriteString(g.pick([]string{"Type=dbus\n", ""}) + "BusName=a." + strings.NewReplacer("-", "_", ".", "_").Replace(n.prefix) + "\n")
	}
	if sockets := slices.DeleteFunc(slices.Clone(g.names), func(name string) bool { return !strings.HasSuffix(name, ".socket") }); len(sockets) > 0 && g.one(5) {
		b.WriteString("Sockets=" + g.pick(sockets) + "\n")
	}
	return b.String()
}

// unitSection names dependencies, in all ways of writing.
func (g *generator) unitSection(name string, lines int) string {
	var b strings.Builder
	target := strings.HasSuffix(name, ".target")
	for range lines {
		key := g.pick([]string{"After", "After", "Before", "Before", "Wants", "Requires", "BindsTo", "Upholds", "Requisite", "PartOf", "RequiresMountsFor"})
		var list []string
		for range 1 + g.IntN(2) {
			list = append(list, g.word(key, target))
		}
		list = slices.DeleteFunc(list, func(w string) bool { return w == "" })
		if target && key == "PartOf" || len(list) == 0 {
			continue
		}
		b.WriteString(g.line(key, list))
	}
	return b.String()
}

func (g *generator) word(key string, target bool) string {
	order := key == "After" || key == "Before"
	switch {
	case key == "PartOf": // loads a unit, which then is there for nothing
		return "a.service"
	case key == "RequiresMountsFor":
		return g.pick([]string{"/var/lib/x", "/srv", "/var/lib/%j/%t", "/tmp"})
	case target && !order: // two targets that pull each other in: the order would be a matter of chance
		return g.pick(append(g.services(), g.early...))
	case g.one(6) && order:
		return g.pick([]string{"local-fs.target", "sysinit.target", "basic.target", "network.target", "remote-fs.target", "missing.service", "missing@1.service", "dev-sda.device", "nonsense"})
	case g.one(8) && g.aliases == 0:
		return g.pick([]string{"%p.service", "%N.service", "c-d@%i.service", "a@.service", "%n", "%%.service"})
	}
	return g.pick(g.names)
}

func (g *generator) line(key string, list []string) string {
	switch g.IntN(8) {
	case 0:
		return key + " = \\\n\t" + strings.Join(list, " \\\n# a comment\n  ; another \\\n ") + "\n"
	case 2:
		return key + "=\n" + key + "=" + strings.Join(list, " ") + "\n" + key + "=\n"
	case 3: // a line too long for some
		if key == "After" || key == "Before" {
			return key + "=" + strings.Repeat("nothing-at-all.service ", 100) + strings.Join(list, " ") + "\n"
		}
	case 4:
		return "  nonsense\n[ Nonsense ]\nAfter=x.service\n[Unit]\r\n" + key + "\t=" + strings.Join(list, "\t") + "\r\n"
	}
	return key + "=" + strings.Join(list, " ") + "\n"
}

// link pulls a unit in from a directory.
func (g *generator) link(target, name string) {
	dir := g.pick(unitDirs) + "/" + target + g.pick([]string{".wants/", ".wants/", ".wants/", ".requires/"})
	to := "/nowhere/" + name // only the name counts
	if g.aliases == 0 {      // with --root=, the real one does not follow absolute links of aliases here
		to = g.pick([]string{"../" + name, to})
	}
	if g.one(12) {
		to = "/dev/null"
	}
	if len(g.files[dir+name]) == 0 {
		g.files[dir+name] = "-> " + to
	}
}

// dropin writes one, under any of the names that a unit goes by.
func (g *generator) dropin() {
	name := g.pick(g.names)
	n := parseName(name)
	dirs := append(dropinNames(name), n.typ)
	if n.typ == "target" {
		dirs, g.early = dirs[:1], nil
	}
	text := "[Unit]\n" + g.unitSection(name, 1+g.IntN(2))
	switch g.IntN(8) {
	case 0:
		text += "DefaultDependencies=" + g.pick([]string{"no", "yes", ""}) + "\n"
	case 1:
		text = ""
	case 2:
		text = "-> /dev/null"
	}
	if dir := g.pick(dirs); dir != "target" && dir != "mount" {
		g.put(g.pick(unitDirs)+"/"+dir+".d/"+g.pick([]string{"10-a.conf", "20-b.conf", "20-b.conf"}), text)
	}
}

// alias links one name to another unit.
func (g *generator) alias() {
	of := g.pick(g.names)
	n := parseName(of)
	name := g.pick([]string{"alias", "zz-alias", "a", "c-d"}) + "." + n.typ
	switch {
	case n.kind == instance && g.one(2):
		for _, dir := range unitDirs { // an instance with a file of its own is neither here nor there
			if g.files[dir+"/"+n.prefix+"@1."+n.typ]+g.files[dir+"/"+n.prefix+"@x-y."+n.typ] != "" {
				return
			}
		}
		name, of = "alias@."+n.typ, n.template()
		g.names = append(g.names, "alias@"+n.instance+"."+n.typ)
	case n.kind == instance:
		name = "alias@" + n.instance + "." + n.typ
	}
	if name == of {
		return
	}
	g.put(g.pick(unitDirs)+"/"+name, "-> "+g.pick([]string{"/usr/lib/systemd/system/" + of, "../../../usr/lib/systemd/system/" + of, of, "/etc/systemd/system/" + of}))
	if g.one(2) {
		g.put("etc/systemd/system/"+name+".d/30-"+name+".conf", "[Unit]\n"+g.unitSection(of, 1))
	}
	g.link("multi-user.target", name)
}

// TestComparisonNoticesBrokenGraphs breaks graphs on purpose: the comparison has to notice each.
func TestComparisonNoticesBrokenGraphs(t *testing.T) {
	files := generate(rand.New(rand.NewPCG(2, 0)))
	root := t.TempDir()
	writeTree(t, root, files)
	v := judge(t, root, load(t, root).loadable())
	if wrong := v.compare(load(t, root)); len(wrong) > 0 {
		t.Fatal(wrong)
	}
	seen := 0
	for _, id := range load(t, root).loadable() {
		u := load(t, root)
		if n := u.graph.next[id]; len(n) > 0 {
			u.graph.next[id] = n[1:]
			if seen++; len(v.compare(u)) == 0 {
				t.Errorf("%s before %s is missing: got no complaint, want one", id, n[0])
			}
		}
		u = load(t, root)
		u.graph.next[id] = append(u.graph.next[id], "sysinit.target", "default.target")
		if len(v.compare(u)) == 0 {
			t.Errorf("%s is before what it is not: got no complaint, want one", id)
		}
	}
	if seen < 10 {
		t.Errorf("got %d edges removed, want at least 10", seen)
	}
}
