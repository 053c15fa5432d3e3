package config

import (
	"bytes"
	"errors"

	"gopkg.in/ini.v1"
)

// entry is a line of a file: a setting, a section's header (no key), or
// something wrong.
type entry struct {
	section, key string
	value        string
	line         int   // from 1; 0 if unknown
	err          error // instead of a setting
}

func (e entry) apply(c *Config) error {
	switch {
	case e.err != nil:
		return e.err
	case e.key == "":
		return checkSection(e.section)
	case e.section != "" && checkSection(e.section) != nil:
		return nil // said at its header
	}
	o, err := lookup(e.section, e.key)
	if err != nil {
		return err
	}
	return o.apply(c, e.value)
}

// parse reads one keyfile. ini.v1 finds the values; the lines, which it does
// not keep, come from scan, which also refuses what ini.v1 would take for a
// quoted key or a value of several lines. After a syntax error nothing of the
// file counts: the sections may be wrong. Of a repeated key the last one counts.
func parse(data []byte) []entry {
	data = bytes.TrimPrefix(data, []byte("\uFEFF"))
	scanned, broken := scan(data)
	if len(broken) > 0 {
		return broken
	}
	file, err := ini.LoadSources(ini.LoadOptions{
		IgnoreContinuation:      true, // a final backslash is a backslash
		IgnoreInlineComment:     true, // # and ; begin comments on their own lines only
		PreserveSurroundedQuote: true, // quotes are part of a value, as in GKeyFile
		KeyValueDelimiters:      "=",  // not ":"
	}, append([]byte("\n"), data...)) // so that it never looks for a byte order mark, such as a second one
	if err != nil {
		return []entry{{err: errors.New("syntax error")}} // err would quote the file
	}
	last := map[[2]string]int{}
	for i, e := range scanned {
		last[[2]string{e.section, e.key}] = i
	}
	var entries []entry
	for i, e := range scanned {
		if last[[2]string{e.section, e.key}] != i {
			continue
		}
		if _, err := lookup(e.section, e.key); err == nil {
			// Value, not String: the latter replaces %(name)s.
			e.value = file.Section(e.section).Key(e.key).Value()
		}
		entries = append(entries, e)
	}
	return entries
}
