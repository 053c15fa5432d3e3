package main

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/nm-cloud-seed/nm-cloud-seed/datasource/cloudstack/vrtest"
	"github.com/nm-cloud-seed/nm-cloud-seed/test/lab"
)

// Passwords: one that is hard to quote, one that is more to cloud-init than it
// says, and what a user chooses.
var passwords = map[string]string{
	"first":  longPassword(),
	"second": "RANDOM",
	"mine":   "correct horse battery staple",
}

// longPassword has 200 characters: every printable one of ASCII, and others.
func longPassword() string {
	var b strings.Builder
	for c := '!'; c <= '~'; c++ {
		b.WriteRune(c)
	}
	b.WriteString(` : # ' " \ pässwörd €`)
	return b.String() + strings.Repeat("x", 200-len([]rune(b.String())))
}

// keyNames are key pairs: two of CloudStack's, and one that a user adds by hand.
var keyNames = []string{"old", "new", "hand"}

// keyPair is always the same for a name. It is worth nothing but here.
func keyPair(name string) (public, private string) {
	seed := sha256.Sum256([]byte("nm-cloud-seed test key " + name))
	key := ed25519.NewKeyFromSeed(seed[:])
	block, err := ssh.MarshalPrivateKey(key, name)
	if err != nil {
		panic(err) // an ed25519 key can be marshalled
	}
	pub, err := ssh.NewPublicKey(key.Public())
	if err != nil {
		panic(err)
	}
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(pub))), string(pem.EncodeToMemory(block))
}

// who are the files for boot-logins: everybody who tries to get in.
func who() map[string]string {
	files := make(map[string]string)
	for _, name := range keyNames {
		_, files[guestReport+"/who/"+name+".key"] = keyPair(name)
	}
	for name, text := range passwords {
		files[guestReport+"/who/"+name+".password"] = text
	}
	return files
}

// serves is what the virtual router says in a boot: a password, if there is one,
// and of the keys the usual one and another's.
func serves(password string, key string) func(*vrtest.VM) {
	return func(vm *vrtest.VM) {
		vm.Password = passwords[password]
		if key != "" {
			public, _ := keyPair(key)
			vm.Set("public-keys", publicKey()+"\n"+public)
		}
	}
}

// servesNothing has no password and, for once, no keys.
func servesNothing(vm *vrtest.VM) { vm.Set("public-keys", "") }

// Who gets in, as boot-logins says it.
const (
	asDebian = "%s debian: in\n%[1]s root: told to be debian"
	asRoot   = "%s debian: in\n%[1]s root: in"
	byHand   = "%s debian: in\n%[1]s root: refused"
	nobody   = "%s debian: refused\n%[1]s root: refused"
)

// keys says who gets in by which key: old, new and hand.
func keys(old, new, hand string) string {
	return fmt.Sprintf(hand, "hand") + "\n" + fmt.Sprintf(new, "new") + "\n" + fmt.Sprintf(old, "old")
}

// getsIn: these keys, and one of the passwords, if any. by is how SSH takes it.
func getsIn(keys, password, by string) check {
	return check{"who gets in", func(r *report) error {
		want := keys
		for _, name := range []string{"first", "mine", "second"} {
			if name == password {
				want += "\n" + name + ": right, by SSH " + by
			} else {
				want += "\n" + name + ": wrong, by SSH refused"
			}
		}
		got, wanted := strings.Split(r.text("who-gets-in"), "\n"), strings.Split(want, "\n")
		for i := range max(len(got), len(wanted)) {
			if g, w := at(got, i), at(wanted, i); g != w {
				return fmt.Errorf("%q, want %q", brief(g), w)
			}
		}
		return nil
	}}
}

func at(lines []string, i int) string {
	if i < len(lines) {
		return lines[i]
	}
	return ""
}

// passwordRequests: how often the password server was asked, at least once or
// never, and told that the password has been applied.
func passwordRequests(asked bool, told int) check {
	return check{"password server", func(r *report) error {
		count := func(word string) (n int) {
			for _, request := range r.outcome.Requests {
				if strings.HasSuffix(request, " "+word) {
					n++
				}
			}
			return n
		}
		if n := count("send_my_password"); (n > 0) != asked {
			return fmt.Errorf("it was asked %d times", n)
		}
		// The answer to an emulated machine may take longer than that one waits: it
		// repeats the request.
		if n := count("saved_password"); n < told || n > told && (!r.outcome.Virtual || told == 0) {
			return fmt.Errorf("it was told %d times that the password has been applied, want %d", n, told)
		}
		return nil
	}}
}

// sameHost: what a reset of a password or a key must not change.
var sameHost = check{"same machine", func(r *report) error {
	if r.previous == nil {
		return errors.New("there is no boot before")
	}
	for _, name := range []string{"host-keys", "instance-id", "users"} {
		if before := r.previous.text(name); before == "" || before != r.text(name) {
			return fmt.Errorf("%s changed over the reboot", name)
		}
	}
	return nil
}}

