package nm

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestForgetLeases: ours go, whatever the DHCP client and the device's name;
// everything else that NetworkManager keeps stays.
func TestForgetLeases(t *testing.T) {
	const other = "11111111-2222-3333-4444-555555555555"
	lease := func(client, id, device string) string { return client + "-" + id + "-" + device + ".lease" }
	ours := func(client, device string) string { return lease(client, connectionUUID(device), device) }
	spare := func(client, device string) string { return lease(client, spareUUID(device), device) }
	for name, test := range map[string]struct{ goes, stays []string }{
		"nothing":              {},
		"ours":                 {goes: []string{ours("internal", "eth0"), ours("internal", "ens3"), ours("internal", "x")}},
		"spare":                {goes: []string{spare("internal", "eth0"), spare("dhclient", "veth-a-b"), ours("internal", "eth0")}},
		"dashes":               {goes: []string{ours("internal", "veth-a-b"), ours("internal", "-"), ours("internal", "a--"), ours("internal", "eth0.lease")}},
		"UUID as a name":       {goes: []string{ours("internal", other)}},
		"other clients":        {goes: []string{ours("dhclient", "eth0"), ours("dhclient6", "eth0"), ours("dhcpcd", "eth0-x")}},
		"another connection":   {stays: []string{lease("internal", other, "eth0"), lease("dhclient", other, "eth0")}},
		"of another device":    {stays: []string{lease("internal", connectionUUID("eth0"), "eth1"), lease("internal", connectionUUID("eth0"), "eth0-1"), lease("internal", connectionUUID("veth-a"), "a"), lease("internal", spareUUID("eth0"), "eth1")}},
		"in upper case":        {stays: []string{lease("internal", strings.ToUpper(connectionUUID("eth0")), "eth0"), lease("internal", connectionUUID("eth0"), "ETH0")}},
		"no suffix":            {stays: []string{strings.TrimSuffix(ours("internal", "eth0"), ".lease"), ours("internal", "eth0") + "~", ours("internal", "eth0") + ".bak"}},
		"no client":            {stays: []string{connectionUUID("eth0") + "-eth0.lease"}},
		"no device":            {stays: []string{lease("internal", connectionUUID(""), ""), "internal-" + connectionUUID("") + ".lease"}},
		"no dash":              {stays: []string{"internal-" + connectionUUID("eth0") + "eth0.lease", "internal-" + connectionUUID("eth0") + "_eth0.lease"}},
		"too short":            {stays: []string{".lease", "-.lease", "--.lease", "internal-.lease", "internal-eth0.lease"}},
		"NetworkManager's own": {stays: []string{"secret_key", "seen-bssids", "timestamps", "NetworkManager.state", "NetworkManager-intern.conf", "dhclient-eth0.conf"}},
		"among others":         {goes: []string{ours("internal", "eth0")}, stays: []string{lease("internal", other, "eth0"), "secret_key"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			for _, file := range slices.Concat(test.goes, test.stays) {
				put(t, root, file)
			}
			for range 2 {
				if err := ForgetLeases(root); err != nil {
					t.Fatal(err)
				}
				slices.Sort(test.stays)
				if diff := cmp.Diff(test.stays, left(t, root)); diff != "" {
					t.Errorf("-want +left:\n%s", diff)
				}
			}
		})
	}
}

// TestForgetLeasesHostile: what cannot be removed is named, and the rest goes
// all the same.
func TestForgetLeasesHostile(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	if err := ForgetLeases(root); err != nil {
		t.Errorf("NetworkManager has never run: got the error %v, want none", err)
	}
	ours := func(device string) string { return "internal-" + connectionUUID(device) + "-" + device + ".lease" }
	put(t, root, "theirs")
	put(t, root, ours("eth0")+"/x")
	put(t, root, ours("eth9"))
	path := func(name string) string { return filepath.Join(root, leaseDir, name) }
	for _, err := range []error{
		os.Symlink(path("theirs"), path(ours("eth1"))),
		os.Symlink("nowhere", path(ours("eth2"))),
		syscall.Mkfifo(path(ours("eth3")), 0o600),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	want := "cannot remove " + path(ours("eth0")) + ": directory not empty (move away what stands there)"
	if err := ForgetLeases(root); err == nil || err.Error() != want {
		t.Errorf("error %v\nwant  %s", err, want)
	}
	if diff := cmp.Diff([]string{ours("eth0"), "theirs"}, left(t, root)); diff != "" {
		t.Errorf("-want +left:\n%s", diff)
	}
	if err := errors.Join(os.RemoveAll(path("")), os.WriteFile(path(""), nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	if err := ForgetLeases(root); !errors.Is(err, syscall.ENOTDIR) {
		t.Errorf("a file in place of the directory: %v", err)
	}
}

func put(t *testing.T, root, file string) {
	t.Helper()
	path := filepath.Join(root, leaseDir, file)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
}

// left lists what is there, sorted.
func left(t *testing.T, root string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(root, leaseDir))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}
