//go:build integration

package systemd

import (
	"bufio"
	"bytes"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// verdict is what the real systemd makes of the units below a root.
type verdict struct {
	units   map[string]bool // that it has loaded
	edges   map[edge]bool
	pulls   map[string]map[string]bool // what units require, want or need active
	cycles  []Cycle                    // as found one after the other
	deleted []string                   // to break these
	failed  bool                       // could not be broken
	jobs    map[string]bool            // of starting default.target, in the end
}

type edge struct{ before, after string }

var (
	foundCycle = regexp.MustCompile(`^(\S+): Found ordering cycle on (\S+)/(start|verify-active|stop)`)
	laterCycle = regexp.MustCompile(`^\S+: Found ordering cycle: (.*) - after \S+$`) // since systemd 258
	foundNext  = regexp.MustCompile(`^\S+: Found dependency on (\S+)/(start|verify-active|stop)`)
	deletedJob = regexp.MustCompile(`^\S+: Job (\S+)/\S+ deleted to break ordering cycle`)
	installed  = regexp.MustCompile(`^(\S+): Installed new job \S+/(start|verify-active) as`)
	enqueue    = regexp.MustCompile(`^(\S+): Trying to enqueue job (\S+)/start/`)
	dependency = regexp.MustCompile(`^\t*(Before|After|Requires|BindsTo|Wants|Upholds|Requisite): (\S+) \(`)
)

// judge asks systemd-analyze about units. Its debug output has, for each unit
// named, what systemd knows of it, and for each one the jobs of starting it.
func judge(t testing.TB, root string, units []string) verdict {
	t.Helper()
	cmd := exec.Command(*analyze, append([]string{"verify", "--man=no", "--generators=no", "--root=" + root, defaultTarget}, units...)...)
	cmd.Env = append(os.Environ(), "SYSTEMD_LOG_LEVEL=debug", "SYSTEMD_LOG_COLOR=0", "LC_ALL=C")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatalf("%v: install the package systemd", err)
	}
	v := verdict{units: make(map[string]bool), edges: make(map[edge]bool), pulls: make(map[string]map[string]bool), jobs: make(map[string]bool)}
	v.readDump(&stdout)
	v.readLog(&stderr)
	return v
}

func (v *verdict) readDump(out *bytes.Buffer) {
	unit := ""
	for s := bufio.NewScanner(out); s.Scan(); {
		line := s.Text()
		if at := strings.Index(line, "-> Unit "); at >= 0 {
			unit = strings.TrimSuffix(line[at+len("-> Unit "):], ":")
		}
		if strings.Contains(line, "Unit Load State: loaded") {
			v.units[unit] = true
			v.pulls[unit] = make(map[string]bool)
		}
		m := dependency.FindStringSubmatch(line)
		if m == nil || !v.units[unit] {
			continue
		}
		switch m[1] {
		case "Before":
			v.edges[edge{unit, m[2]}] = true
		case "After":
			v.edges[edge{m[2], unit}] = true
		default:
			v.pulls[unit][m[2]] = true
		}
	}
}

func (v *verdict) readLog(out *bytes.Buffer) {
	first := false // in the messages about default.target
	for s := bufio.NewScanner(out); s.Scan(); {
		line := s.Text()
		if m := enqueue.FindStringSubmatch(line); m != nil {
			if first {
				return
			}
			first = true
		}
		if !first {
			continue
		}
		if m := foundCycle.FindStringSubmatch(line); m != nil {
			v.cycles = append(v.cycles, Cycle{m[2]})
		} else if m := laterCycle.FindStringSubmatch(line); m != nil {
			var c Cycle
			for _, job := range strings.Split(m[1], " after ") {
				c = append(c, job[:strings.LastIndexByte(job, '/')])
			}
			v.cycles = append(v.cycles, c)
		} else if m := foundNext.FindStringSubmatch(line); m != nil {
			last := len(v.cycles) - 1
			v.cycles[last] = append(v.cycles[last], m[1])
		} else if m := deletedJob.FindStringSubmatch(line); m != nil {
			v.deleted = append(v.deleted, m[1])
		} else if strings.Contains(line, ": Unable to break cycle") || strings.Contains(line, ": Failed to create ") {
			v.failed = true
		} else if m := installed.FindStringSubmatch(line); m != nil {
			v.jobs[m[1]] = true
		}
	}
}