// undisturbed: cloud-init is done, says so to everybody, and has nothing to
// regret but what has nothing to do with us.
var undisturbed = check{"cloud-init status", func(r *report) error {
	names := []string{"cloud-init-status"}
	if !r.outcome.Virtual { // it takes its time there, and says the same
		names = append(names, "cloud-init-status-user")
	}
	for _, name := range names {
		text := r.text(name)
		if !strings.Contains(text, "status: done") {
			return fmt.Errorf("%s: %s", name, brief(text+" "+r.text(name+".stderr")))
		}
		for line := range strings.Lines(text) {
			if regret.MatchString(line) && !r.harmless(line) && !strings.Contains(line, onlyCloudStack) {
				return fmt.Errorf("%s: %s", name, brief(strings.TrimSpace(line)))
			}
		}
	}
	return nil
}}

// takenAway: what was handed to cloud-init does not outlive its use.
var takenAway = check{"taken away", func(r *report) error {
	for _, name := range []string{"cloud.cfg", "ssh-keys.json"} {
		if list, _, _ := strings.Cut(r.text("seed"), "/var/lib/nm-cloud-seed"); !strings.Contains(list, "/run/nm-cloud-seed/private:") || strings.Contains(list, " "+name) {
			return fmt.Errorf("%s is still below /run/nm-cloud-seed/private, or that is not there", name)
		}
	}
	return nil
}}

// nameOnly: where cloud-init needs the host name until its end, the password that was
// handed over beside it is gone.
var nameOnly = check{"name alone", func(r *report) error {
	var left []string
	for line := range strings.Lines(r.text("drop-in")) {
		if line = strings.TrimSpace(line); !strings.HasPrefix(line, "#") {
			left = append(left, line)
		}
	}
	if want := []string{`fqdn: "` + hostname + `"`}; !slices.Equal(left, want) {
		return fmt.Errorf("cloud-init's drop-in has %d lines, want %q alone", len(left), want)
	}
	return nil
}}

// removal: the oneshot that removes replaced keys ran, or had nothing to do.
func removal(want bool) check {
	return check{"removal of SSH keys", func(r *report) error {
		u := r.units["nm-cloud-seed-ssh-keys.service"]
		if ran := u["ConditionResult"] == "yes"; u["LoadState"] != "loaded" || ran != want || u["InactiveExitTimestampMonotonic"] == "0" == want {
			return fmt.Errorf("the unit ran: %t, want %t", ran, want)
		}
		return nil
	}}
}

// regret is an item of recoverable_errors, which there are since 23.4.
var regret = regexp.MustCompile(`^\s+- `)

// visitors are the files of an image on which everybody tries to get in, and
// what its user does after each boot that is to be followed by a change.
func visitors(then ...string) map[string]string {
	files := also(inContainer)
	maps.Copy(files, who())
	for n, script := range then {
		files[fmt.Sprintf("%s/then-%d", guestReport, n+1)] = script
	}
	return files
}

const changePassword = `printf 'debian:%s\n' "$(cat ` + guestReport + `/who/mine.password)" | chpasswd`

func addKey(name string) string {
	public, _ := keyPair(name)
	return "echo '" + public + "' >>/home/debian/.ssh/authorized_keys"
}

// credentials are CloudStack's promises, over the boots of one disk.
func credentials(suite string) scenario {
	each := func(keysChange bool, more ...check) []check {
		return append(plus(seeded, undisturbed, takenAway, removal(keysChange)), more...)
	}
	later := func(keysChange bool, more ...check) []check { return append(each(keysChange, sameHost), more...) }
	return scenario{
		name: suite + "/credentials", about: "a password and SSH keys, and what becomes of them",
		suite: suite, files: visitors(addKey("hand"), changePassword),
		boots: []boot{
			{what: "first boot", vm: serves("first", "old"), checks: each(false,
				getsIn(keys(asDebian, nobody, nobody), "first", "in"), passwordRequests(true, 1))},
			{what: "reboot", vm: serves("", "old"), checks: later(false,
				getsIn(keys(asDebian, nobody, byHand), "first", "in"), passwordRequests(true, 0))},
			{what: "password served again", vm: serves("first", "old"), checks: later(false,
				getsIn(keys(asDebian, nobody, byHand), "mine", "in"), passwordRequests(true, 1))},
			{what: "both reset", vm: serves("second", "new"), checks: later(true,
				getsIn(keys(nobody, asDebian, byHand), "second", "in"), passwordRequests(true, 1))},
			{what: "no keys for once", vm: servesNothing, checks: later(false,
				getsIn(keys(nobody, asDebian, byHand), "second", "in"), passwordRequests(true, 0))},
		},
	}
}

