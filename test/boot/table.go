package main

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/term"
)

// finish prints the table and where the time went, removes what the good boots left,
// and prints of each bad boot what is wrong, where it is, and what it left.
func finish(out io.Writer, scenarios []outcomeOf, took time.Duration, artifacts string, o options) error {
	f, _ := out.(*os.File)
	colour := f != nil && term.IsTerminal(int(f.Fd())) && os.Getenv("NO_COLOR") == ""
	var all []result
	for _, s := range scenarios {
		all = append(all, s.boots...)
	}
	fmt.Fprint(out, "\nseconds since the first process started (in all: until power off)\n"+table(all, colour))
	fmt.Fprint(out, "\n"+slowest(scenarios, took))
	for _, s := range scenarios { // not before the table, which reads what they left
		if verdictWord(s.boots) != "ok" || o.keep {
			continue
		}
		dir := filepath.Join(artifacts, s.boots[0].scenario)
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
		for dir != artifacts { // the parents, too, if they are empty
			dir = filepath.Dir(dir)
			_ = os.Remove(dir)
		}
	}
	bad := slices.DeleteFunc(all, func(r result) bool { return len(r.wrong) == 0 })
	if len(bad) == 0 {
		return nil
	}
	for _, r := range bad {
		fmt.Fprintf(out, "\n%s: %s\n", name(r), r.dir)
		writeWrong(out, r.wrong)
		writeExcerpts(out, r.report)
	}
	fmt.Fprint(out, "\nin short:\n") // a log is read from its end
	for _, r := range bad {
		fmt.Fprintf(out, "%s\n", name(r))
		writeWrong(out, r.wrong)
	}
	return errFailed
}

// writeWrong writes what is wrong with a boot, a line or more each.
func writeWrong(out io.Writer, wrong []error) {
	for _, err := range wrong {
		fmt.Fprintf(out, "  %s\n", strings.ReplaceAll(err.Error(), "\n", "\n    "))
	}
}

// slowest returns where the time went: the scenarios that took longest, and the whole.
func slowest(scenarios []outcomeOf, took time.Duration) string {
	const most = 12
	var sum time.Duration
	boots := 0
	for _, s := range scenarios {
		sum += s.took
		boots += len(s.boots)
	}
	order := slices.SortedStableFunc(slices.Values(scenarios), func(a, b outcomeOf) int { return cmp.Compare(b.took, a.took) })
	var b strings.Builder
	for _, s := range order[:min(most, len(order))] {
		fmt.Fprintf(&b, "%6.1f s  %d  %s\n", s.took.Seconds(), len(s.boots), s.boots[0].scenario)
	}
	fmt.Fprintf(&b, "%6.1f s  for %d boots of %d scenarios, side by side (%.1f s one after the other); %s\n",
		took.Seconds(), boots, len(scenarios), sum.Seconds(), load())
	return b.String()
}

// table has a line per boot. Times are seconds since the first process started.
func table(results []result, colour bool) string {
	var text bytes.Buffer
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "seed\tnetwork stage\tmulti-user\tin all\tverdict\t") // aligned to the right
	for _, r := range results {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t\n", seconds(r.report.seeded()), seconds(r.report.active(networkStage...)),
			seconds(r.report.active("multi-user.target")), seconds(r.report.outcome.Took), word(r))
	}
	w.Flush()
	// The names are aligned to the left, and colours would spoil the widths.
	var out strings.Builder
	lines := strings.Split(strings.TrimRight(text.String(), "\n"), "\n")
	width := len("boot")
	for _, r := range results {
		width = max(width, len(name(r)))
	}
	for i, line := range lines {
		left := "boot"
		if i > 0 {
			left = name(results[i-1])
		}
		line = fmt.Sprintf("%-*s%s", width, left, strings.TrimRight(line, " "))
		if i > 0 && colour {
			line = paint(line, len(results[i-1].wrong) > 0)
		}
		out.WriteString(line + "\n")
	}
	return out.String()
}

func name(r result) string { return r.scenario + ", " + r.boot }

func word(r result) string {
	if len(r.wrong) == 0 {
		return "ok"
	}
	return fmt.Sprintf("%d wrong", len(r.wrong))
}

func paint(line string, bad bool) string {
	code := "32"
	if bad {
		code = "31"
	}
	return "\x1b[" + code + "m" + line + "\x1b[0m"
}

func seconds(d time.Duration) string {
	if d == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f", d.Seconds())
}
