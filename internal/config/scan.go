package config

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// scan finds the lines of a keyfile that say something, and those that are
// wrong. Its idea of white space is that of ini.v1, all of Unicode's.
func scan(data []byte) (good, broken []entry) {
	section := ""
	line := 0
	for raw := range bytes.Lines(data) {
		line++
		text := string(bytes.TrimSpace(raw))
		if text == "" || text[0] == '#' || text[0] == ';' {
			if err := checkBytes(raw); err != nil {
				broken = append(broken, entry{line: line, err: err})
			}
			continue
		}
		e, err := scanLine(text, section)
		if err == nil {
			err = checkBytes(raw)
		}
		if err != nil {
			broken = append(broken, entry{line: line, err: err})
			continue
		}
		e.line = line
		section = e.section
		good = append(good, e)
	}
	return good, broken
}

// checkBytes wants text. Errors do not quote what is wrong: it may be any file.
func checkBytes(raw []byte) error {
	switch {
	case bytes.IndexByte(raw, 0) >= 0:
		return errors.New("a NUL byte (is this a text file?)")
	case !utf8.Valid(raw):
		return errors.New("not UTF-8 (save the file as UTF-8)")
	}
	return nil
}

// scanLine takes a line apart, without its value: that is ini.v1's business.
func scanLine(text, section string) (entry, error) {
	if text[0] == '[' {
		name, rest, found := strings.Cut(text[1:], "]")
		switch {
		case !found:
			return entry{}, errors.New(`no "]" after a section's name`)
		case rest != "":
			return entry{}, errors.New(`something follows the "]" (comments have lines of their own)`)
		case name == "":
			return entry{}, errors.New("a section without a name")
		}
		return entry{section: name}, nil
	}
	key, value, found := strings.Cut(text, "=")
	key, value = strings.TrimSpace(key), strings.TrimSpace(value)
	switch {
	case !found:
		return entry{}, errors.New(`no "=" (want [section], key=value or # comment)`)
	case key == "":
		return entry{}, errors.New(`no key before "="`)
	case key == "-" || key[0] == '"' || key[0] == '`':
		return entry{}, fmt.Errorf("a key cannot begin with %q", rune(key[0])) // ini.v1 reads these otherwise
	case strings.HasPrefix(value, "`") || strings.HasPrefix(value, `"""`):
		return entry{}, errors.New("a value cannot be quoted (write it as it is)") // could span lines
	}
	return entry{section: section, key: key}, nil
}
