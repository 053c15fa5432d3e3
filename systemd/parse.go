package systemd

import (
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/coreos/go-systemd/v22/unit"
)

// maxLine is what go-systemd's parser takes, some bytes less. systemd itself
// takes lines of 1 MiB.
const maxLine = unit.SYSTEMD_LINE_MAX - 48

// settings are what one or more unit files say, by section and key
// ("Unit.After"), in their order.
type settings map[string][]string

// relevant are the settings that order units or pull them in.
var relevant = map[string][]string{
	"Unit":      {"DefaultDependencies", "After", "Before", "Wants", "Requires", "Requisite", "BindsTo", "BindTo", "Upholds", "RequiresMountsFor", "WantsMountsFor"},
	"Service":   append([]string{"Type", "BusName", "Sockets"}, execution...),
	"Socket":    append([]string{"Accept", "Service", "ListenStream", "ListenDatagram", "ListenSequentialPacket", "ListenFIFO", "ListenSpecial", "BindToDevice", "ExecStartPre", "ExecStartPost", "ExecStopPre", "ExecStopPost"}, execution...),
	"Mount":     append([]string{"What", "Where", "Type", "Options"}, execution...),
	"Swap":      append([]string{"What"}, execution...),
	"Automount": {"Where"},
	"Timer":     {"Unit", "OnCalendar", "Persistent"},
	"Install":   {"WantedBy", "RequiredBy"},
	"Path":      {"Unit", "PathExists", "PathExistsGlob", "PathChanged", "PathModified", "DirectoryNotEmpty"},
}

// execution are settings of systemd.exec(5) and resource control that imply dependencies.
var execution = []string{
	"Slice", "PrivateTmp", "DynamicUser", "StandardInput", "StandardOutput", "StandardError", "LogNamespace", "WorkingDirectory", "RootDirectory", "RootImage",
	"RuntimeDirectory", "StateDirectory", "CacheDirectory", "LogsDirectory", "ConfigurationDirectory",
}

// parse reads a unit file. It takes whatever systemd takes, so what go-systemd's
// parser would stumble over is mended before: lines that are too long, comments
// between continued lines, lines that are no settings.
func parse(text string) settings {
	var clean strings.Builder
	section := ""
	for _, l := range logicalLines(text) {
		line := l.text
		if line[0] == '[' {
			section = strings.TrimSuffix(line[1:], "]")
			if len(section) == len(line)-2 && relevant[section] != nil {
				clean.WriteString(line + "\n")
			} else {
				section = ""
			}
			continue
		}
		key, value, found := strings.Cut(line, "=")
		key = strings.TrimSpace(key)
		if found && slices.Contains(relevant[section], key) {
			writeSetting(&clean, key, strings.TrimSpace(value))
		}
	}
	// Nothing is left that the parser could refuse; if it does, what it has read counts.
	options, _ := unit.DeserializeOptions(strings.NewReader(clean.String()))
	s := make(settings)
	for _, o := range options {
		name := o.Section + "." + o.Name
		s[name] = append(s[name], o.Value)
	}
	return s
}

// writeSetting writes a setting as one line, or as several if it is too long.
func writeSetting(b *strings.Builder, key, value string) {
	for len(key)+len(value)+2 > maxLine {
		room := maxLine - len(key) - 2
		cut := strings.LastIndexAny(value[:room], " \t")
		if cut <= 0 {
			cut = room // a word of 2 KB names no unit
		}
		b.WriteString(key + "=" + value[:cut] + " \n")
		value = strings.TrimSpace(value[cut:])
	}
	// The space keeps a backslash at the end from continuing the line.
	b.WriteString(key + "=" + value + " \n")
}

// merge adds what a drop-in says.
func (s settings) merge(dropin settings) {
	for name, values := range dropin {
		s[name] = append(s[name], values...)
	}
}

// list is a setting that is a list, one element for each line. Lists in [Unit]
// only grow; elsewhere an empty value resets them.
func (s settings) list(name string) []string {
	var all []string
	for _, value := range s[name] {
		switch {
		case value != "":
			all = append(all, value)
		case !strings.HasPrefix(name, "Unit."):
			all = nil
		}
	}
	return all
}

// last is the value of a setting that is not a list.
func (s settings) last(name string) string {
	if values := s[name]; len(values) > 0 {
		return values[len(values)-1]
	}
	return ""
}

// is says whether a boolean setting is on.
func (s settings) is(name string, otherwise bool) bool {
	values := s[name]
	for i := len(values) - 1; i >= 0; i-- {
		switch strings.ToLower(values[i]) {
		case "1", "yes", "y", "true", "t", "on":
			return true
		case "0", "no", "n", "false", "f", "off":
			return false
		}
	}
	return otherwise
}

// logicalLine is a line that says something, with the lines that continue it.
type logicalLine struct {
	text        string // trimmed, continuations joined
	first, next int    // the physical lines, numbered from 0
}

// logicalLines splits a unit file as systemd.syntax(7) has it: a backslash at
// the end continues a line, also over comments.
func logicalLines(text string) []logicalLine {
	var all []logicalLine
	var joined strings.Builder
	first, open := 0, false
	flush := func(next int) {
		if line := strings.TrimSpace(joined.String()); line != "" && utf8.ValidString(line) && line[0] != '#' && line[0] != ';' {
			all = append(all, logicalLine{line, first, next})
		}
		joined.Reset()
		open = false
	}
	n := 0
	for raw := range strings.Lines(text) {
		line := strings.TrimLeft(strings.TrimRight(raw, "\r\n"), " \t")
		n++
		if line != "" && (line[0] == '#' || line[0] == ';') {
			continue
		}
		if !open {
			first, open = n-1, true
		}
		if escaped(line) {
			joined.WriteString(line[:len(line)-1] + " ")
			continue
		}
		joined.WriteString(line)
		flush(n)
	}
	flush(n)
	return all
}

// escaped says whether a line ends in a backslash that is not escaped itself.
func escaped(line string) bool {
	return (len(line)-len(strings.TrimRight(line, `\`)))%2 == 1
}
