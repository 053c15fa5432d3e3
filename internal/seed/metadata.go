package seed

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/nm-cloud-seed/nm-cloud-seed/datasource"
)

// maxSimpleKey is below the 1024 characters, as written, within which PyYAML
// must see the colon after a key that has no "? " before it.
// https://yaml.org/spec/1.1/#simple%20key/
const maxSimpleKey = 1000

// MetaData renders the meta-data document that cloud-init reads with PyYAML: a
// mapping, one key per line, sorted.
//
// Each key and value must come back as cloud-init's own crawl would have it:
// the same string, also `yes`, `0123` or `12:30:45`, or, of a value of several
// lines such as several SSH keys, the list of them (MetadataLeafDecoder in
// cloudinit/sources/helpers/ec2.py; a JSON object, which it would decode, stays
// a string). Therefore it is a YAML flow mapping in which every string is quoted
// and every character ASCII; up to U+FFFF it is JSON, too. Invalid UTF-8 becomes
// U+FFFD. A local-hostname without a dot is completed to an FQDN; a missing
// instance-id is taken from inst.ID.
func MetaData(inst *datasource.Instance) []byte {
	values := make(map[string]string, len(inst.Metadata)+1)
	for _, key := range slices.Sorted(maps.Keys(inst.Metadata)) {
		values[string([]rune(key))] = inst.Metadata[key] // valid UTF-8 from here on
	}
	if _, ok := values["instance-id"]; !ok && inst.ID != "" {
		values["instance-id"] = inst.ID // cloud-init dies of a KeyError without it
	}
	if name, ok := values["local-hostname"]; ok {
		values["local-hostname"] = qualify(name, inst.Origin.Domain)
	}

	b := []byte("{")
	for i, key := range slices.Sorted(maps.Keys(values)) {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, "\n  "...)
		written := quote(nil, key)
		if len(written) > maxSimpleKey {
			// The crawler takes no key of more than 128
			// characters, so this is never seen; it keeps the promise above.
			b = append(b, "? "...)
		}
		b = append(b, written...)
		b = append(b, ": "...)
		b = value(b, values[key])
	}
	return append(b, "\n}\n"...)
}

// value appends a string, or the list of its lines.
func value(b []byte, s string) []byte {
	s = string([]rune(s))
	object := strings.TrimSpace(s)
	if !strings.Contains(s, "\n") || strings.HasPrefix(object, "{") && strings.HasSuffix(object, "}") {
		return quote(b, s)
	}
	b = append(b, '[')
	for i, line := range splitLines(s) {
		if i > 0 {
			b = append(b, ", "...)
		}
		b = quote(b, line)
	}
	return append(b, ']')
}

// splitLines is Python's str.splitlines: more than \n ends a line, and the last
// end begins no further one.
func splitLines(s string) []string {
	s = strings.Map(func(r rune) rune {
		if strings.ContainsRune("\r\v\f\x1c\x1d\x1e\u0085\u2028\u2029", r) {
			return '\n'
		}
		return r
	}, strings.ReplaceAll(s, "\r\n", "\n"))
	return strings.Split(strings.TrimSuffix(s, "\n"), "\n")
}

// quote appends s as a double-quoted YAML string.
//
// encoding/json does not fit: it leaves U+0085, a line break in YAML, and DEL,
// C1 and noncharacters, which PyYAML refuses, as they are, and PyYAML reads the
// two halves of its escape for a character above U+FFFF as two characters. Raw,
// such a character is refused by PyYAML before 5.1 (RHEL 8 has 3.12), with all
// the rest of the document.
func quote(b []byte, s string) []byte {
	b = append(b, '"')
	for _, r := range s { // an invalid byte is U+FFFD here
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r == '\n':
			b = append(b, `\n`...)
		case r == '\r':
			b = append(b, `\r`...)
		case r == '\t':
			b = append(b, `\t`...)
		case r >= ' ' && r <= '~':
			b = append(b, byte(r))
		case r > 0xFFFF:
			b = fmt.Appendf(b, `\U%08x`, r)
		default:
			b = fmt.Appendf(b, `\u%04x`, r)
		}
	}
	return append(b, '"')
}
