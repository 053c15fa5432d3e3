//go:build integration

package lab_test

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/go-crypt/crypt/algorithm/shacrypt"

	"github.com/nm-cloud-seed/nm-cloud-seed/datasource/cloudstack/vrtest"
	"github.com/nm-cloud-seed/nm-cloud-seed/test/lab"
)

// Passwords, between the virtual router and cloud-init.

// Passwords that wait. The first is hard to quote.
const (
	first  = `pä: #"'\$6$` + secret
	second = "2 " + secret
)

// What a password server hears.
const (
	asked        = "send_my_password send_my_password" // an answer is believed if it comes twice
	askedAndTold = asked + " saved_password"
)

// firstBoot is what cloud-init runs in an instance's first boot.
const firstBoot = "users_groups ssh set_passwords runcmd scripts_user"

// images are cloud-init's, by the suite.
var images = map[string]string{"bookworm": bookworm, "sid": sid}

// connected is a lab whose NetworkManager has a connection of its own, so that the
// service ends by itself.
var connected = lab.Config{AutoDefault: true}

func password(text string) func(*vrtest.VM) { return func(vm *vrtest.VM) { vm.Password = text } }
func userData(text string) func(*vrtest.VM) {
	return func(vm *vrtest.VM) { vm.UserData = []byte(text) }
}

// vr is a VR that serves metadata and passwords to the VM on a NIC.
func (g *guest) vr(nic int) *vrtest.VR {
	g.Helper()
	vr := g.knows(nic)
	g.must(g.ServeVR(g.Context(), nic, vr))
	return vr
}

// knows is a VR that nobody can reach yet.
func (g *guest) knows(nic int) *vrtest.VR {
	vr := vrtest.New()
	g.vrs = append(g.vrs, vr)
	g.serves(vr, nic)
	return vr
}

// serves changes what a VR has for the VM on a NIC: no password, unless that is
// one of the changes, which then waits, as after a reboot of the VR.
func (g *guest) serves(vr *vrtest.VR, nic int, changes ...func(*vrtest.VM)) {
	vm := vrtest.Example(instance, g.ClientAddr(nic))
	for _, change := range changes {
		change(vm)
	}
	vr.SetVM(g.ClientAddr(nic), vm)
}

// handed boots and expects that cloud-init is handed a password.
func (g *guest) handed(b boot) *booted {
	g.Helper()
	r := g.boot(b)
	if !strings.Contains(r.dropIn, "\npassword: \"$6$") || !strings.Contains(r.dropIn, "\nchpasswd: {expire: false}\n") {
		g.Errorf("got %q handed over, want a password", r.dropIn)
	}
	return r
}

// gets boots and expects that this password is handed over and applied.
func (g *guest) gets(text string) *booted {
	g.Helper()
	r := g.handed(boot{})
	g.says(r, "applied; ")
	g.lets(text)
	return r
}

// lets checks that this is the default user's password.
func (g *guest) lets(text string) {
	g.Helper()
	digest, err := shacrypt.Decode(g.hash)
	if err != nil || !digest.Match(text) {
		g.Errorf("got another password of the default user (%v), want the one that waits", err)
	}
}

// untouched boots and expects that cloud-init has nothing to apply.
func (g *guest) untouched(b boot) *booted {
	g.Helper()
	r := g.boot(b)
	if r.dropIn != "" || r.job != nil {
		g.Errorf("got %q, %+v handed over, want nothing", r.dropIn, r.job)
	}
	return r
}

func (g *guest) says(r *booted, text string) {
	g.Helper()
	if !strings.Contains(r.state.Password, text) {
		g.Errorf("got the status %q, want %q", r.state.Password, text)
	}
}

// ran checks which modules cloud-init has run.
func (g *guest) ran(r *booted, want string) {
	g.Helper()
	if r.ran != want {
		g.Errorf("got the modules %q, want %q", r.ran, want)
	}
}

// heard checks what a VR's password server has heard.
func (g *guest) heard(vr *vrtest.VR, want string) {
	g.Helper()
	if got := words(vr); got != want {
		g.Errorf("got the requests %q at the password server, want %q", got, want)
	}
}

