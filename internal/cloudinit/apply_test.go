package cloudinit

import (
	_ "embed"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
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

type world struct {
	name  string
	files map[string]string // cloud.cfg is appended to anImage
	user  string            // user-data, after #cloud-config
	fail  string            // what fails: module, ssh or a stage
	rerun bool
	want  func(*said)
}

// expected returns what there is to say of a world in the end.
func (w world) expected() said {
	s := said{Stage: "modules-config", User: "debian", HasRun: true}
	if w.want != nil {
		w.want(&s)
	}
	return s
}

// worlds are what images and user-data say, with a drop-in that says all it can.
// What is not in want is as in an ordinary image.
var worlds = []world{
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
	if err := (Handover{PasswordHash: aHash, AllowPasswordAuth: true, SSHKeys: true}).Write(filepath.Join(root, "run/nm-cloud-seed")); err != nil {
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
		t.Error("got the stage begun, want that only when it has")
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

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// TestConfigOfWorlds holds what we read of each world before cloud-init's stages
// against the table; TestApplyAgreesWithRealCloudInit has cloud-init's word.
func TestConfigOfWorlds(t *testing.T) {
	for i, tt := range worlds {
		t.Run(tt.name, func(t *testing.T) {
			got := build(t, t.TempDir(), i)
			want := tt.expected()
			want.HasRun, want.Err, want.SSHErr = false, "", "" // what has happened, not what we read
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}
