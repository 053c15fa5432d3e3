package daemon

import (
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nm-cloud-seed/nm-cloud-seed/datasource"
	"github.com/nm-cloud-seed/nm-cloud-seed/datasource/cloudstack"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/atomicfile"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/cloudinit"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/config"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/credentials"
)

// What a handover leaves that ends at any of its steps, and what the next boot makes of
// it. Kills of whole processes are in test/lab and test/boot.

// vm is a VM over its boots. Its cloud-init and its password server are played.
type vm struct {
	*testing.T
	root    string
	serves  string // the password that waits
	applied []string
	hand    *handover // of this boot
}

func newVM(t *testing.T) *vm {
	root := machine(t, map[string]string{
		"etc/cloud/cloud.cfg": cloudCfg, "etc/passwd": "root:x:0:0::/root:/bin/sh\n", "etc/shadow": "root:*:1::::::\n",
		RunDir + "/x": "", "run/cloud-init/x": "",
	})
	v := &vm{T: t, root: root}
	v.must(os.MkdirAll(filepath.Join(root, "etc/cloud/cloud.cfg.d"), 0o755))
	v.must(os.Symlink("/run/nm-cloud-seed/private/cloud.cfg", filepath.Join(root, "etc/cloud/cloud.cfg.d/99-nm-cloud-seed.cfg")))
	return v
}

func (v *vm) must(err error) {
	v.Helper()
	if err != nil {
		v.Fatal(err)
	}
}

// boot empties what is of one boot only.
func (v *vm) boot() {
	v.Helper()
	for _, dir := range []string{RunDir, "/run/cloud-init"} {
		v.must(os.RemoveAll(filepath.Join(v.root, dir)))
		v.must(os.MkdirAll(filepath.Join(v.root, dir), 0o755))
	}
	d, _ := newDaemon(v.root, config.Default())
	v.hand = &handover{
		Daemon: d, instance: "i", files: cloudinit.Files{Root: v.root},
		store: credentials.Store{Dir: filepath.Join(v.root, stateDir)},
	}
	v.must(atomicfile.TidyDir(filepath.Join(v.root, stateDir)))
	d.forgetAllBut("i")
}

// asks does what the service does up to READY.
func (v *vm) asks() {
	v.Helper()
	d := v.hand.Daemon
	d.Config.Password = false // asked for below, without a network
	v.must(v.hand.prepare(v.Context(), &datasource.Instance{ID: "i"}))
	var err error
	v.hand.image, err = v.hand.files.Config()
	v.must(err)
	v.hand.config = v.hand.image
	if v.serves != "" {
		v.hand.decidePassword(cloudstack.Password{Text: v.serves, Server: netip.MustParseAddr("192.0.2.1")})
	}
}

func (v *vm) hands() {
	v.Helper()
	v.must(v.hand.write())
}

// field is debian's in /etc/shadow; it replaces the one that was there.
func (v *vm) field(text string) {
	v.Helper()
	v.must(os.WriteFile(filepath.Join(v.root, "etc/shadow"), []byte("root:*:1::::::\ndebian:"+text+":1::::::\n"), 0o640))
}

func (v *vm) has() string {
	v.Helper()
	text, err := os.ReadFile(filepath.Join(v.root, "etc/shadow"))
	v.must(err)
	_, after, _ := strings.Cut(string(text), "\ndebian:")
	field, _, _ := strings.Cut(after, ":")
	return field
}

// makesUser does what cloud-init does before it sets a password: the user's is locked.
func (v *vm) makesUser() {
	v.Helper()
	if v.has() == "" {
		v.must(os.WriteFile(filepath.Join(v.root, "etc/passwd"), []byte("root:x:0:0::/root:/bin/sh\ndebian:x:1000:1000::/home/debian:/bin/sh\n"), 0o644))
		v.field("!")
	}
}

// sets does what cloud-init's set_passwords does.
func (v *vm) sets() {
	v.Helper()
	text, err := os.ReadFile(filepath.Join(v.root, RunDir, "private/cloud.cfg"))
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	v.must(err)
	_, after, _ := strings.Cut(string(text), `password: "`)
	if hash, _, found := strings.Cut(after, `"`); found {
		v.field(hash)
		v.applied = append(v.applied, v.serves)
	}
}

