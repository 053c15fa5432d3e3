package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/term"
)

// finish prints the table, removes what nobody needs, and says where the rest is.
func finish(out io.Writer, results [][]result, artifacts string, o options) error {
	f, _ := out.(*os.File)
	colour := f != nil && term.IsTerminal(int(f.Fd())) && os.Getenv("NO_COLOR") == ""
	var all []result
	for _, boots := range results {
		all = append(all, boots...)
	}
	fmt.Fprint(out, "\nseconds since the first process started (in all: until power off)\n"+table(all, colour))
	for _, boots := range results { // not before the table, which reads what they left
		if verdictWord(boots) != "ok" || o.keep || o.artifacts != "" {
			continue
		}
		dir := filepath.Join(artifacts, boots[0].scenario)
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
		for dir != artifacts { // the parents, too, if they are empty
			dir = filepath.Dir(dir)
			_ = os.Remove(dir)
		}
	}
	failed := false
	for _, r := range all {
		if len(r.wrong) > 0 {
			failed = true
			fmt.Fprintf(out, "\n%s, %s: %s\n", r.scenario, r.boot, r.dir)
			for _, err := range r.wrong {
				fmt.Fprintf(out, "  %s\n", strings.ReplaceAll(err.Error(), "\n", "\n    "))
			}
		}
	}
	if failed {
		return errFailed
	}
	return nil
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
