package credentials

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// disabled is how cloud-init sets a key for root.
const disabled = `no-port-forwarding,no-agent-forwarding,no-X11-forwarding,command="echo 'Please login as the user \"debian\" rather than the user \"root\".';echo;sleep 10;exit 142" `

// lines are lines of authorized_keys, and whether sshd finds oldKey there.
var lines = []struct {
	line string
	has  bool
}{
	{string(oldKey), true},
	{string(oldKey) + " me@here\n", true},
	{"\t " + strings.Replace(string(oldKey), " ", "\t  ", 1) + " me@here\r\n", true},
	{string(oldKey) + "\r\n", true},
	{disabled + string(oldKey) + " me@here", true},
	{"restrict " + string(oldKey), true},
	{`from="10.0.0.0/8,!10.1.1.1",environment="A=#b c" ` + string(oldKey), true},
	{`cert-authority,principals="a b" ` + string(oldKey), true},
	{`x="\" ` + string(otherKey) + `" ` + string(oldKey), true},
	{string(oldKey) + "\x00" + string(otherKey), true},
	{strings.Replace(string(oldKey), "BAQE", "B\vA\fQ\rE", 1), true},
	{string(otherKey) + " \xff\xfe", false},
	{"# " + string(oldKey), false},
	{" \t#" + string(oldKey), false},
	{"restrict # " + string(oldKey), false},
	{"a b " + string(oldKey), false},
	{string(otherKey) + " " + string(oldKey), false}, // in the comment
	{`command="` + string(oldKey) + `" ` + string(otherKey), false},
	{`command="` + string(oldKey), false}, // the quote is open
	{"\x00" + string(oldKey), false},
	{"\ufeff" + string(oldKey), false},
	{"ssh-rsa " + oldKey.Base64(), false}, // another type
	{oldKey.Base64(), false},
	{"ssh-ed25519 " + oldKey.Base64() + "=", false},
	{"ssh-ed25519", false},
	{"ssh-ed25519 ", false},
	{"ssh-ed25519 AAAA", false},
	{"", false},
	{"\n", false},
}

func TestKeyOf(t *testing.T) {
	for _, tt := range lines {
		if key, _ := keyOf(tt.line); (key == oldKey) != tt.has {
			t.Errorf("%q: got %q", tt.line, key)
		}
	}
}

func TestParseKeys(t *testing.T) {
	const noKey = "cannot use the SSH keys: a line is no key"
	future := key("ml-dsa-87@future.example", 9)
	many := func(n int) string {
		var b strings.Builder
		for i := range n {
			b.WriteString(string(key("t"+fmt.Sprint(i), 0)) + "\n")
		}
		return b.String()
	}
	for _, tt := range []struct {
		name, text string
		want       Keys
		count      int
		failed     string
	}{
		{name: "nothing"},
		{name: "one", text: string(oldKey), want: Keys{oldKey}},
		{name: "as CloudStack joins them", text: string(newKey) + " a\n" + string(oldKey) + " b", want: Keys{newKey, oldKey}},
		{name: "the same twice", text: string(oldKey) + " a\n" + string(oldKey) + " b\n", want: Keys{oldKey}},
		{name: "an algorithm of the future", text: string(future), want: Keys{future}},
		{name: "with comments", text: "\n# x\n \t\r\n" + string(oldKey) + "\r\n", want: Keys{oldKey}},
		{name: "a page", text: "<html>\n" + string(oldKey), failed: noKey},
		{name: "half a key", text: string(newKey) + "\n" + string(oldKey)[:40], failed: noKey},
		{name: "a type that is no name", text: string(key("ssh,\xff", 1)), failed: noKey},
		{name: "an escape in it", text: string(key("ssh\x1b", 1)), failed: noKey},
		{name: "a type too long", text: string(key(strings.Repeat("x", 65), 1)), failed: noKey},
		{name: "without its padding", text: strings.TrimRight(string(otherKey), "="), failed: noKey},
		{name: "with bits too many", text: strings.TrimSuffix(string(otherKey), "I=") + "J=", failed: noKey},
		{name: "another type of that length", text: "ssh-ed25518 " + oldKey.Base64(), failed: noKey},
		{name: "as many as can be", text: many(maxKeys), count: maxKeys},
		{name: "too many", text: many(maxKeys + 1), failed: "cannot use the SSH keys: there are more than 256"},
		{name: "too large", text: strings.Repeat("x", maxKeyText+1), failed: "cannot use the SSH keys: they are larger than 64 KiB"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ParseKeys(tt.text)
			if tt.failed != "" {
				if err == nil || err.Error() != tt.failed {
					t.Errorf("error %v, want %s", err, tt.failed)
				}
			} else if err != nil {
				t.Error(err)
			}
			if tt.count != 0 {
				if len(got) != tt.count {
					t.Errorf("got %d keys, want %d", len(got), tt.count)
				}
			} else if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("keys (-want +got):\n%s", diff)
			}
		})
	}
}

func TestKeysMethods(t *testing.T) {
	both := Keys{oldKey, otherKey}
	if got := both.Without(Keys{otherKey, newKey}); !slices.Equal(got, Keys{oldKey}) || len(both) != 2 || both[1] != otherKey {
		t.Errorf("got %v of %v, want %v, and the latter as it was", got, both, Keys{oldKey})
	}
	if !both.Contains(oldKey) || both.Contains(newKey) || Keys(nil).Contains(oldKey) {
		t.Errorf("Contains: got %t, %t, %t, want true, false, false", both.Contains(oldKey), both.Contains(newKey), Keys(nil).Contains(oldKey))
	}
	// Made with ssh-keygen, which says the same of it with -l.
	known, _ := keyOf("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB8KFZoZym1ZiLA0Jv+afy0RWslNuzrsjAF7rEd3gqEb example")
	if got, want := known.String(), "ssh-ed25519 SHA256:+sBlEjmD8QHswngQruvQP2Q8ppfHA7XH8Zvzafx0J+8"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got := known.Base64(); got != "AAAAC3NzaC1lZDI1NTE5AAAAIB8KFZoZym1ZiLA0Jv+afy0RWslNuzrsjAF7rEd3gqEb" {
		t.Errorf("got %s, want the key's second field", got)
	}
}

func FuzzParseKeys(f *testing.F) {
	for _, tt := range lines {
		f.Add(tt.line)
	}
	f.Fuzz(func(t *testing.T, text string) {
		keys, err := ParseKeys(text)
		if err != nil {
			return
		}
		data, err := json.Marshal(keys)
		must(t, err)
		var again Keys
		if err := json.Unmarshal(data, &again); err != nil || !slices.Equal(keys, again) {
			t.Errorf("got %q, error %v, want %q", again, err, keys)
		}
		for _, key := range keys {
			if alone, ok := keyOf("restrict " + string(key) + " x"); !ok || alone != key {
				t.Errorf("%q is none alone", key)
			}
			if len(data) > maxFile/2 {
				t.Errorf("%d bytes do not fit a job", len(data))
			}
		}
	})
}
