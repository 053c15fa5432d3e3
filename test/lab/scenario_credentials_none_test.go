//go:build integration

package lab_test

import (
	"cmp"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/nm-cloud-seed/nm-cloud-seed/datasource/cloudstack/vrtest"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/config"
)

// Where no password is applied.

// Where there is no password to be had, the boot goes on without one. How long it
// waits is tested in datasource/cloudstack.
func TestCredentialsBootWithoutPassword(t *testing.T) {
	page := []byte("<html><body>Login " + secret + "</body></html>\n")
	const once = "send_my_password"
	for _, tt := range []struct {
		name     string
		password string
		old      bool
		fault    vrtest.Fault
		says     string
		heard    string // "": more than once
	}{
		{name: "none", says: "no password is waiting", heard: once},
		{name: "none at an old server", old: true, says: "the password server's answer is empty", heard: once},
		{name: "bad_request", fault: vrtest.Fault{Body: []byte("bad_request")}, says: "did not understand the request", heard: once},
		{name: "a page", fault: vrtest.Fault{Body: page, ContentType: "text/html"}, says: "is a page, not a password", heard: once},
		{name: "404", fault: vrtest.Fault{Status: 404}, says: "404 Not Found", heard: once},
		{name: "a redirect", fault: vrtest.Fault{RedirectTo: "http://10.1.1.1:8080/x"}, says: "HTTP status 302", heard: once},
		{name: "control characters", password: secret + "\x1b[2J", says: "characters that no password has", heard: once},
		{name: "two lines", password: secret + "\n" + secret, says: "characters that no password has", heard: once},
		{name: "too long", password: strings.Repeat("x", 512-len(secret)) + secret, says: "over the limit of 511 bytes", heard: once},
		{name: "oversize", fault: vrtest.Fault{Oversize: 1 << 30}, says: "over the limit of 511 bytes", heard: once},
		{name: "500", fault: vrtest.Fault{Status: 500}, says: "HTTP status 500"},
		{name: "a reset", fault: vrtest.Fault{Reset: true}, says: "connection reset by peer"},
		{name: "no answer", fault: vrtest.Fault{Hang: true}, says: "no answer in time", heard: once},
		{name: "drop by drop", password: strings.Repeat("x", 200) + secret, fault: vrtest.Fault{Drip: 300 * time.Millisecond}, says: "no answer in time", heard: once},
	} {
		t.Run(tt.name, func(t *testing.T) {
			start(t, connected, func(s *scenario) {
				g := s.guest(sid)
				vr := g.vr(0)
				g.serves(vr, 0, password(tt.password))
				vr.SetOldPasswordServer(tt.old)
				tt.fault.Port = vrtest.PasswordPort
				vr.SetFaults(tt.fault)
				g.none(tt.says)
				if got := words(vr); tt.heard != "" && got != tt.heard || tt.heard == "" && !strings.HasPrefix(got, asked) {
					s.Errorf("got the requests %q at the password server, want %q", got, cmp.Or(tt.heard, asked+" …"))
				}
			})
		})
	}
	t.Run("a closed port", func(t *testing.T) {
		start(t, connected, func(s *scenario) {
			g := s.guest(sid)
			s.serve(0, s.VRAddr(0), g.knows(0))
			g.none("DHCP server 10.1.1.1: connection refused")
		})
	})
	t.Run("another program's port", func(t *testing.T) {
		start(t, connected, func(s *scenario) {
			g := s.guest(sid)
			web := vrtest.New()
			web.SetFaults(vrtest.Fault{Body: []byte("OK " + secret)})
			s.serve(0, s.VRAddr(0), g.knows(0))
			s.must(s.Serve(s.Context(), 0, netip.AddrPortFrom(s.VRAddr(0), 8080), web.ServeMetadata))
			g.none("not from a CloudStack password server")
		})
	})
}

// none boots without a password.
func (g *guest) none(says string) {
	g.Helper()
	r := g.untouched(boot{})
	at := map[string]float64{}
	for _, step := range r.state.Steps {
		at[step.Name] = step.At
	}
	waited := time.Duration(at["seed"]-at["metadata"]) * time.Millisecond // for the password server
	g.Logf("READY %v later: %s", waited, r.state.Password)
	g.ran(r, firstBoot)
	g.says(r, says)
	if g.told() > 0 || read(records["set_passwords"]) != "" {
		g.Errorf("got %d acknowledgements and the record %q, want none: there was no password", g.told(), read(records["set_passwords"]))
	}
}

// password=no: nobody's password server is asked.
func TestCredentialsPasswordOffAsksNothing(t *testing.T) {
	c := twoNICs(0)
	c.AutoDefault = true
	start(t, c, func(s *scenario) {
		s.config = func(c *config.Config) { c.Password = false }
		g := s.guest(sid)
		for nic := range 2 {
			g.serves(g.vr(nic), nic, password(first))
		}
		r := g.untouched(boot{})
		g.ran(r, firstBoot)
		for _, vr := range g.vrs {
			g.heard(vr, "")
		}
	})
}

// User-data has the last word: what it sets is not overwritten, and the password
// server keeps its password.
func TestCredentialsUserDataPasswordWins(t *testing.T) {
	for _, tt := range []struct{ name, userData, line string }{
		{"password", "#cloud-config\npassword: mine\n", "2"},
		{"chpasswd", "#cloud-config\nchpasswd:\n  users:\n  - {name: debian, password: mine, type: text}\n", "4"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			start(t, connected, func(s *scenario) {
				g := s.guest(sid)
				vr := g.vr(0)
				g.serves(vr, 0, password(first), userData(tt.userData))
				for _, where := range []string{"user-data", instances + "/" + instance + "/cloud-config.txt"} {
					r := g.untouched(boot{})
					g.says(r, "one waits at 10.1.1.1 and stays there, since another is set in "+where+":"+tt.line)
					g.heard(vr, asked)
				}
			})
		})
	}
	// Of user-data in several parts, only cloud-init knows what it says.
	t.Run("parts", func(t *testing.T) {
		start(t, connected, func(s *scenario) {
			g := s.guest(sid)
			vr := g.vr(0)
			g.serves(vr, 0, password(first), userData("Content-Type: multipart/mixed; boundary=x\n\n--x\n"))
			r := g.handed(boot{merged: "#cloud-config\npassword: mine\n"})
			g.says(r, "not applied, ")
			g.says(r, "another is set in "+instances+"/"+instance+"/cloud-config.txt:2")
			g.heard(vr, asked)
			r = g.untouched(boot{merged: "#cloud-config\npassword: mine\n"})
			g.says(r, "one waits at 10.1.1.1 and stays there")
			g.heard(vr, asked)
		})
	})
}
