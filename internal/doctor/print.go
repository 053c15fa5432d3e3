package doctor

import (
	"fmt"
	"io"
	"strings"
)

// Print shows the report as a tree, a group below its name. paint colours a state.
func (r Report) Print(w io.Writer, paint func(State, string) string) error {
	var b strings.Builder
	width := 0
	for _, c := range r.Checks {
		group, name := split(c.Name)
		width = max(width, len(group), len("  "+name))
	}
	line := func(s State, name, detail string) {
		text := fmt.Sprintf("%s  %-*s  %s", paint(s, fmt.Sprintf("%-7s", s)), width, name, detail)
		b.WriteString(strings.TrimRight(text, " ") + "\n")
	}
	margin := strings.Repeat(" ", len("problem  ")+width+len("  "))
	last := ""
	for i, c := range r.Checks {
		group, name := split(c.Name)
		switch {
		case name == "":
			name = group
		case group != last:
			line(worst(inGroup(r.Checks[i:], group)), group, "")
			fallthrough
		default:
			name = "  " + name
		}
		last = group
		line(c.State, name, c.Detail)
		for _, item := range c.Items {
			b.WriteString(margin + "- " + item + "\n")
		}
		if c.Fix != "" {
			b.WriteString(margin + "to do: " + c.Fix + "\n")
		}
	}
	b.WriteString("\n" + r.summary() + "\n")
	_, err := io.WriteString(w, b.String())
	return err
}

func split(name string) (group, rest string) {
	group, rest, _ = strings.Cut(name, ".")
	return group, rest
}

func inGroup(checks []Check, group string) []Check {
	var all []Check
	for _, c := range checks {
		if g, _ := split(c.Name); g == group {
			all = append(all, c)
		}
	}
	return all
}

func (r Report) summary() string {
	counts := make(map[State]int)
	for _, c := range r.Checks {
		counts[c.State]++
	}
	if counts[Problem]+counts[Warning] == 0 {
		return "All is well."
	}
	var parts []string
	for _, s := range []State{Problem, Warning} {
		switch n := counts[s]; {
		case n == 1:
			parts = append(parts, "1 "+string(s))
		case n > 1:
			parts = append(parts, fmt.Sprintf("%d %ss", n, s))
		}
	}
	return strings.Join(parts, ", ") + "."
}
