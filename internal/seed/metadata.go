package seed

import (
	"fmt"
	"maps"
	"slices"

	"github.com/nm-cloud-seed/nm-cloud-seed/datasource"
)

// maxSimpleKey is below the 1024 characters, as written, within which PyYAML
// must see the colon after a key that has no "? " before it.
// https://yaml.org/spec/1.1/#simple%20key/
const maxSimpleKey = 1000

// MetaData renders the meta-data document that cloud-init reads with PyYAML:
// a mapping of strings, one key per line, sorted.
//
// cloud-init's own crawl yields nothing but strings, so each key and value must
// come back as the same string, also `yes`, `0123` or `12:30:45`. Therefore it
// is a YAML flow mapping in which every string is quoted and every character
// ASCII; up to U+FFFF it is JSON, too. Invalid UTF-8 becomes U+FFFD. A local-hostname without a
// dot is completed to an FQDN; a missing instance-id is taken from inst.ID.
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
		b = quote(b, values[key])
	}
	return append(b, "\n}\n"...)
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