// compare holds the graph of units against the verdict on them.
func (v *verdict) compare(u *Units) []string {
	var wrong []string
	complain := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	g := u.graph
	for id, n := range g.nodes {
		if n.file != nil && n.loaded && !v.units[id] {
			complain("%s is loaded here, not there", id)
		}
	}
	ours := make(map[edge]bool)
	for a, nexts := range g.next {
		for _, b := range nexts {
			if v.units[a] || v.units[b] {
				ours[edge{a, b}] = true
			}
		}
	}
	// Of units that cannot be started it does not matter what order they would
	// have. The real one reads their drop-ins all the same, keeps an alias of a
	// masked unit as a masked unit of its own, and loads what only they name.
	cannotStart := func(name string) bool {
		n := g.nodes[g.ids[name]]
		return n != nil && !n.loaded || n == nil && !v.units[name]
	}
	matters := func(e edge) bool { return !cannotStart(e.before) && !cannotStart(e.after) }
	for e := range ours {
		if !v.edges[e] && matters(e) {
			complain("%s before %s only here", e.before, e.after)
		}
	}
	for e := range v.edges {
		if !ours[e] && parseName(e.after).typ != "device" && matters(e) {
			complain("%s before %s only there", e.before, e.after)
		}
	}
	for id, pulls := range v.pulls {
		here := set(g.nodes[id].pulled())
		for other := range pulls {
			if !here[other] && !cannotStart(other) {
				complain("%s pulls %s in only there", id, other)
			}
		}
		for other := range here {
			if !pulls[other] && !cannotStart(other) {
				complain("%s pulls %s in only here", id, other)
			}
		}
	}
	slices.Sort(wrong)
	return append(wrong, v.compareCycles(u)...)
}

// compareCycles: systemd finds cycles one by one, and takes a job out for each.
func (v *verdict) compareCycles(u *Units) []string {
	var wrong []string
	complain := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	g := u.graph
	for _, c := range v.cycles {
		for i := range c { // told backwards
			before, after := c[(i+1)%len(c)], c[i]
			if !slices.Contains(g.next[before], after) {
				complain("cycle %q: %s before %s only there", c, before, after)
			}
			if !u.boot[before] {
				complain("cycle %q: %s is started only there", c, before)
			}
		}
	}
	for _, c := range u.Cycles() {
		for i := range c {
			if !slices.Contains(g.next[c[i]], c[(i+1)%len(c)]) || !u.boot[c[i]] {
				complain("cycle %q is none", c)
			}
		}
	}
	// What cannot be started has systemd stop somewhere among its dependencies.
	for id := range u.boot {
		for _, r := range slices.Concat(g.nodes[id].requires, g.nodes[id].requisite) {
			if !g.nodes[r].loaded {
				return wrong
			}
		}
	}
	if here, there := len(u.Cycles()) > 0, len(v.cycles) > 0; here != there {
		complain("cycles here %q, there %q", u.Cycles(), v.cycles)
	}
	if v.failed {
		return wrong
	}
	rest := u.without(v.deleted)
	if knots := g.knots(rest); len(knots) > 0 {
		complain("there, no cycle is left without %q; here, %q", v.deleted, knots)
	}
	if len(v.deleted) == 0 && !maps.Equal(rest, v.jobs) {
		for id := range rest {
			if !v.jobs[id] {
				complain("%s is started only here", id)
			}
		}
		for id := range v.jobs {
			if !rest[id] {
				complain("%s is started only there", id)
			}
		}
	}
	return wrong
}

// without is what is still started when jobs have been taken out, and with them
// those that require them.
func (u *Units) without(deleted []string) map[string]bool {
	requiring := func(id string) []string {
		var all []string
		for other := range u.boot {
			n := u.graph.nodes[other]
			if slices.Contains(n.requires, id) || slices.Contains(n.requisite, id) {
				all = append(all, other)
			}
		}
		return all
	}
	return u.graph.started(defaultTarget, reach(deleted, requiring))
}

// loadable are the units to ask systemd about.
func (u *Units) loadable() []string {
	var all []string
	for id, n := range u.graph.nodes {
		if n.file != nil && n.loaded {
			all = append(all, id)
		}
	}
	slices.Sort(all)
	return all
}

// judgePlan asks systemd what becomes of units with a plan carried out, in a
// root of its own: generators do not run there, but /etc has their precedence.
func judgePlan(t testing.TB, files map[string]string, p Plan) verdict {
	t.Helper()
	all := maps.Clone(files)
	for _, f := range p.Files {
		text := f.Text
		if f.Link != "" {
			text = "-> " + f.Link
		}
		all["etc/systemd/system/"+f.Name] = text
	}
	root := t.TempDir()
	writeTree(t, root, all)
	return judge(t, root, nil)
}

// checkWithSystemd asks systemd whether units with a plan carried out have a
// cycle, and whether it starts some of them.
func checkWithSystemd(t testing.TB, files map[string]string, p Plan, cycle bool, started ...string) {
	t.Helper()
	v := judgePlan(t, files, p)
	if got := len(v.cycles) > 0; got != cycle {
		t.Errorf("got the cycles %q from systemd, want some: %t", v.cycles, cycle)
	}
	for _, id := range started {
		if !v.jobs[id] {
			t.Errorf("got no job for %s from systemd, want one; it found the cycles %q", id, v.cycles)
		}
	}
}
