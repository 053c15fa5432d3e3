package credentials

import (
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// shadowOf returns a /etc/shadow with this field of debian's; "-" is no such user.
func shadowOf(field string) Shadow {
	if field == "-" {
		return parseShadow([]byte("root:*:1:0:99999:7:::\n"))
	}
	return parseShadow([]byte("root:*:1:0:99999:7:::\ndebian:" + field + ":1:0:99999:7:::\n"))
}

// What becomes of a password that is served once more, by what the user's field was when
// it was handed over, and what it is now.
func TestDecision(t *testing.T) {
	const (
		handed  = "$6$rounds=200000$salt$handed"
		theirs  = "$y$j9T$salt$theirs"
		another = "$6$salt$another"
	)
	for _, tt := range []struct {
		before, now string // "?": it cannot be read
		want        Decision
	}{
		{"-", "-", HandOver}, {"-", "!", HandOver}, {"-", "!!", HandOver}, {"-", "*", HandOver}, {"-", "!*", HandOver},
		{"!", "*", HandOver}, {"!*", "-", HandOver}, {"*", "!", HandOver},
		{theirs, theirs, HandOver},
		{"", "", HandOver},
		{"!" + theirs, "!" + theirs, HandOver},
		{"-", handed, AppliedUnnoted}, {"!", handed, AppliedUnnoted}, {theirs, handed, AppliedUnnoted}, {"?", handed, AppliedUnnoted},
		{"-", theirs, LeaveChanged}, {"!", theirs, LeaveChanged}, {"!", "", LeaveChanged}, {theirs, another, LeaveChanged},
		{theirs, "!" + theirs, LeaveChanged}, {"!" + theirs, theirs, LeaveChanged}, {theirs, "!", LeaveChanged}, {theirs, "-", LeaveChanged},
		{"", "*", LeaveChanged}, {"!", "!" + handed, LeaveChanged}, {theirs, handed + "x", LeaveChanged}, {theirs, strings.ToUpper(theirs), LeaveChanged},
		{theirs, "?", LeaveUnknown}, {"!", "?", LeaveUnknown}, {"?", "?", LeaveUnknown},
		{"?", theirs, LeaveUnknown}, {"?", "!", LeaveUnknown}, {"?", "-", LeaveUnknown},
	} {
		shadow := func(field string) Shadow {
			if field == "?" {
				return Shadow{}
			}
			return shadowOf(field)
		}
		g := &handedOver{User: "debian", Before: shadow(tt.before).Of("debian"), After: FingerprintOf(handed)}
		if got := g.decide("debian", shadow(tt.now)); got != tt.want {
			t.Errorf("%q, then %q: got %d, want %d", tt.before, tt.now, got, tt.want)
		}
		// The same where the default user is another one now, who has no password.
		want := tt.want
		if want == LeaveChanged {
			want = LeaveOtherUser
		}
		if got := g.decide("alice", shadow(tt.now)); got != want {
			t.Errorf("%q, then %q: got %d for another user, want %d", tt.before, tt.now, got, want)
		}
	}
}

// The default user is another one than the one on record: the user-data names alice,
// which only cloud-init could read at the first boot.
func TestDecisionForAnotherUser(t *testing.T) {
	const handed, mine = "$6$rounds=200000$salt$handed", "$y$j9T$salt$mine"
	both := func(debian, alice string) Shadow {
		return parseShadow([]byte("debian:" + debian + ":1:0:99999:7:::\nalice:" + alice + ":1:0:99999:7:::\n"))
	}
	for name, tt := range map[string]struct {
		before, now Shadow
		want        Decision
	}{
		"cloud-init set it for alice":       {both("!", "!"), both("!", handed), AppliedUnnoted},
		"it set it for debian":              {both("!", "!"), both(handed, mine), AppliedUnnoted},
		"nobody has a password":             {both("!", "!"), both("*", "!*"), HandOver},
		"there are no such users":           {shadowOf("-"), shadowOf("-"), HandOver},
		"debian's is as before":             {both(mine, "!"), both(mine, "!"), HandOver},
		"alice has a password":              {both("!", "!"), both("!", mine), LeaveOtherUser},
		"alice has an empty one":            {both("!", "!"), both("!", ""), LeaveOtherUser},
		"alice's is locked":                 {both("!", "!"), both("!", "!"+handed), LeaveOtherUser},
		"debian's has changed":              {both("!", "!"), both(mine, "!"), LeaveOtherUser},
		"debian's has changed, and alice's": {both("!", "!"), both(mine, mine), LeaveOtherUser},
		"it cannot be read":                 {both("!", "!"), Shadow{}, LeaveUnknown},
		"it could not be read":              {Shadow{}, both("!", "!"), LeaveUnknown},
		"it could not be read, and set it":  {Shadow{}, both("!", handed), AppliedUnnoted},
	} {
		g := &handedOver{User: "debian", Before: tt.before.Of("debian"), After: FingerprintOf(handed)}
		if got := g.decide("alice", tt.now); got != tt.want {
			t.Errorf("%s: got %d, want %d", name, got, tt.want)
		}
	}
	s := Store{t.TempDir()}
	if got := s.HandedOverFor("vm"); got != "" {
		t.Errorf("got %q of no record, want nobody", got)
	}
	must(t, s.RecordHandover("vm", "secret", "debian", handed, both("!", "!")))
	if got := s.HandedOverFor("vm"); got != "debian" {
		t.Errorf("got %q, want debian", got)
	}
	if got := s.HandedOverFor("clone"); got != "" {
		t.Errorf("got %q of another instance's, want nobody", got)
	}
}

// The record over the life of an instance's passwords.
func TestRecordHandover(t *testing.T) {
	s := Store{t.TempDir()}
	is := func(password string, shadow Shadow, want Decision, wantFirst bool) {
		t.Helper()
		if got, first, err := s.Decision("vm", password, "debian", shadow); got != want || first != wantFirst || err != nil {
			t.Errorf("%s: got %d, first %t, error %v, want %d, %t, none", password, got, first, err, want, wantFirst)
		}
	}
	must(t, s.RecordApplied("vm")) // nothing was handed over
	is("one", shadowOf("-"), HandOver, true)
	must(t, s.RecordHandover("vm", "one", "debian", "$6$one", shadowOf("-")))
	path := filepath.Join(s.Dir, passwordFile)
	mode(t, path, 0o600)
	text, err := os.ReadFile(path)
	must(t, err)
	if !regexp.MustCompile(`^{"instance-id":"vm","handed-over":{"scrypt":"\$scrypt\$ln=1[05],r=8,p=1\$[^$"]{22}\$[^$"]{43}","user":"debian","before":"none","after":"sha256:[0-9a-f]{64}","first":true}}\n$`).Match(text) {
		t.Errorf("got the record %s, want one with what was handed over", text)
	}
	must(t, s.RecordApplied("vm"))
	must(t, s.RecordApplied("vm")) // after a kill
	is("one", shadowOf("mine"), AppliedBefore, false)
	is("one", Shadow{}, AppliedBefore, false)

	// The last one that was applied stays known, and the outcome of the second shows
	// when the third is handed over.
	must(t, s.RecordHandover("vm", "two", "debian", "$6$two", shadowOf("mine")))
	is("one", shadowOf("mine"), AppliedBefore, false)
	is("two", shadowOf("mine"), HandOver, false)
	must(t, s.RecordHandover("vm", "three", "debian", "$6$three", shadowOf("$6$two")))
	is("two", shadowOf("another"), AppliedBefore, false)
	is("three", shadowOf("another"), LeaveChanged, false)
	is("three", shadowOf("$6$two"), HandOver, false)
	must(t, s.RecordHandover("vm", "four", "debian", "$6$four", shadowOf("$6$two")))
	is("three", shadowOf("$6$two"), HandOver, false) // was never applied
	is("two", shadowOf("another"), AppliedBefore, false)

	// After damage, the password that is served is left, and the next one is not.
	write0(t, path, "{")
	if d, first, err := s.Decision("vm", "five", "debian", shadowOf("-")); d != LeaveUnknown || first || err == nil {
		t.Errorf("got %d, first %t, error %v of a damaged record, want %d, false, one", d, first, err, LeaveUnknown)
	}
	if err := s.RecordHandover("vm", "five", "debian", "$6$five", shadowOf("-")); err == nil {
		t.Error("got no error of a handover over a damaged record, want one")
	}
	must(t, s.RecordUnknown("vm", "five"))
	is("five", shadowOf("-"), LeaveUnknown, false)
	is("six", shadowOf("-"), HandOver, false)
	must(t, s.RecordHandover("vm", "six", "debian", "$6$six", shadowOf("-")))
	is("six", shadowOf("!"), HandOver, false)
	must(t, s.RecordApplied("vm"))
	is("six", shadowOf("mine"), AppliedBefore, false)
}

// A password is the first only while no other one can have been applied: sshd is told to
// accept passwords with the first one, and never again.
func TestFirstPassword(t *testing.T) {
	type handed struct {
		password, user string
		shadow         Shadow
	}
	const mine = "$y$j9T$salt$mine"
	alice := func(field string) Shadow { return parseShadow([]byte("alice:" + field + ":1::::::\n")) }
	one := handed{"one", "debian", shadowOf("!")}
	for name, tt := range map[string]struct {
		record []handed
		now    handed
		want   bool
	}{
		"nothing on record":       {nil, one, true},
		"again":                   {[]handed{one}, one, true},
		"again, the user is made": {[]handed{{"one", "debian", shadowOf("-")}}, one, true},
		"a reset, and the first was never applied": {[]handed{one}, handed{"two", "debian", shadowOf("!")}, true},
		"a reset, and the first was applied":       {[]handed{one}, handed{"two", "debian", shadowOf("$6$one")}, false},
		"a reset, and another was set":             {[]handed{one}, handed{"two", "debian", shadowOf(mine)}, false},
		"such a reset, again":                      {[]handed{one, {"two", "debian", shadowOf(mine)}}, handed{"two", "debian", shadowOf(mine)}, false},
		"a third, and none was applied":            {[]handed{one, {"two", "debian", shadowOf("!")}}, handed{"three", "debian", shadowOf("!")}, true},
		"it cannot be read":                        {[]handed{one}, handed{"two", "debian", Shadow{}}, false},
		"it could not be read":                     {[]handed{{"one", "debian", Shadow{}}}, one, false},
		"another user":                             {[]handed{one}, handed{"two", "alice", alice("!")}, true},
		"another user, who has one":                {[]handed{one}, handed{"two", "alice", alice(mine)}, false},
		"another user got it":                      {[]handed{one}, handed{"two", "alice", alice("$6$one")}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := Store{t.TempDir()}
			for _, h := range tt.record {
				must(t, s.RecordHandover("vm", h.password, h.user, "$6$"+h.password, h.shadow))
			}
			if _, first, err := s.Decision("vm", tt.now.password, tt.now.user, tt.now.shadow); first != tt.want || err != nil {
				t.Errorf("got first %t, error %v, want %t and none", first, err, tt.want)
			}
		})
	}
}

