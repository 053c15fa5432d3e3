package cloudinit

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nm-cloud-seed/nm-cloud-seed/test/debroot"
)

// aHash is crypt("geheim").
const aHash = "$6$rounds=5000$usesomesillystri$D4IrlXatmP7rx3P3InaxBeoomnAihCKRVQAr/36eYDKQ7CWJlMtbVLgfxPbR/J4ZiNVoGEWAHiXzHc2MwPC7s."

// anImage is a configuration as Debian's. There is nothing else in the lists, so
// that cloud-init does nothing to who judges.
const anImage = `users: [default]
system_info: {distro: debian, default_user: {name: debian}}
cloud_init_modules: [ssh]
cloud_config_modules: [set-passwords]
cloud_final_modules: []
`

// said is all that we say of a world.
type said struct {
	Stage, User                                      string // Config.Stage of set_passwords, Config.DefaultUser
	PasswordAuth, Passwords, PublicKeysOff, HostKeys string
	Always, HadRun, HasRun                           bool
	Err, SSHErr                                      string // of Ran
}

const (
	cfg, later, userData = "/etc/cloud/cloud.cfg", "/etc/cloud/cloud.cfg.d/99-z.cfg", "user-data"

	failed  = "cloud-init's set_passwords failed in its modules-config stage (see /var/log/cloud-init.log)"
	noUser  = "cloud-init knows no default user"
	sshDown = "cloud-init's ssh could not write the keys (see /var/log/cloud-init.log)"
)

