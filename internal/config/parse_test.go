package config

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestParseConfiguration(t *testing.T) {
	const main = "[main]\n"
	for _, tt := range []struct {
		name, data string
		want       Config // zero: the default
		err        string // without the file's name
	}{
		{"comments and blanks", "# a\n ; b=c\n\n\t\n[main] \n  # d\n platform = none \n", Config{Platform: "none"}, ""},
		{"no final newline", main + "platform=none", Config{Platform: "none"}, ""},
		{"DOS line ends", "[main]\r\nplatform=none\r\n", Config{Platform: "none"}, ""},
		{"byte order mark", "\ufeff[main]\nplatform=none\n", Config{Platform: "none"}, ""},
		{"two byte order marks", "\ufeff\ufeff[x=1\n[main]\nplatform=none\n", Config{Platform: "none"}, "1: \"\\ufeff[x\" stands before the first section (put [main] above it)"},
		{"last one counts", main + "platform=none\nplatform=cloudstack\n", Config{Platform: "cloudstack"}, ""},
		{"only the last one must be right", main + "platform=x\nplatform=none\n", Config{Platform: "none"}, ""},
		{"colon in a key", main + "platform=none\nplatform:cloudstack=1\n", Config{Platform: "none"},
			`3: unknown key "platform:cloudstack" in [main] (known: check-instance-id, deadline, heal, log-level, ordering, password, platform, ssh-keys)`},
		{"section twice", main + "platform=none\n[main]\ndeadline=20\n", Config{Platform: "none", Deadline: 20 * time.Second}, ""},
		{"deadline, least", main + "deadline=10\n", Config{Deadline: 10 * time.Second}, ""},
		{"deadline, most", main + "deadline=3600\n", Config{Deadline: time.Hour}, ""},
		{"deadline, less", main + "deadline=9\n", Config{}, `2: bad value "9" of deadline in [main] (want whole seconds from 10 to 3600)`},
		{"deadline, more", main + "deadline=3601\n", Config{}, `2: bad value "3601" of deadline in [main] (want whole seconds from 10 to 3600)`},
		{"deadline, far more", main + "deadline=99999999999999999999\n", Config{}, `2: bad value "99999999999999999999" of deadline in [main] (want whole seconds from 10 to 3600)`},
		{"deadline, sign", main + "deadline=+60\n", Config{}, `2: bad value "+60" of deadline in [main] (want whole seconds from 10 to 3600)`},
		{"deadline, hexadecimal", main + "deadline=0x20\n", Config{}, `2: bad value "0x20" of deadline in [main] (want whole seconds from 10 to 3600)`},
		{"deadline, leading zero", main + "deadline=030\n", Config{Deadline: 30 * time.Second}, ""},
		{"deadline, unit", main + "deadline=60s\n", Config{}, `2: bad value "60s" of deadline in [main] (want whole seconds from 10 to 3600)`},
		{"ordering", main + "ordering=early\n", Config{Ordering: OrderingEarly}, ""},
		{"password, another", main + "password=true\n", Config{}, `2: bad value "true" of password in [main] (want yes or no)`},
		{"ordering, another", main + "ordering=first\n", Config{}, `2: bad value "first" of ordering in [main] (want late, early or off)`},
		{"empty value", main + "platform=\n", Config{}, `2: bad value "" of platform in [main] (want auto, cloudstack or none)`},
		{"case matters", main + "platform=None\n", Config{}, `2: bad value "None" of platform in [main] (want auto, cloudstack or none)`},
		{"case matters in keys", main + "Platform=none\n", Config{}, `2: unknown key "Platform" in [main] (known: check-instance-id, deadline, heal, log-level, ordering, password, platform, ssh-keys)`},
		{"case matters in sections", "[Main]\nplatform=none\n", Config{}, `1: unknown section "Main" (known: main)`},
		{"empty section", "[wifi]\n", Config{}, `1: unknown section "wifi" (known: main)`},
		{"ini.v1's own section", "[DEFAULT]\nplatform=none\n", Config{}, `1: unknown section "DEFAULT" (known: main)`},
		{"child section", "[main]\nplatform=none\n[main.sub]\n", Config{Platform: "none"}, `3: unknown section "main.sub" (known: main)`},
		{"blanks in a section's name", "[ main ]\n", Config{}, `1: unknown section " main " (known: main)`},
		{"before the first section", "platform=none\n[main]\n", Config{}, `1: "platform" stands before the first section (put [main] above it)`},
		{"comment after a value", main + "platform=none # comment\n", Config{}, `2: bad value "none # comment" of platform in [main] (want auto, cloudstack or none)`},
		{"comment after a section", "[main] # comment\n", Config{}, `1: something follows the "]" (comments have lines of their own)`},
		{"continuation", main + "platform=none\\\n\n", Config{}, `2: bad value "none\\" of platform in [main] (want auto, cloudstack or none)`},
		{"interpolation", main + "deadline=20\nlog-level=info\nplatform=%(log-level)s\n", Config{Deadline: 20 * time.Second},
			`4: bad value "%(log-level)s" of platform in [main] (want auto, cloudstack or none)`},
		{"quotes", main + "platform=\"none\"\n", Config{}, `2: bad value "\"none\"" of platform in [main] (want auto, cloudstack or none)`},
		{"colon", main + "platform: none\n", Config{}, `2: no "=" (want [section], key=value or # comment)`},
		{"indented value", main + "platform=none\n cloudstack\n", Config{}, `3: no "=" (want [section], key=value or # comment)`},
		{"value of several lines", main + "platform=\"\"\"none\n[x]\n\"\"\"\n", Config{}, `2: a value cannot be quoted (write it as it is)` + "\n" + `4: no "=" (want [section], key=value or # comment)`},
		{"back quotes", main + "platform=`none`\n", Config{}, `2: a value cannot be quoted (write it as it is)`},
		{"quoted key", main + "\"platform\"=none\n", Config{}, "2: a key cannot begin with '\"'"},
		{"back-quoted key", main + "`platform`=none\n", Config{}, "2: a key cannot begin with '`'"},
		{"counting key", main + "-=none\n", Config{}, "2: a key cannot begin with '-'"},
		{"no key", main + "=none\n", Config{}, `2: no key before "="`},
		{"open section", "[main\n", Config{}, `1: no "]" after a section's name`},
		{"unnamed section", "[]\n", Config{}, `1: a section without a name`},
		{"NUL", main + "platform=no\x00ne\n", Config{}, `2: a NUL byte (is this a text file?)`},
		{"NUL in a comment", main + "# \x00\n", Config{}, `2: a NUL byte (is this a text file?)`},
		{"Latin-1", main + "# \xe4\n", Config{}, `2: not UTF-8 (save the file as UTF-8)`},
		{"UTF-16", "\xff\xfe[\x00m\x00", Config{}, `1: no "=" (want [section], key=value or # comment)`},
		{"long value", main + "platform=" + strings.Repeat("ä", 9999) + "\n", Config{},
			`2: bad value "` + strings.Repeat("ä", 40) + `…" of platform in [main] (want auto, cloudstack or none)`},
		{"control characters in a key", main + "\x1b[2Jx=1\n", Config{}, `2: unknown key "\x1b[2Jx" in [main] (known: check-instance-id, deadline, heal, log-level, ordering, password, platform, ssh-keys)`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			want := Default()
			if tt.want.Platform != "" {
				want.Platform = tt.want.Platform
			}
			if tt.want.Deadline != 0 {
				want.Deadline = tt.want.Deadline
			}
			if tt.want.Ordering != "" {
				want.Ordering = tt.want.Ordering
			}
			got, err := load(world(map[string]string{etc: tt.data}), "")
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("configuration (-want +got):\n%s", diff)
			}
			text := strings.ReplaceAll(strings.Join(lines(t, err), "\n"), "/etc/nm-cloud-seed.conf:", "")
			if diff := cmp.Diff(tt.err, text); diff != "" {
				t.Errorf("errors (-want +got):\n%s", diff)
			}
		})
	}
}