// The virtual router that has the metadata refuses, and the other one of the pair
// has the password. The network is a temporary connection.
func TestCredentialsOfRedundantVirtualRouter(t *testing.T) {
	vip := netip.MustParseAddr("10.1.1.1")
	c := lab.NIC{ServerID: netip.MustParseAddr("10.1.1.2"), Router: vip, ExtraAddrs: []netip.Prefix{netip.PrefixFrom(vip, 24)}}
	for name, image := range images {
		t.Run(name, func(t *testing.T) {
			start(t, lab.Config{NICs: []lab.NIC{c}}, func(s *scenario) {
				g := s.guest(image)
				own, pair := g.knows(0), g.knows(0)
				g.serves(pair, 0, password(first))
				s.serve(0, c.ServerID, own)
				s.serve(0, vip, pair)
				s.servePasswords(0, vip, pair)
				s.kept = []string{"eth0"}
				r := g.gets(first)
				if r.state.Instance.Server != c.ServerID {
					s.Errorf("got the metadata from %v, want it from %v", r.state.Instance.Server, c.ServerID)
				}
				if !strings.Contains(r.dropIn, "ssh_pwauth: true\n") {
					s.Errorf("got %q handed over, want ssh_pwauth: true", r.dropIn)
				}
				g.ran(r, firstBoot)
				g.says(r, "applied; 10.1.1.1 has been told")
				g.heard(own, "")
				g.heard(pair, askedAndTold)
			})
		})
	}
}

// Each network's VR has a password. That of the default network counts, also
// where the metadata comes from the other, since the default network's VR is
// somebody else.
func TestCredentialsOfDefaultNetworkWin(t *testing.T) {
	for nic := range 2 {
		t.Run(fmt.Sprintf("eth%d", nic), func(t *testing.T) {
			c := twoNICs(nic)
			c.AutoDefault = true
			start(t, c, func(s *scenario) {
				g := s.guest(sid)
				vrs := []*vrtest.VR{g.vr(0), g.vr(1)}
				mine, other := vrs[nic], vrs[1-nic]
				g.serves(other, 1-nic, password("other "+secret))
				for _, text := range []string{first, second} {
					g.serves(mine, nic, password(text))
					r := g.gets(text)
					if from := r.state.Instance.Device == fmt.Sprintf("eth%d", nic); from != (text == first) {
						s.Errorf("got the metadata from %s, want it from the other NIC", r.state.Instance.Device)
					}
					g.heard(mine, askedAndTold)
					g.heard(other, "")
					mine.SetFaults(vrtest.Fault{Body: []byte("<html>Login</html>\n"), ContentType: "text/html"})
				}
			})
		})
	}
}

// Only data-server serves passwords: neither the DHCP server nor the router does.
func TestCredentialsOfDataServerAreApplied(t *testing.T) {
	named, router := netip.MustParseAddr("10.1.1.77"), netip.MustParseAddr("10.1.1.254")
	c := lab.NIC{
		Router:      router,
		ExtraAddrs:  []netip.Prefix{netip.PrefixFrom(named, 24), netip.PrefixFrom(router, 24)},
		HostRecords: map[string]netip.Addr{"data-server": named},
	}
	start(t, lab.Config{NICs: []lab.NIC{c}, AutoDefault: true}, func(s *scenario) {
		g := s.guest(sid)
		vr, third := g.knows(0), g.knows(0)
		g.serves(third, 0, password(first))
		s.serve(0, s.VRAddr(0), vr)
		s.servePasswords(0, named, third)
		g.says(g.gets(first), "applied; 10.1.1.77 has been told")
		g.heard(third, askedAndTold)
	})
}

// Until a password is applied and on record, each boot hands it over anew.
func TestCredentialsNotAppliedAreHandedOverAgain(t *testing.T) {
	for name, image := range images {
		t.Run(name, func(t *testing.T) {
			start(t, connected, func(s *scenario) {
				g := s.guest(image)
				vr := g.vr(0)
				g.serves(vr, 0, password(first))
				for _, b := range []boot{{fails: "set_passwords"}, {cut: "set_passwords"}, {cut: atReady}} {
					shadow := read("/etc/shadow")
					r := g.handed(b)
					if b.cut == "set_passwords" { // the power fails before that is on disk
						s.must(os.WriteFile("/etc/shadow", []byte(shadow), 0o640))
					}
					g.heard(vr, asked)
					if b.fails != "" {
						g.says(r, "not applied, ")
						g.says(r, "cloud-init's set_passwords failed in its ")
					}
					if b.cut != atReady && !strings.Contains(r.ran, "set_passwords") {
						s.Errorf("%+v: got the modules %q, want set_passwords too", b, r.ran)
					}
					if text := read(records["set_passwords"]); !strings.HasPrefix(text, `{"instance-id":"`+instance+`","handed-over":`) {
						s.Errorf("%+v: got %q on record, want it as handed over alone", b, text)
					}
				}
				g.ran(g.gets(first), "set_passwords")
				g.heard(vr, askedAndTold)
			})
		})
	}
}