// worlds are what images and user-data say, with a drop-in that says all it can.
// What is not in want is as in an ordinary image.
var worlds = []struct {
	name  string
	files map[string]string // cloud.cfg is appended to anImage
	user  string            // user-data, after #cloud-config
	fail  string            // what fails: module, ssh or a stage
	rerun bool
	want  func(*said)
}{
	{name: "nothing special"},
	{name: "has run", files: map[string]string{"var/lib/cloud/instances/i/sem/config_set_passwords": ""}, want: func(s *said) { s.HadRun = true }},
	{name: "runs again", files: map[string]string{"var/lib/cloud/instances/i/sem/config_set_passwords": ""}, rerun: true},
	{name: "always", files: map[string]string{cfg: "cloud_config_modules: [[set_passwords, always]]\n"}, want: func(s *said) { s.Always, s.HasRun = true, false }},
	{name: "once", files: map[string]string{cfg: "cloud_config_modules: [{name: set_passwords, frequency: once}]\n", "var/lib/cloud/sem/config_set_passwords.once": ""}, want: func(s *said) { s.Stage, s.HasRun = "", false }},
	{name: "an unknown frequency", files: map[string]string{cfg: "cloud_config_modules: [[set_passwords, often]]\n"}},
	{name: "other spellings", files: map[string]string{cfg: "cloud_config_modules: [cc_set-passwords.py]\ncloud_init_modules: [cc_ssh]\n"}},
	{name: "a mapping", files: map[string]string{cfg: "cloud_config_modules: [{name: ' set-passwords '}]\n"}},
	{name: "in the network stage", files: map[string]string{later: "cloud_config_modules: []\ncloud_init_modules: [ssh, set_passwords]\n"}, want: func(s *said) { s.Stage = "init" }},
	{name: "in no stage", files: map[string]string{later: "cloud_config_modules: []\n"}, want: func(s *said) { s.Stage, s.HasRun = "", false }},
	{name: "not since user-data says so", user: "cloud_config_modules: []\n", want: func(s *said) { s.Stage, s.HasRun = "", false }},

	{name: "the module fails", fail: "module", want: func(s *said) { s.Err = failed }},
	{name: "the stage fails", fail: "config", want: func(s *said) {
		s.HasRun, s.Err = false, "cloud-init's modules-config stage failed (see /var/log/cloud-init.log)"
	}},
	{name: "another stage fails", fail: "final"},
	{name: "ssh fails", fail: "ssh", want: func(s *said) { s.SSHErr = sshDown }},

	{name: "the image has an opinion of ssh_pwauth", files: map[string]string{cfg: "ssh_pwauth: false\n"}, want: func(s *said) { s.PasswordAuth = cfg + ":6" }},
	{name: "even none", files: map[string]string{cfg: "ssh_pwauth:\n"}, want: func(s *said) { s.PasswordAuth = cfg + ":6" }},
	{name: "user-data has one", user: "ssh_pwauth: no\n", want: func(s *said) { s.PasswordAuth = "user-data:2" }},

	{name: "the image has a password", files: map[string]string{cfg: "password: a\n"}},
	{name: "and after us", files: map[string]string{later: "password: a\n"}, want: func(s *said) { s.Passwords = later + ":1" }},
	{name: "the image has chpasswd.users", files: map[string]string{cfg: "chpasswd: {users: [{name: a, password: b, type: text}]}\n"}, want: func(s *said) { s.Passwords = cfg + ":6" }},
	{name: "the image has chpasswd.list", files: map[string]string{cfg: "chpasswd: {list: 'a:b'}\n"}, want: func(s *said) { s.Passwords = cfg + ":6" }},
	{name: "taken back, but not with our mapping over it", files: map[string]string{
		cfg: "chpasswd: {list: 'a:b'}\n", "/etc/cloud/cloud.cfg.d/50.cfg": "chpasswd:\n",
	}, want: func(s *said) { s.Passwords = cfg + ":6" }},
	{name: "user-data has a password", user: "password: a\n", want: func(s *said) { s.Passwords = "user-data:2" }},
	{name: "an empty one", user: "password: ''\n", want: func(s *said) { s.Passwords = "user-data:2" }},
	{name: "null", user: "password:\n", want: func(s *said) { s.Passwords = "user-data:2" }},
	{name: "user-data has chpasswd.users", user: "chpasswd:\n  users:\n  - {name: a, type: RANDOM}\n", want: func(s *said) { s.Passwords = "user-data:4" }},
	{name: "user-data has chpasswd.list", user: "chpasswd: {list: ['a:b']}\n", want: func(s *said) { s.Passwords = "user-data:2" }},
	{name: "empty chpasswd.users and list", user: "chpasswd: {users: [], list: []}\n"},
	{name: "null ones", user: "chpasswd: {users: , list: }\n"},
	{name: "false ones", user: "chpasswd: {list: no}\n"},
	{name: "more of them", user: "chpasswd: {list: 0x0}\n"},
	{name: "an empty mapping for users", user: "chpasswd: {users: {}}\n", want: func(s *said) { s.Passwords, s.Err = "user-data:2", failed }},
	{name: "an empty text for users", user: "chpasswd: {users: ''}\n", want: func(s *said) { s.Passwords, s.Err = "user-data:2", failed }},
	{name: "an empty list takes the image's away", files: map[string]string{cfg: "chpasswd: {list: 'a:b'}\n"}, user: "chpasswd: {list: []}\n"},
	{name: "an empty chpasswd does not", files: map[string]string{cfg: "chpasswd: {list: 'a:b'}\n"}, user: "chpasswd: {}\n", want: func(s *said) { s.Passwords = cfg + ":6" }},

	{name: "no keys from metadata", files: map[string]string{cfg: "allow_public_ssh_keys: off\n"}, want: func(s *said) { s.PublicKeysOff = cfg + ":6" }},
	{name: "user-data wants them", files: map[string]string{cfg: "allow_public_ssh_keys: off\n"}, user: "allow_public_ssh_keys: 'Yes'\n"},
	{name: "user-data does not", user: "allow_public_ssh_keys: maybe\n", want: func(s *said) { s.PublicKeysOff = "user-data:2" }},
	{name: "host keys go, says the image", files: map[string]string{cfg: "ssh_deletekeys: true\n"}},
	{name: "and after us", files: map[string]string{later: "ssh_deletekeys: true\n"}, want: func(s *said) { s.HostKeys = later + ":1" }},
	{name: "host keys go, says user-data", user: "ssh_deletekeys: 'false'\n", want: func(s *said) { s.HostKeys = "user-data:2" }},
	{name: "user-data has host keys", user: "ssh_keys: {ed25519_private: a, ed25519_public: b}\n", want: func(s *said) { s.HostKeys = "user-data:2" }},
	{name: "host keys stay, says user-data", user: "ssh_deletekeys: no\n"},

	{name: "another default user", files: map[string]string{later: "system_info: {default_user: {name: cloud}}\n"}, want: func(s *said) { s.User = "cloud" }},
	{name: "user-data names one", user: "system_info: {default_user: {name: cloud}}\n", want: func(s *said) { s.User = "cloud" }},
	{name: "a user", files: map[string]string{cfg: "user: admin\n"}, want: func(s *said) { s.User = "admin" }},
	{name: "user-data has a user", files: map[string]string{cfg: "user: admin\n"}, user: "user: me\n", want: func(s *said) { s.User = "me" }},
	{name: "a mapping", user: "user: {name: me, gecos: x}\n", want: func(s *said) { s.User = "me" }},
	{name: "mappings are merged", files: map[string]string{cfg: "user: {name: admin}\n"}, user: "user: {gecos: x}\nusers: []\n", want: func(s *said) { s.User = "admin" }},
	{name: "a mapping without a name", user: "user: {gecos: x}\nusers: []\n"},
	{name: "no user", files: map[string]string{cfg: "user: admin\n"}, user: "user:\n"},
	{name: "a number is no user", user: "user: 7\n"},
	{name: "users without the default one", user: "users: [{name: me}, you]\n", want: func(s *said) { s.User, s.Err = "", noUser }},
	{name: "users with him", user: "users: [{name: me}, 'you,default']\n"},
	{name: "users as a nested list", user: "users: [[me, default]]\n"},
	{name: "a user without a name is he", user: "users: [{gecos: x}]\n"},
	{name: "a mapping with him", user: "users: {default: on, me: {}}\n"},
	{name: "a mapping without him", user: "users: {default: off, me: {}}\n", want: func(s *said) { s.User, s.Err = "", noUser }},
	{name: "words with him", user: "users: me,default\n"},
	{name: "with blanks", user: "users: me, default\n"},
	{name: "but not in a list", user: "users: ['me, default']\n", want: func(s *said) { s.User, s.Err = "", noUser }},
	{name: "words without him", user: "users: me,Default\n", want: func(s *said) { s.User, s.Err = "", noUser }},
	{name: "null", user: "users:\n", want: func(s *said) { s.User, s.Err = "", noUser }},
	{name: "the distribution has none", files: map[string]string{later: "system_info: {default_user: }\n"}, want: func(s *said) { s.User, s.Err = "", noUser }},

	{name: "no YAML", user: "password: {\n"},
	{name: "aliases", user: "a: &a {list: ['a:b']}\nchpasswd: *a\n", want: func(s *said) { s.Passwords = "user-data:2" }},
}

