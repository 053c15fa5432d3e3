//go:build integration

package main

import (
	"net/netip"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/nm-cloud-seed/nm-cloud-seed/datasource/cloudstack/vrtest"
	"github.com/nm-cloud-seed/nm-cloud-seed/test/lab"
)

// TestScriptsInLab runs each script of testdata/lab in a lab of its own. Besides
// the commands of TestScripts there is:
//
//	vr    start a virtual router that knows the VM
func TestScriptsInLab(t *testing.T) {
	eachScript(t, "testdata/lab/*.txtar", func(t *testing.T, p testscript.Params) {
		lab.Run(t, lab.Config{}, func(l *lab.Lab) {
			p.Cmds["vr"] = func(ts *testscript.TestScript, _ bool, _ []string) { ts.Check(serveVR(t, l)) }
			testscript.Run(t, p)
		})
	})
}

// serveVR starts a VR without a password server. Its values tell if one of them
// gets where it should not.
func serveVR(t *testing.T, l *lab.Lab) error {
	vr := vrtest.New()
	vm := vrtest.Example("7d4f1f9a-58c1-4f5e-9a3c-3f0c5d9a1b2e", l.ClientAddr(0))
	vm.Set("token", "SECRET-VALUE")
	vm.UserData = []byte("#cloud-config\npassword: SECRET-USER-DATA\n")
	vr.SetVM(l.ClientAddr(0), vm)
	return l.Serve(t.Context(), 0, netip.AddrPortFrom(l.VRAddr(0), 80), vr.ServeMetadata)
}