// ends ends cloud-init's stage.
func (v *vm) ends() {
	v.Helper()
	v.must(os.MkdirAll(filepath.Join(v.root, "var/lib/cloud/instances/i/sem"), 0o755))
	v.must(os.WriteFile(filepath.Join(v.root, status), []byte(`{"v1": {"stage": null, "init": {"start": 1.0, "finished": 2.0, "errors": []}}}`), 0o644))
}

func (v *vm) records() {
	v.Helper()
	if v.hand.isNew {
		v.hand.settle(v.Context())
	}
}

// acknowledges reports what the password server hears.
func (v *vm) acknowledges() {
	if v.hand.password.Server.IsValid() {
		v.serves = ""
	}
}

func (v *vm) whole() {
	v.Helper()
	v.boot()
	for _, step := range v.steps() {
		step.do()
	}
}

type bootStep struct {
	name string
	do   func()
}

// steps returns those of a boot, in their order.
func (v *vm) steps() []bootStep {
	return []bootStep{
		{"decided and recorded", v.asks}, {"handed over", v.hands}, {"user made", v.makesUser}, {"applied", v.sets},
		{"stage ended", v.ends}, {"recorded as applied", v.records}, {"acknowledged", v.acknowledges},
	}
}

// A boot ends after each step of the handover of a first password, or of a reset; then
// the user changes the password, or does not. A password is never lost, and never set
// over the user's. A later reset is always applied.
func TestHandoverKilledAtAnyStep(t *testing.T) {
	const applied = 3 // from this step on
	const changed, lockedOne, damaged = "$y$j9T$salt$mine", "!$6$salt$locked", "damaged record"
	for n, last := range newVM(t).steps() {
		for reset, all := range map[bool][]string{ // each password costs 0.2 s
			false: [][]string{{"", changed}, {"", lockedOne}, {""}, {"", changed}, {changed}, {"", damaged}, {changed}}[n],
			true:  [][]string{{changed}, {""}, nil, {changed}, {damaged}, nil, nil}[n],
		} {
			for _, mine := range all {
				name := map[bool]string{true: "reset", false: "first password"}[reset] + "/" + last.name + "/" + mine
				t.Run(name, func(t *testing.T) {
					v := newVM(t)
					if reset {
						v.serves = "old"
						v.whole()
						if v.serves != "" || len(v.applied) != 1 {
							v.Fatalf("got %q served and %q applied before, want it applied once", v.serves, v.applied)
						}
						v.applied = nil
					}
					v.serves = "secret"
					v.boot()
					for _, step := range v.steps()[:n+1] {
						step.do()
					}
					switch mine {
					case "":
					case "damaged record":
						v.must(os.WriteFile(filepath.Join(v.root, stateDir, "password.json"), []byte("{"), 0o600))
					default:
						v.makesUser()
						v.field(mine)
					}
					before, sets := v.has(), len(v.applied)
					v.whole()
					switch got := v.has(); {
					case mine != "" && (got != before || len(v.applied) != sets):
						t.Errorf("got the field %q of the user's, want %q left alone", got, before)
					case mine == "" && len(v.applied) != 1:
						t.Errorf("got the password applied %d times, want once", len(v.applied))
					case mine == "" && n >= applied && got != before:
						t.Errorf("got the field %q, want %q as applied before", got, before)
					case mine == "" && v.serves != "":
						t.Error("the password server was not told, want it told")
					case mine != "" && n < 5 && v.serves == "":
						t.Error("the password server was told of a password that the user may lack, want it to stay there")
					}
					if text, _ := os.ReadFile(filepath.Join(v.root, StatePath)); strings.Contains(string(text), "$") {
						t.Errorf("there is a secret in the state %s", text)
					}

					// Served again, by a virtual router that was rebuilt; and another.
					before, sets = v.has(), len(v.applied)
					v.serves = "secret"
					v.whole()
					if v.has() != before || len(v.applied) != sets {
						t.Errorf("got the field %q after the password was served again, want %q", v.has(), before)
					}
					if mine == "" {
						return
					}
					v.serves = "another"
					v.whole()
					if v.serves != "" || len(v.applied) != sets+1 || v.has() == before {
						t.Errorf("got %q served, %q applied, want the next reset applied", v.serves, v.applied)
					}
				})
			}
		}
	}
}