// The service ends before it can record that a password was applied, at a first boot and
// at a reset. It is recognised, and not applied over what the user has chosen since.
func TestCredentialsAppliedBeforeCutAreNotAppliedAgain(t *testing.T) {
	for name, image := range images {
		t.Run(name, func(t *testing.T) {
			start(t, connected, func(s *scenario) {
				g := s.guest(image)
				vr := g.vr(0)
				for i, text := range []string{first, second} {
					g.serves(vr, 0, password(text))
					g.handed(boot{cut: "set_passwords"})
					r := g.handedNone()
					g.says(r, "served again, and applied at an earlier boot; 10.1.1.1 has been told")
					g.heard(vr, askedAndTold)
					g.lets(text)

					text += "!"
					g.serves(vr, 0, password(text))
					g.handed(boot{cut: "set_passwords"})
					mine := fmt.Sprintf("$y$j9T$mine$%d", i)
					g.sets(mine)
					for range 2 {
						r := g.handedNone()
						g.says(r, "one waits at 10.1.1.1 and is not applied, since the password of debian was changed after it was handed to cloud-init")
						g.heard(vr, asked)
					}
					if !strings.Contains(read("/etc/shadow"), mine) {
						s.Errorf("got the shadow file %q, want the user's choice in it", read("/etc/shadow"))
					}
				}
				g.serves(vr, 0, password(first+second)) // another reset
				g.gets(first + second)
				g.heard(vr, askedAndTold)
			})
		})
	}
}

// handedNone boots and expects that cloud-init is handed no password.
func (g *guest) handedNone() *booted {
	g.Helper()
	r := g.boot(boot{})
	if strings.Contains(r.dropIn, "password") {
		g.Errorf("got %q handed over, want no password", r.dropIn)
	}
	return r
}

// A password that is on record is not applied again, whatever has become of the
// acknowledgement.
func TestCredentialsServedAgainAreNotApplied(t *testing.T) {
	start(t, connected, func(s *scenario) {
		g := s.guest(bookworm)
		vr := g.vr(0)
		recognised := func() {
			s.Helper()
			r := g.untouched(boot{})
			g.ran(r, "")
			g.says(r, "10.1.1.1 has been told")
			g.says(r, "served again, and applied at an earlier boot")
			g.heard(vr, askedAndTold)
		}
		for _, fault := range []vrtest.Fault{{Hang: true}, {Reset: true}} {
			text := fmt.Sprintf("%t %s", fault.Hang, secret)
			g.serves(vr, 0, password(text))
			fault.Port, fault.Match = vrtest.PasswordPort, vrtest.DomURequest("saved_password")
			vr.SetFaults(fault)
			g.handed(boot{cut: whenTelling})
			g.lets(text)
			vr.SetFaults()
			g.serves(vr, 0, password(text)) // it has not been heard
			recognised()
		}
		g.serves(vr, 0, password(first))
		vr.SetFaults(vrtest.Fault{Port: vrtest.PasswordPort, Match: vrtest.DomURequest("saved_password"), Times: 1, Reset: true})
		if r := g.gets(first); strings.Contains(r.dropIn, "ssh_pwauth") { // as the owner may have changed it
			s.Errorf("got %q handed over, want it without ssh_pwauth", r.dropIn)
		}
		g.heard(vr, askedAndTold+" saved_password")
		g.serves(vr, 0, password(first)) // the VR has been rebuilt
		recognised()
		g.lets(first)
	})
}

// The record of a disk that has become another VM's counts for nothing. Nor is
// anything asked in a boot in which cloud-init has had its turn.
func TestCredentialsOfOtherInstanceDoNotCount(t *testing.T) {
	start(t, connected, func(s *scenario) {
		g := s.guest(sid)
		vr := g.vr(0)
		g.serves(vr, 0, password(first))
		g.gets(first)
		g.hash, g.hostKeys = "", false // cloud-init makes both anew
		g.serves(vr, 0, password(first), another)
		r := g.gets(first)
		g.ran(r, firstBoot)
		if !strings.Contains(r.dropIn, "ssh_pwauth: true\n") {
			s.Errorf("got %q handed over, want ssh_pwauth: true for the new VM", r.dropIn)
		}

		vr.ResetLog()
		g.serves(vr, 0, password(second), another)
		if o := s.run(); o.err != nil || read(dropInFile) != "" {
			s.Errorf("got error %v and %q handed over by a second run in this boot, want neither", o.err, read(dropInFile))
		}
		g.heard(vr, "")
	})
}

// another is another VM.
func another(vm *vrtest.VM) {
	const id = "0f8fad5b-d9cb-469f-a165-70867728950e"
	vm.Set("instance-id", id)
	vm.Set("vm-id", id)
}
