package cloudstack

import (
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func TestParseIndex(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, index string
		keys        []string
		warnings    int
	}{
		{"empty", "", nil, 0},
		{"empty lines", "\n\n\n", nil, 0},
		{"plain", "a\nb\n", []string{"a", "b"}, 0},
		{"without the last newline", "a\nb", []string{"a", "b"}, 0},
		{"twice", "a\nb\na\n", []string{"a", "b"}, 0},
		{"hidden", "my-vm-id\n", []string{"my-vm-id", "vm-id"}, 0},
		{"hidden and listed", "my-vm-id\nvm-id\n", []string{"my-vm-id", "vm-id"}, 0},
		{"part of a standard key", "cloud-domain-id\n", []string{"cloud-domain-id", "cloud-domain"}, 0},
		{"hidden by a refused one", "a/vm-id\n", []string{"vm-id"}, 1},
		{"hidden by nothing", "vm-\nid\n", []string{"vm-", "id"}, 0},
		{"CR LF", "a\r\nb\n", []string{"b"}, 1},
		{"control characters", "a\x00\nb\x1b[31m\nc\n", []string{"c"}, 2},
		{"as long as may be", strings.Repeat("k", 128) + "\n" + strings.Repeat("k", 129), []string{strings.Repeat("k", 128)}, 1},
		{"many refused", strings.Repeat("a/\n", 1000), nil, 9},
	} {
		keys, warnings := parseIndex([]byte(test.index))
		if diff := cmp.Diff(test.keys, keys); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
		if len(warnings) != test.warnings {
			t.Errorf("%s: %q", test.name, warnings)
		}
	}
}

func FuzzIndex(f *testing.F) {
	for _, index := range []string{
		"", "\n", "service-offering\ninstance-id\nvm-id\n", "my-vm-id\n", "a/b\n..\n.\n\x1b[2J\n\xff\n", "a\r\n",
		strings.Repeat("k", 300) + "\n", strings.Repeat("\U000e0001", 60), strings.Repeat("a/\n", 20), many(300),
	} {
		f.Add([]byte(index))
	}
	f.Fuzz(func(t *testing.T, index []byte) {
		keys, warnings := parseIndex(index)
		lines := strings.Split(string(index), "\n")
		listed := 0
		for i, key := range keys {
			if slices.Index(keys, key) != i {
				t.Fatalf("%q is there twice", key)
			}
			if key == "" || key == "." || key == ".." || len(key) > 128 || !utf8.ValidString(key) ||
				strings.Contains(key, "/") || strings.ContainsFunc(key, unicode.IsControl) {
				t.Fatalf("%q is no plain name", key)
			}
			switch {
			case slices.Contains(lines, key):
				listed++
			case !slices.Contains(standard, key) || !strings.Contains(string(index), key):
				t.Fatalf("%q is not in the index, nor hidden", key)
			}
		}
		if listed > maxKeys+len(standard) || len(keys) > maxKeys+len(standard) {
			t.Fatalf("%d keys", len(keys))
		}
		if len(warnings) > 10 {
			t.Fatalf("%d warnings", len(warnings))
		}
		for _, w := range warnings {
			if len(w) > 500 || !utf8.ValidString(w) || strings.ContainsFunc(w, func(r rune) bool { return !unicode.IsPrint(r) }) {
				t.Fatalf("warning of %d bytes: %q", len(w), w)
			}
		}
	})
}

// many is an index of so many keys.
func many(keys int) string {
	var b strings.Builder
	for i := range keys {
		b.WriteString("k" + strings.Repeat("x", i%90) + string(rune('a'+i%26)) + string(rune('a'+i/26)) + "\n")
	}
	return b.String()
}