func TestYesNoValues(t *testing.T) {
	for text, want := range map[string][2]bool{ // password, ssh-keys
		"": {true, true}, "password=yes\nssh-keys=no\n": {true, false}, "password=yes\npassword=no\n": {false, true}, "password=maybe\n": {true, true},
	} {
		c, _ := load(world(map[string]string{etc: "[main]\n" + text}), "")
		if got := [2]bool{c.Password, c.SSHKeys}; got != want {
			t.Errorf("%q: got %v, want %v", text, got, want)
		}
	}
}

// FuzzParse: no file crashes it, and ini.v1 finds in a file that scan accepts
// the value that stands in the line that scan names.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"", "[main]\nplatform=none\n", "\ufeff[main]\nplatform = x=y \\\ndeadline=1\n", "[main]\nplatform='a'\nplatform=\"b\"#c\n",
		"[main]\u0085\nplatform\u00a0=\u2028x\n", "[main]\nplatform=\"\"\"\n\"\"\"", "[a]]\n[b\n=\n\"\"\"\"\"\"x\"\"\"=1", "[main]\n-=1\n-x=2\nlog-level=%(deadline)s",
		"[main]\nplatform=\x0b\nplatform= `\n", "[DEFAULT]\nx=1\n[main.x]\nplatform=1\n", "\xff\xfe\n\x00",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		all := strings.Split(strings.TrimPrefix(string(data), "\ufeff"), "\n")
		for _, e := range parse(data) {
			if e.line < 1 || e.line > len(all) {
				t.Fatalf("got an error in line %d of %d, want it in one of them: %v", e.line, len(all), e.err)
			}
			if e.value == "" {
				continue
			}
			key, value, _ := strings.Cut(all[e.line-1], "=")
			if strings.TrimSpace(key) != e.key || strings.TrimSpace(value) != e.value {
				t.Errorf("line %q: got %q=%q, want what is in it", all[e.line-1], e.key, e.value)
			}
		}
	})
}
