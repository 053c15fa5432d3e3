package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// report is what a boot left: the files of boot-report, the console, the
// journal to its end and what was seen from outside.
type report struct {
	files    fs.FS
	outcome  outcome
	units    map[string]unit // as they were when the boot was done
	manager  unit            // systemd itself
	started  time.Duration   // when the first process started, on the monotonic clock
	previous *report         // of the boot before, of the same image
}

func readReport(files fs.FS, previous *report) *report {
	r := &report{files: files, previous: previous}
	if err := json.Unmarshal([]byte(r.text(outcomeFile)), &r.outcome); err != nil {
		r.outcome.Error = "the boot was not done"
	}
	r.units = parseUnits(r.text("units"))
	r.manager = parseUnits(r.text("manager"))[""]
	r.started = r.manager.time("UserspaceTimestampMonotonic")
	return r
}

// text is a file without white space around it, "" if there is none.
func (r *report) text(name string) string {
	text, err := fs.ReadFile(r.files, name)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

func (r *report) has(name string) bool {
	_, err := fs.Stat(r.files, name)
	return err == nil
}

// wants is an error unless a file has this text.
func (r *report) wants(name, want string) error {
	got := r.text(name)
	if got == want {
		return nil
	}
	if got == "" {
		return fmt.Errorf("there is no %s, want %q", name, want)
	}
	return fmt.Errorf("%s is %q, want %q", name, brief(got), want)
}

var escapes = regexp.MustCompile("\x1b\\[[0-9;?]*[A-Za-z]|\x1b[()][A-Z0-9]|\x1b[78=>]|\r")

// console is what was written there, without what is for a terminal.
func (r *report) console() string { return escapes.ReplaceAllString(r.text(consoleFile), "") }

// said are the lines of the journal and the console that match. systemd's
// words are on the console only as long as there is no journal, and in the end.
func (r *report) said(pattern *regexp.Regexp) (lines []string) {
	seen := make(map[string]bool)
	for line := range strings.Lines(r.text(journalFile) + "\n" + r.console()) {
		if line = strings.TrimSpace(line); pattern.MatchString(line) && !seen[line] {
			seen[line] = true
			lines = append(lines, line)
		}
	}
	return lines
}

// silent is an error if something was said.
func (r *report) silent(pattern *regexp.Regexp) error {
	switch lines := r.said(pattern); len(lines) {
	case 0:
		return nil
	case 1:
		return errors.New(brief(lines[0]))
	default:
		return fmt.Errorf("%s (and %d more)", brief(lines[0]), len(lines)-1)
	}
}

// unit are properties of a unit, or of systemd itself.
type unit map[string]string

// parseUnits reads the output of `systemctl show`, by the units' names.
func parseUnits(text string) map[string]unit {
	units := make(map[string]unit)
	for block := range strings.SplitSeq(text, "\n\n") {
		u := make(unit)
		for line := range strings.Lines(block) {
			if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
				u[name] = value
			}
		}
		if len(u) > 0 {
			units[u["Id"]] = u
		}
	}
	return units
}

// time is a point on the monotonic clock, 0 for never.
func (u unit) time(property string) time.Duration {
	microseconds, _ := strconv.ParseInt(u[property], 10, 64)
	return time.Duration(microseconds) * time.Microsecond
}

// active is when a unit became active, 0 for never, counted from the start of
// the first process. Of several names it is the first that did.
func (r *report) active(names ...string) time.Duration {
	for _, name := range names {
		if at := r.units[name].time("ActiveEnterTimestampMonotonic"); at > 0 {
			return at - r.started
		}
	}
	return 0
}

// brief shortens a text to what fits in a table's foot.
func brief(text string) string {
	text, _, _ = strings.Cut(text, "\n")
	if len(text) > 160 {
		text = text[:160] + "…"
	}
	return text
}