//go:embed testdata/apply.py
var apply string

// TestApply: what we say of a world is what cloud-init then does in it.
func TestApply(t *testing.T) {
	t.Parallel()
	for _, suite := range []string{"bookworm", "trixie", "sid"} {
		t.Run(suite, func(t *testing.T) {
			t.Parallel()
			root, err := debroot.Image(suite).Open()
			if err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			before := make([]said, len(worlds))
			for i := range worlds {
				before[i] = build(t, filepath.Join(dir, fmt.Sprintf("%02d", i)), i)
			}
			const inside = `mount -t tmpfs tmpfs "$2/run" && mount -t tmpfs tmpfs "$2/etc/ssh" && mount --bind /proc "$2/proc" &&
mount --bind "$1" "$2/mnt" && exec chroot "$2" python3 -c "$3"`
			var stderr bytes.Buffer
			cmd := exec.CommandContext(t.Context(), "unshare", "--mount", "sh", "-ec", inside, "sh", dir, root, apply)
			cmd.Stderr = &stderr
			out, err := cmd.Output()
			lines := strings.Split(strings.TrimSpace(string(out)), "\n")
			if err != nil || len(lines) != len(worlds) {
				t.Fatalf("%v, %d answers for %d worlds\n%s", err, len(lines), len(worlds), stderr.Bytes())
			}
			for i, tt := range worlds {
				t.Run(tt.name, func(t *testing.T) {
					judge(t, filepath.Join(dir, fmt.Sprintf("%02d", i)), suite, i, before[i], lines[i])
				})
			}
		})
	}
}

// build makes a world and says what it can before cloud-init's stages.
func build(t *testing.T, root string, i int) said {
	t.Helper()
	w := worlds[i]
	put(t, root, cfg, anImage+w.files[cfg])
	for name, data := range w.files {
		if name != cfg {
			put(t, root, name, data)
		}
	}
	put(t, root, "user-data", cloudConfig(w.user))
	put(t, root, "fail", w.fail)
	put(t, root, dropInLink, "")
	if err := os.Remove(filepath.Join(root, dropInLink)); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(dropInTarget, filepath.Join(root, dropInLink)); err != nil {
		t.Fatal(err)
	}
	put(t, root, "var/lib/cloud/data/x", "")
	if err := (Handover{aHash, true, true}).Write(filepath.Join(root, "run/nm-cloud-seed")); err != nil {
		t.Fatal(err)
	}
	files := Files{Root: root}
	if w.rerun {
		if err := files.Rerun("i", "set_passwords"); err != nil {
			t.Fatal(err)
		}
	}
	s := say(t, files, ParseUserConfig([]byte(cloudConfig(w.user))))
	var err error
	if s.HadRun, err = files.HasRun("i", "set_passwords"); err != nil {
		t.Error(err)
	}
	if files.Begun("init") {
		t.Error("begun before it has begun")
	}
	return s
}

