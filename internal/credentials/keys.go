package credentials

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Limits of a set of keys.
const (
	maxKeys    = 256
	maxKeyText = 64 << 10
)

// Key is a public SSH key, "TYPE BASE64". What surrounds it in a line, options
// and comment, is not its identity.
type Key string

// Base64 is the key without its type.
func (k Key) Base64() string {
	_, text, _ := strings.Cut(string(k), " ")
	return text
}

// String is the type and the fingerprint that ssh-keygen -l shows.
func (k Key) String() string {
	typ, text, _ := strings.Cut(string(k), " ")
	blob, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return typ
	}
	sum := sha256.Sum256(blob)
	return typ + " SHA256:" + base64.RawStdEncoding.EncodeToString(sum[:])
}

// Keys is a set of keys, in the order in which they came.
type Keys []Key

// ParseKeys takes the keys of a text such as the metadata's public-keys. There are
// either all keys or an error: one that is left out, since there are too many or
// half of it is missing, would be taken for one that was removed.
func ParseKeys(text string) (Keys, error) {
	if len(text) > maxKeyText {
		return nil, fmt.Errorf("cannot use the SSH keys: they are larger than %d KiB", maxKeyText>>10)
	}
	var keys Keys
	for line := range strings.Lines(text) {
		key, ok := keyOf(line)
		if text := strings.TrimSpace(line); !ok && text != "" && text[0] != '#' {
			return nil, errors.New("cannot use the SSH keys: a line is no key")
		}
		if !ok || slices.Contains(keys, key) {
			continue
		}
		if keys = append(keys, key); len(keys) > maxKeys {
			return nil, fmt.Errorf("cannot use the SSH keys: there are more than %d", maxKeys)
		}
	}
	return keys, nil
}

// Without gives the keys that are not among others.
func (ks Keys) Without(others Keys) Keys {
	return slices.DeleteFunc(slices.Clone(ks), others.Contains)
}

// Contains says whether key is one of them.
func (ks Keys) Contains(key Key) bool { return slices.Contains(ks, key) }

// UnmarshalJSON takes what was written, if it is keys.
func (ks *Keys) UnmarshalJSON(data []byte) error {
	var lines []string
	if err := json.Unmarshal(data, &lines); err != nil {
		return err
	}
	keys, err := ParseKeys(strings.Join(lines, "\n"))
	if err == nil && len(keys) != len(lines) {
		err = errors.New("not a set of SSH keys")
	}
	*ks = keys
	return err
}

// keyOf finds the key in a line the way sshd does (auth_check_authkey_line in
// auth2-pubkeyfile.c): at its beginning, or after a word of options.
func keyOf(line string) (Key, bool) {
	line, _, _ = strings.Cut(line, "\x00") // the end, in C
	line = strings.TrimLeft(line, blanks)
	if strings.HasPrefix(line, "#") {
		return "", false
	}
	if key, ok := leadingKey(line); ok {
		return key, true
	}
	return leadingKey(strings.TrimLeft(line[optionsEnd(line):], blanks))
}

const blanks = " \t"

// optionsEnd is where the word of options ends: blanks in quotes do not end it
// (sshkey_advance_past_options).
func optionsEnd(line string) int {
	quoted := false
	for i := 0; i < len(line); i++ {
		switch {
		case line[i] == '\\' && strings.HasPrefix(line[i+1:], `"`):
			i++
		case line[i] == '"':
			quoted = !quoted
		case !quoted && strings.IndexByte(blanks, line[i]) >= 0:
			return i
		}
	}
	return len(line)
}

// cSpace is what the C library's decoder of base64 skips.
var cSpace = strings.NewReplacer("\r", "", "\n", "", "\v", "", "\f", "")

// leadingKey takes the key at the beginning of text. A new algorithm's is as good
// as any: it is a key if the decoded text names the type, too (RFC 4253, 6.6).
func leadingKey(text string) (Key, bool) {
	end := strings.IndexAny(text, blanks)
	if end < 1 {
		return "", false
	}
	typ, encoded := text[:end], strings.TrimLeft(text[end:], blanks)
	if end := strings.IndexAny(encoded, blanks); end >= 0 {
		encoded = encoded[:end]
	}
	blob, err := base64.StdEncoding.Strict().DecodeString(cSpace.Replace(encoded))
	if err != nil || len(blob) <= 4+len(typ) ||
		binary.BigEndian.Uint32(blob) != uint32(len(typ)) || string(blob[4:4+len(typ)]) != typ || !isName(typ) || !isWhole(blob) {
		return "", false
	}
	return Key(typ + " " + base64.StdEncoding.EncodeToString(blob)), true
}

// isWhole says whether a key is there to its end: all of it are strings, or numbers
// in that form (RFC 4251, 5). A certificate has other fields, too.
func isWhole(blob []byte) bool {
	for n := 0; len(blob) > 0; n++ {
		if len(blob) < 4 || uint64(binary.BigEndian.Uint32(blob)) > uint64(len(blob)-4) {
			return false
		}
		size := 4 + binary.BigEndian.Uint32(blob)
		if n == 0 && strings.HasSuffix(string(blob[:size]), "-cert-v01@openssh.com") {
			return true
		}
		blob = blob[size:]
	}
	return true
}

// isName says whether typ can name an algorithm (RFC 4251, 6).
func isName(typ string) bool {
	return len(typ) <= 64 && !strings.ContainsFunc(typ, func(r rune) bool { return r <= ' ' || r > '~' || r == ',' })
}