// The record of an earlier version, and records that are none.
func TestEarlierPasswordRecords(t *testing.T) {
	s := Store{t.TempDir()}
	recordPassword(t, s, "vm", "secret")
	hash, _, err := s.password("vm")
	must(t, err)
	text, err := hash.Hash.MarshalText()
	must(t, err)
	path := filepath.Join(s.Dir, passwordFile)
	write0(t, path, `{"instance-id":"vm","scrypt":"`+string(text)+`"}`)
	if got, first, err := s.Decision("vm", "secret", "debian", shadowOf("mine")); got != AppliedBefore || first || err != nil {
		t.Errorf("got %d, first %t, error %v, want %d, false, none", got, first, err, AppliedBefore)
	}
	for _, given := range []string{
		`7`, `[]`, `{"scrypt": "x"}`, `{"scrypt": "` + string(text) + `", "before": "sha256:xyz"}`,
		`{"scrypt": "` + string(text) + `", "before": "$6$salt$hash"}`, `{"scrypt": "` + string(text) + `", "after": 7}`,
	} {
		write0(t, path, `{"instance-id":"vm","handed-over":`+given+`}`)
		got, _, err := s.Decision("vm", "secret", "debian", shadowOf("mine"))
		if got != LeaveUnknown || err == nil || strings.Contains(err.Error(), "$") {
			t.Errorf("%s: got %d, error %v, want %d, and an error that repeats nothing", given, got, err, LeaveUnknown)
		}
	}
	for _, text := range []string{`{"instance-id":"vm"}`, `{"instance-id":"vm","handed-over":null}`} {
		write0(t, path, text)
		if got, _, err := s.Decision("vm", "secret", "debian", shadowOf("mine")); got != LeaveUnknown || err == nil {
			t.Errorf("%s: got %d, error %v, want %d, and one", text, got, err, LeaveUnknown)
		}
	}
}

