package main

import (
	"fmt"
	"io"
	"regexp"
	"strings"
)

// excerptLines is how many lines of each artefact of a failed boot are printed.
const excerptLines = 40

// telling matches the lines of a journal that may say why a boot is not as it should
// be: those of the programs under test, and whatever failed.
var telling = regexp.MustCompile(`(?i)nm-cloud-seed|cloud-init\[|NetworkManager\[.*(device|dhcp4|policy|warn)|fail|error|traceback|timed? ?out|cycle`)

// writeExcerpts writes what a failed boot left, shortened to what one reads first: the
// end of the console, the telling lines of the journal, and our status.
func writeExcerpts(out io.Writer, r *report) {
	var journal []string
	for line := range strings.Lines(r.text(journalFile)) {
		if telling.MatchString(line) && !strings.Contains(line, "ailed to read pids.max") { // nspawn's cgroups
			journal = append(journal, line)
		}
	}
	for _, a := range []struct{ title, text string }{
		{"console, its end", r.console()},
		{"journal, what may tell", strings.Join(journal, "")},
		{"nm-cloud-seed status", r.text("status")},
		{"nm-cloud-seed status, before the virtual router came back", r.text("before/status")},
	} {
		if a.text == "" {
			continue
		}
		fmt.Fprintf(out, "  -- %s --\n", a.title)
		for _, line := range lastLines(a.text, excerptLines) {
			fmt.Fprintf(out, "    %s\n", line)
		}
	}
}

// lastLines returns the last n lines of a text.
func lastLines(text string, n int) []string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return lines[max(0, len(lines)-n):]
}
