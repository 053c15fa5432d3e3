package doctor

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// Print shows the report as a tree, a group below its name. paint colours a state.
// What is said is broken into lines for a terminal of some columns, 0 for none;
// what is to be done is not, so that commands can be copied.
func (r Report) Print(w io.Writer, columns int, paint func(State, string) string) error {
	var b strings.Builder
	width := 0
	for _, c := range r.Checks {
		group, name := split(c.Name)
		width = max(width, len(group), len("  "+name))
	}
	margin := strings.Repeat(" ", len("problem  ")+width+len("  "))
	line := func(s State, name, detail string) {
		text := fmt.Sprintf("%s  %-*s  %s", paint(s, fmt.Sprintf("%-7s", s)), width, name, broken(detail, margin, columns))
		b.WriteString(strings.TrimRight(text, " ") + "\n")
	}
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
			b.WriteString(margin + "- " + broken(item, margin+"  ", columns) + "\n")
		}
		if c.Fix != "" {
			b.WriteString(margin + "to do: " + c.Fix + "\n")
		}
	}
	b.WriteString("\n" + r.summary() + "\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// broken breaks a text that begins after a margin into lines that fit, with the
// same margin. A narrow terminal is left to itself.
func broken(text, margin string, columns int) string {
	const narrow = 20
	room := columns - len(margin)
	if room < narrow {
		return text
	}
	var b strings.Builder
	at := 0
	for n, word := range strings.Split(text, " ") {
		size := utf8.RuneCountInString(word)
		switch {
		case n == 0:
		case at+1+size > room:
			b.WriteString("\n" + margin)
			at = 0
		default:
			b.WriteString(" ")
			at++
		}
		b.WriteString(word)
		at += size
	}
	return b.String()
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

// summary names what is wrong: on a screen, most of the tree has gone by.
func (r Report) summary() string {
	var parts []string
	for _, s := range []State{Problem, Warning} {
		var names []string
		for _, c := range r.Checks {
			if c.State == s {
				names = append(names, c.Name)
			}
		}
		plural := "s"
		switch len(names) {
		case 0:
			continue
		case 1:
			plural = ""
		}
		parts = append(parts, fmt.Sprintf("%d %s%s: %s", len(names), s, plural, strings.Join(names, ", ")))
	}
	if len(parts) == 0 {
		return cmp.Or(r.end, "All is well.")
	}
	return strings.Join(parts, "\n")
}
