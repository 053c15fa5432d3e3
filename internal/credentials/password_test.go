package credentials

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func TestStorePassword(t *testing.T) {
	s := Store{t.TempDir()}
	applied := func(instance, password string, want bool) {
		t.Helper()
		if got, _, err := s.Decision(instance, password, "debian", Shadow{}); (got == AppliedBefore) != want || err != nil {
			t.Errorf("%q, %q: got decision %d, error %v, want applied before %t, and none", instance, password, got, err, want)
		}
	}
	has := func(instance string, want bool) {
		t.Helper()
		if _, first, err := s.Decision(instance, "another", "debian", Shadow{}); first == want || err != nil {
			t.Errorf("%q: got first %t, error %v, want %t and none", instance, first, err, !want)
		}
	}
	applied("vm", "fbq4GA", false)
	has("vm", false)
	recordPassword(t, s, "vm", "fbq4GA")
	path := filepath.Join(s.Dir, passwordFile)
	mode(t, path, 0o600)
	applied("vm", "fbq4GA", true)
	applied("vm", "fbq4GB", false)
	applied("vm", "", false)
	applied("clone", "fbq4GA", false)
	applied("", "fbq4GA", false)
	has("vm", true)
	has("clone", false)
	first, err := os.ReadFile(path)
	must(t, err)
	if !regexp.MustCompile(`^{"instance-id":"vm","scrypt":"\$scrypt\$ln=1[05],r=8,p=1\$[^$"]{22}\$[^$"]{43}"}\n$`).Match(first) {
		t.Errorf("got the record %s, want one of vm, with scrypt", first)
	}
	recordPassword(t, s, "vm", "fbq4GA")
	if second, err := os.ReadFile(path); err != nil || string(second) == string(first) {
		t.Errorf("got the record %s, error %v, want another salt than in %s", second, err, first)
	}
	// The hash is the instance's, too: another cannot take it over.
	write0(t, path, strings.Replace(string(first), `"vm"`, `"clone"`, 1))
	has("clone", true)
	applied("clone", "fbq4GA", false)
	write0(t, path, strings.Replace(string(first), `"vm"`, `""`, 1))
	has("", false)
	// Parameters of another version.
	h := scryptHash{log: 10, r: 2, p: 2}
	hash, err := h.of("vm", "old")
	must(t, err)
	copy(h.hash[:], hash)
	must(t, s.write(passwordRecord{Instance: "vm", Hash: &h}))
	applied("vm", "old", true)
}

func TestScryptHash(t *testing.T) {
	const good = "$scrypt$ln=15,r=8,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
	var h scryptHash
	must(t, h.UnmarshalText([]byte(good)))
	for _, change := range [][2]string{
		{"ln=15", "ln=40"}, {"ln=15", "ln=17"}, {"ln=15", "ln=0"}, {"ln=15", "ln=-1"}, {"ln=15", "ln=015"}, {"ln=15", "ln=+15"}, {"ln=15", "ln=99999999999999999999"},
		{"r=8", "r=9"}, {"r=8", "r=0"}, {"r=8", "r=1073741824"}, {"p=1", "p=3"}, {"p=1", "p=0"}, {"p=1", "p=1,x=1"}, {"p=1", "p=1 "},
		{"$scrypt", "$5"}, {"$scrypt", "scrypt"}, {"$AAAAAAAAAAAAAAAAAAAAAA$", "$$"}, {"$AAAAAAAAAAAAAAAAAAAAAA$", "$AAAAAAAAAAAAAAAAAAAAAAAA$"},
		{"$AAAAAAAAAAAAAAAAAAAAAA$", "$AAAAAAAAAAAAAAAAAAAAAB$"}, {"AAA", "A!A"}, {"$AAAAAAAAAAAAAAAAAAAAAA$", "$AAAAAAAAAAAAAAAAAAAAAA$$"},
		{good, ""}, {good, good[:len(good)-1]}, {good, good + "A"}, {good, good + "\n"},
	} {
		bad := strings.Replace(good, change[0], change[1], 1)
		if err := h.UnmarshalText([]byte(bad)); bad == good || err == nil {
			t.Errorf("%q: got no error, want one", bad)
		}
	}
}

// cryptPasswords are what a user could set, or what cloud-init takes for something
// else than a password.
func cryptPasswords() []string {
	all := ""
	for c := ' '; c <= '~'; c++ {
		all += string(c)
	}
	return []string{
		"fbq4GA", all, `:#"'\ $(x)`, "pässwörd €🔑", strings.Repeat("0123456789", 20), strings.Repeat("x", maxPassword),
		"R", "RANDOM", "$1$a$b", "$6$a$b",
	}
}

func TestCrypt(t *testing.T) {
	// _is_crypted or hashed in cc_set_passwords.py.
	hashed := regexp.MustCompile(`\$(1|2a|2y|5|6)(\$.+){2}`)
	seen := map[string]bool{}
	for _, password := range cryptPasswords() {
		hash, err := Crypt(password)
		must(t, err)
		if prefix := fmt.Sprintf("$6$rounds=%d$", cryptRounds); !hashed.MatchString(hash) || !strings.HasPrefix(hash, prefix) || strings.ContainsAny(hash, ":\n") {
			t.Errorf("%q: got %q, want a hash that begins with %s", password, hash, prefix)
		}
		salt := strings.Split(hash, "$")[3]
		if len(salt) != 16 || seen[salt] {
			t.Errorf("%q: got the salt %q, want 16 characters that are new", password, salt)
		}
		seen[salt] = true
	}
	for _, password := range []string{"", strings.Repeat("x", maxPassword+1), "secret\x00"} {
		if hash, err := Crypt(password); hash != "" || err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%.20q: got %q, error %v, want no hash and an error without the password", password, hash, err)
		}
	}
}