func TestParseShadow(t *testing.T) {
	text := "root:!*:1::::::\n\nno colon\n:nobody:1\ndebian:$6$a$b:1:0\ndebian:$6$c$d:1:0\n+nis::::::::\nempty::1\nlast:$y$j9T$x$y"
	s := parseShadow([]byte(text))
	for user, want := range map[string]Fingerprint{
		"root": noPassword, "nobody": noPassword, "debian": FingerprintOf("$6$a$b"), "empty": FingerprintOf(""), "last": FingerprintOf("$y$j9T$x$y"), "": "",
	} {
		if got := s.Of(user); got != want {
			t.Errorf("%q: got %q, want %q", user, got, want)
		}
	}
	for _, field := range []string{"", "$6$a$b", "!$6$a$b"} {
		if f := FingerprintOf(field); !fingerprint.MatchString(string(f)) || f == noPassword || field != "" && strings.Contains(string(f), field) {
			t.Errorf("%q: got %q, want a hash", field, f)
		}
	}
}

// Where the file's mode keeps its owner out, what was noted is read. Whatever stands in
// its place, or in the note's, is read without harm, and shows nobody's password.
func TestReadShadow(t *testing.T) {
	root := t.TempDir()
	run, path := filepath.Join(root, "run/nm-cloud-seed"), filepath.Join(root, shadowFile)
	note := filepath.Join(run, noteFile)
	unknown := func(t *testing.T) {
		t.Helper()
		if s, err := ReadShadow(root, run); s.Of("debian") != "" || err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("got %q, error %v, want nothing, and an error", s.Of("debian"), err)
		}
	}
	unknown(t)
	if err := NoteShadow(root, run); err == nil {
		t.Error("got no error where there is no such file, want one")
	}
	hostile(t, path, unknown)
	write0(t, path, strings.Repeat("x", maxFile+1))
	unknown(t)

	write0(t, path, "debian:secret:1\n")
	must(t, NoteShadow(root, run))
	if _, err := os.Lstat(note); !os.IsNotExist(err) {
		t.Errorf("got %v, want no note where the owner may read", err)
	}
	must(t, os.Chmod(path, 0))
	if os.Geteuid() != 0 { // it cannot read the file, either, and has no root that could
		unknown(t)
		return
	}
	withoutCapabilities(t, func() { unknown(t) })
	must(t, NoteShadow(root, run))
	mode(t, note, 0o600)
	if text, err := os.ReadFile(note); err != nil || string(text) != `{"users":{"debian":"`+string(FingerprintOf("secret"))+`"}}`+"\n" {
		t.Errorf("got %s, %v, want debian's fingerprint", text, err)
	}
	withoutCapabilities(t, func() {
		s, err := ReadShadow(root, run)
		if s.Of("debian") != FingerprintOf("secret") || s.Of("root") != noPassword || err != nil {
			t.Errorf("got %q, error %v, want the fingerprint", s.Of("debian"), err)
		}
	})
	must(t, os.Remove(note))
	hostile(t, note, func(t *testing.T) { withoutCapabilities(t, func() { unknown(t) }) })
	for _, text := range []string{"", "{", `{}`, `{"users": null}`, `{"users": {"debian": "secret"}}`, `{"users": 7}`} {
		write0(t, note, text)
		withoutCapabilities(t, func() { unknown(t) })
	}
}

// withoutCapabilities runs f in a thread as the service's: root, with no capabilities.
func withoutCapabilities(t *testing.T, f func()) {
	t.Helper()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var none [2]unix.CapUserData
		if err := unix.Capset(&header, &none[0]); err != nil {
			t.Errorf("cannot drop capabilities: %v", err)
			return
		}
		f()
	}()
	<-ended
}