// The run is killed before it records the first password as applied, and an administrator
// has sshd accept no passwords: no later password changes that.
func TestPasswordAuthIsAllowedOnce(t *testing.T) {
	v := newVM(t)
	v.serves = "first"
	for _, last := range []int{1, 4} { // killed before it is applied, and after
		v.boot()
		for _, step := range v.steps()[:last+1] {
			step.do()
		}
		if !v.hand.text.AllowPasswordAuth {
			v.Fatal("sshd is not told to accept the first password, want it told")
		}
	}
	v.field("$y$j9T$salt$mine")
	v.serves = "second"
	for range 2 { // killed, too
		v.boot()
		v.asks()
		if !v.hand.isNew || v.hand.text.AllowPasswordAuth {
			v.Errorf("got new %t, and sshd told %t, want the second password handed over, and sshd's configuration left alone", v.hand.isNew, v.hand.text.AllowPasswordAuth)
		}
	}
}

// The first boot hands a password over for the default user of the image, and only
// cloud-init can read that the user-data has another one.
func TestPasswordForAnotherUser(t *testing.T) {
	alice := func(v *vm, field string) { // makes her the default user, with this field
		v.must(os.WriteFile(filepath.Join(v.root, "etc/cloud/cloud.cfg"), []byte(strings.ReplaceAll(cloudCfg, "debian", "alice")), 0o644))
		v.must(os.WriteFile(filepath.Join(v.root, "etc/shadow"), []byte("root:*:1::::::\nalice:"+field+":1::::::\n"), 0o640))
	}
	for name, tt := range map[string]struct {
		field string // of alice's; "handed over": as cloud-init sets it
		isNew bool
		want  string // what is said
	}{
		"applied":         {"handed over", false, "192.0.2.1 serves the last one again: it was applied at an earlier boot"},
		"not applied":     {"!", true, "handed to cloud-init, from 192.0.2.1"},
		"she has her own": {"$y$j9T$salt$mine", false, "one waits at 192.0.2.1 and is not applied, since it was handed to cloud-init for debian, and the default user is alice now (to have it applied, reset it in CloudStack once more)"},
	} {
		t.Run(name, func(t *testing.T) {
			v := newVM(t)
			v.serves = "secret"
			v.boot()
			v.asks()
			if tt.field == "handed over" {
				tt.field = v.hand.text.PasswordHash
			}
			v.boot()
			alice(v, tt.field)
			v.asks()
			if text := v.hand.state.Password; v.hand.isNew != tt.isNew || !strings.HasPrefix(text, tt.want) {
				t.Errorf("got new %t, %q, want %t, %q", v.hand.isNew, text, tt.isNew, tt.want)
			}
		})
	}
}

// What is not on record is not handed over: the next boot could not tell whether it was
// applied.
func TestPasswordThatCannotBeRecordedIsNotHandedOver(t *testing.T) {
	v := newVM(t)
	v.boot()
	v.hand.store.Dir = "/proc/nm-cloud-seed" // nothing is there, and nothing can be made there
	v.serves = "secret"
	v.asks()
	if v.hand.text != (cloudinit.Handover{}) || v.hand.isNew || v.hand.password.Server.IsValid() {
		v.Errorf("got %t, and to be acknowledged %v, want nothing handed over", v.hand.isNew, v.hand.password.Server)
	}
	if text := v.hand.state.Password; !strings.HasPrefix(text, "one waits at 192.0.2.1 and is not applied: cannot ") || strings.Contains(text, "secret") {
		v.Errorf("got %q, want that it is not applied, and why", text)
	}
	v.hands()
	v.sets()
	if len(v.applied) > 0 {
		v.Errorf("got %q applied, want nothing", v.applied)
	}
}