func cloudConfig(text string) string {
	if text == "" {
		return ""
	}
	return "#cloud-config\n" + text
}

func say(t *testing.T, files Files, u UserConfig) said {
	t.Helper()
	c, err := files.Config()
	if err != nil || !c.Linked {
		t.Fatalf("linked: %v, %v", c.Linked, err)
	}
	c = c.With(u)
	stage, always := c.Stage("set_passwords")
	return said{
		Stage: stage, Always: always, User: c.DefaultUser(),
		PasswordAuth: c.PasswordAuth(), Passwords: c.Passwords(), PublicKeysOff: c.PublicKeysOff(), HostKeys: c.HostKeys(),
	}
}

func judge(t *testing.T, root, suite string, i int, got said, answer string) {
	var did struct {
		Chpasswd [][]any
		Expired  []string
		PWAuth   any
		Keys     [][]any
		Hostkeys map[string]string
		User     string
	}
	if err := json.Unmarshal([]byte(answer), &did); err != nil {
		t.Fatal(err)
	}
	files := Files{Root: root}

	// cloud-init's own merged user-data says the same, on other lines.
	u, err := files.UserConfig("i")
	if err != nil {
		t.Fatal(err)
	}
	fresh := got
	fresh.HadRun = false
	if diff := cmp.Diff(anywhere(fresh), anywhere(say(t, files, u))); diff != "" {
		t.Errorf("-of user-data +of cloud-config.txt:\n%s", diff)
	}

	ended, err := files.Ran(stageOr(got.Stage), "set_passwords")
	if !ended || !files.Begun(stageOr(got.Stage)) {
		t.Error("the stage has not ended, or not begun")
	}
	got.Err = text(err)
	_, err = files.Ran("init", "cc_ssh")
	got.SSHErr = text(err)
	if got.HasRun, err = files.HasRun("i", "set_passwords"); err != nil {
		t.Error(err)
	}
	w := worlds[i]
	want := said{Stage: "modules-config", User: "debian", HasRun: true}
	if w.want != nil {
		w.want(&want)
	}
	if suite == "bookworm" { // it keeps no warnings
		want.SSHErr = ""
		if want.Err == noUser {
			want.Err = ""
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("what we say, -want +got:\n%s", diff)
	}

	if did.User != got.User {
		t.Errorf("the default user is %q, and we say %q", did.User, got.User)
	}
	ours := [][]any{{got.User, aHash, true}}
	applied := cmp.Equal(did.Chpasswd, ours) && len(did.Expired) == 0
	expected := got.Stage != "" && got.User != "" && got.Passwords == "" && got.Err == "" && !got.HadRun && (got.HasRun || got.Always)
	if applied != expected || !applied && strings.Contains(fmt.Sprint(did.Chpasswd), aHash) {
		t.Errorf("password applied: %v, and we say %v: %v, expired %v", applied, expected, did.Chpasswd, did.Expired)
	}
	if applied && got.PasswordAuth == "" && did.PWAuth != true {
		t.Errorf("ssh_pwauth: %v", did.PWAuth)
	}
	if taken := strings.Contains(fmt.Sprint(did.Keys), "AAAA"); taken != (got.PublicKeysOff == "" && w.fail != "ssh") {
		t.Errorf("keys taken: %v", did.Keys)
	}
	if kept := did.Hostkeys["ed25519_key"] == "old"; kept != (got.HostKeys == "") || len(did.Hostkeys) == 0 {
		t.Errorf("host keys: %v", did.Hostkeys)
	}
}

// anywhere forgets the line in user-data.
func anywhere(s said) said {
	for _, at := range []*string{&s.PasswordAuth, &s.Passwords, &s.PublicKeysOff, &s.HostKeys} {
		if strings.HasPrefix(*at, userData) || strings.HasPrefix(*at, "/"+instancesDir+"/i/cloud-config.txt:") {
			*at = userData
		}
	}
	return s
}

func stageOr(stage string) string {
	if stage == "" {
		return "modules-config"
	}
	return stage
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