// Images and users with a word of their own.
func credentialVariants() []scenario {
	return []scenario{
		{
			name: "trixie/image-says", about: "an image that says how passwords and root are dealt with, a network without a domain",
			suite: "trixie", nics: []lab.NIC{{NoDomain: true}},
			files: also(visitors(changePassword), "/etc/cloud/cloud.cfg.d/96-image.cfg", "ssh_pwauth: false\ndisable_root: false\n"),
			setup: `sed -i 's/^\( *- *\)set[-_]passwords$/\1[set_passwords, always]/' /etc/cloud/cloud.cfg; grep -q 'set_passwords, always' /etc/cloud/cloud.cfg`,
			boots: []boot{
				{what: "first boot", vm: serves("first", "old"), checks: plus(but(seeded, "FQDN"), noDomain, undisturbed, nameOnly,
					getsIn(keys(asRoot, nobody, nobody), "first", "refused"), passwordRequests(true, 1))},
				{what: "password served again", vm: serves("first", "old"), checks: plus(but(seeded, "FQDN"), noDomain, undisturbed, nameOnly, sameHost,
					getsIn(keys(asRoot, nobody, nobody), "mine", "refused"), passwordRequests(true, 1))},
				{what: "both reset", vm: serves("second", "new"), checks: plus(but(seeded, "FQDN"), noDomain, undisturbed, nameOnly, sameHost,
					getsIn(keys(nobody, asRoot, nobody), "second", "refused"), passwordRequests(true, 1))},
			},
		},
		{
			name: "bookworm/user-data-says", about: "user-data that sets passwords itself",
			suite: "bookworm", userData: userData + bootCommands + "chpasswd: {users: [{name: alice, password: x, type: text}]}\n",
			files: visitors("echo alice:y | chpasswd"),
			boots: []boot{
				{what: "first boot", vm: serves("first", "old"), checks: plus(seeded, undisturbed, takenAway, expired(true),
					getsIn(keys(asDebian, nobody, nobody), "", ""), passwordRequests(true, 0))},
				{what: "reboot", vm: serves("first", "old"), checks: plus(seeded, undisturbed, takenAway, sameHost, expired(false),
					getsIn(keys(asDebian, nobody, nobody), "", ""), passwordRequests(true, 0))},
			},
		},
		{
			name: "trixie/credentials-off", about: "password=no and ssh-keys=no",
			suite: "trixie", files: also(visitors(), ourConfig, "[main]\nplatform=cloudstack\npassword=no\nssh-keys=no\n"),
			boots: []boot{
				{what: "first boot", vm: serves("first", "old"), checks: plus(seeded, undisturbed, takenAway,
					getsIn(keys(asDebian, nobody, nobody), "", ""), passwordRequests(false, 0))},
				{what: "both reset", vm: serves("second", "new"), checks: plus(seeded, undisturbed, takenAway, sameHost,
					getsIn(keys(asDebian, nobody, nobody), "", ""), passwordRequests(false, 0))},
			},
		},
	}
}

// killsAtReady kills the service between READY and the record, in these boots: before
// cloud-init's network stage, which waits for that, too.
func killsAtReady(boots ...int) map[string]string {
	files := map[string]string{
		"/etc/systemd/system/nm-cloud-seed.service.d/kill.conf": "[Service]\nExecStartPost=+/bin/sh " + guestReport + "/kill\n",
		guestReport + "/kill": "n=1\nwhile [ -e " + guestReport + "/$n/complete ]; do n=$((n + 1)); done\n" +
			"[ ! -e " + guestReport + "/kill-$n ] || kill -KILL \"$MAINPID\"\n",
	}
	for _, n := range boots {
		files[fmt.Sprintf("%s/kill-%d", guestReport, n)] = ""
	}
	return files
}

// wasKilled: the service was, by a signal. Healing resets its unit.
var wasKilled = check{"killed", func(r *report) error {
	if !strings.Contains(r.text(journalFile), ours+": Failed with result 'signal'") {
		return errors.New("the service did not fail with the result signal")
	}
	return nil
}}

// killedCredentials are boots in which the service is killed when it has handed over a
// password, and those that follow.
func killedCredentials(suite string) scenario {
	files := visitors("", "", changePassword)
	maps.Copy(files, killsAtReady(1, 3))
	both := plus(seeded, undisturbed, takenAway, sameHost)
	return scenario{
		name: suite + "/killed-handover", about: "the service is killed between READY and the record: no password is lost, or set over the user's",
		suite: suite, files: files,
		boots: []boot{
			{what: "first boot, killed", vm: serves("first", "old"), checks: []check{wasKilled,
				getsIn(keys(asDebian, nobody, nobody), "first", "in"), passwordRequests(true, 0)}},
			{what: "password recognised", vm: serves("first", "old"), checks: append(slices.Clone(both), removal(true),
				getsIn(keys(asDebian, nobody, nobody), "first", "in"), passwordRequests(true, 1))},
			{what: "reset, killed", vm: serves("second", "old"), checks: []check{wasKilled, sameHost,
				getsIn(keys(asDebian, nobody, nobody), "second", "in"), passwordRequests(true, 0)}},
			{what: "changed by the user", vm: serves("second", "old"), checks: append(slices.Clone(both), removal(false),
				getsIn(keys(asDebian, nobody, nobody), "mine", "in"), passwordRequests(true, 0))},
		},
	}
}

// expired: whether alice has to change her password at once. chpasswd's own
// default is that she has.
func expired(want bool) check {
	return check{"expiry of a password", func(r *report) error {
		if is := strings.Contains(r.text("alice"), "password must be changed"); is != want {
			return fmt.Errorf("alice has to change her password: %t, want %t", is, want)
		}
		return nil
	}}
}
