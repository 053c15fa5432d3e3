//go:build integration

package lab_test

import (
	"crypto/ed25519"
	"crypto/sha256"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/ssh"

	"github.com/nm-cloud-seed/nm-cloud-seed/datasource/cloudstack/vrtest"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/config"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/credentials"
)

// SSH keys, between the virtual router and cloud-init.

// key is always the same for a name.
func key(name string) string {
	seed := sha256.Sum256([]byte(name))
	public, err := ssh.NewPublicKey(ed25519.NewKeyFromSeed(seed[:]).Public())
	if err != nil {
		panic(err) // there is none with an ed25519 key
	}
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(public)))
}

// keys is a set of keys by their names, such as "a b".
func keys(names string) credentials.Keys {
	var set credentials.Keys
	for name := range strings.FieldsSeq(names) {
		set = append(set, credentials.Key(key(name)))
	}
	return set
}

// publicKeys are the keys that a VR serves.
func publicKeys(names string) func(*vrtest.VM) {
	var lines []string
	for name := range strings.FieldsSeq(names) {
		lines = append(lines, key(name)+" "+name+"@example.org")
	}
	return func(vm *vrtest.VM) { vm.Set("public-keys", strings.Join(lines, "\n")) }
}

// onlyKeys is what cloud-init is handed so that it takes new keys and makes no new
// host keys.
const onlyKeys = "ssh_deletekeys: false\n"

// changed boots and expects that new keys are handed over, and what the job says.
func (g *guest) changed(b boot, now, remove string) *booted {
	g.Helper()
	r := g.boot(b)
	if !strings.HasSuffix(r.dropIn, "\n"+onlyKeys) || strings.Contains(r.dropIn, "password") {
		g.Errorf("got %q handed over, want keys only, with %q", r.dropIn, onlyKeys)
	}
	want := &credentials.Job{Instance: instance, User: "debian", Remove: keys(remove), Keys: keys(now)}
	if diff := cmp.Diff(want, r.job); diff != "" {
		g.Errorf("the job for nm-cloud-seed-ssh-keys.service (-want +got):\n%s", diff)
	}
	return r
}

// onRecord checks what is known to have been applied.
func (g *guest) onRecord(names string) {
	g.Helper()
	got, _, known, err := credentials.Store{Dir: credentials.DefaultDir}.Keys(instance)
	g.must(err)
	if diff := cmp.Diff(keys(names), got); diff != "" || !known {
		g.Errorf("on record: %v, (-want +got):\n%s", known, diff)
	}
}

func TestCredentialsChangedSSHKeysAreHandedOver(t *testing.T) {
	start(t, connected, func(s *scenario) {
		g := s.guest(bookworm)
		vr := g.vr(0)
		g.serves(vr, 0, publicKeys("a b"))
		g.ran(g.untouched(boot{}), firstBoot)
		g.onRecord("a b")
		g.ran(g.untouched(boot{}), "")

		g.serves(vr, 0, publicKeys("c b"))
		g.ran(g.changed(boot{}, "c b", "a"), "ssh")
		g.onRecord("c b")
		g.ran(g.untouched(boot{}), "")

		g.serves(vr, 0, publicKeys("")) // a VR that was rebuilt may have none for a while
		g.ran(g.untouched(boot{}), "")
		g.onRecord("c b")

		theirs := "#cloud-config\nssh_authorized_keys:\n- " + key("b") + "\n"
		g.serves(vr, 0, publicKeys("c b"), userData(theirs)) // which cloud-init has to read first
		g.ran(g.untouched(boot{}), "")
		g.serves(vr, 0, publicKeys("d"), userData(theirs))
		g.changed(boot{}, "d", "c")
		g.onRecord("d")

		g.serves(vr, 0, publicKeys("e"), password(first)) // both at once
		r := g.gets(first)
		g.ran(r, "ssh set_passwords")
		if !strings.Contains(r.dropIn, onlyKeys) || r.job == nil {
			s.Errorf("got %q, %+v handed over, want keys too", r.dropIn, r.job)
		}
		g.onRecord("e")
	})
}

// New keys that may not have been applied are handed over anew, without new host
// keys, even if cloud-init's mark that ssh has run is gone.
func TestCredentialsSSHKeysSurvivePowerCut(t *testing.T) {
	start(t, connected, func(s *scenario) {
		g := s.guest(sid)
		vr := g.vr(0)
		g.serves(vr, 0, publicKeys("a"))
		g.untouched(boot{})
		g.serves(vr, 0, publicKeys("b"))
		g.changed(boot{cut: atReady}, "b", "a")
		g.onRecord("a")
		g.changed(boot{cut: "ssh"}, "b", "a")
		g.onRecord("a")
		g.changed(boot{fails: "ssh"}, "b", "a")
		g.onRecord("a")
		g.ran(g.changed(boot{}, "b", "a"), "ssh")
		g.onRecord("b")

		g.serves(vr, 0, publicKeys("c"))
		g.changed(boot{cut: atReady}, "c", "b")
		g.serves(vr, 0, publicKeys("d")) // c may have been applied, or not
		g.changed(boot{cut: "ssh"}, "d", "b c")
		g.serves(vr, 0, publicKeys("b")) // as on record
		g.ran(g.changed(boot{}, "b", "c d"), "ssh")
		g.onRecord("b")
		g.ran(g.untouched(boot{}), "")
	})
}

// Where it is not known what cloud-init has applied, no key is removed: the package is
// new on this VM. Keys that were handed over at a first boot may have been applied.
func TestCredentialsUnknownSSHKeysAreKept(t *testing.T) {
	for name, b := range map[string]boot{
		"new package": {}, "ssh failed": {fails: "ssh"}, "cut": {cut: "ssh"},
	} {
		t.Run(name, func(t *testing.T) {
			start(t, connected, func(s *scenario) {
				g := s.guest(sid)
				vr := g.vr(0)
				g.serves(vr, 0, publicKeys("a"))
				g.boot(b)
				remove := "a"
				if b == (boot{}) {
					s.must(os.RemoveAll(credentials.DefaultDir))
					remove = ""
				} else if keys, _, known, err := (credentials.Store{Dir: credentials.DefaultDir}).Keys(instance); known || len(keys) > 0 {
					s.Errorf("got the keys %v, %v on record as applied, want none", keys, err)
				}
				g.serves(vr, 0, publicKeys("b"))
				g.changed(boot{cut: atReady}, "b", remove)
				if r := g.changed(boot{}, "b", remove); !strings.HasPrefix(r.ran, "ssh") {
					s.Errorf("got the modules %q, want ssh first", r.ran)
				}
				g.onRecord("b")
			})
		})
	}
}

// ssh-keys=no: changed keys change nothing.
func TestCredentialsSSHKeysOffChangesNothing(t *testing.T) {
	start(t, connected, func(s *scenario) {
		g := s.guest(sid)
		vr := g.vr(0)
		g.serves(vr, 0, publicKeys("a"))
		g.untouched(boot{})
		s.config = func(c *config.Config) { c.SSHKeys = false }
		g.serves(vr, 0, publicKeys("b"))
		g.ran(g.untouched(boot{}), "")
		g.onRecord("a")
	})
}
