package cloudinit

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var testLease = Lease{Index: 2, Server: netip.MustParseAddr("10.1.1.1"), Router: netip.MustParseAddr("10.1.1.254"), Domain: "cs2cloud.internal"}

// tree is every file below dir with its mode and content.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		files[name] = info.Mode().String() + "\n" + string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestPlaceLeaseLeavesNetworkdAlone(t *testing.T) {
	const file = "run/systemd/netif/leases/2"
	const ours = "-rw-r--r--\n# Written by nm-cloud-seed, for cloud-init.\nSERVER_ADDRESS=10.1.1.1\nROUTER=10.1.1.254\nDOMAINNAME=cs2cloud.internal\n"
	for _, tt := range []struct {
		name   string
		before map[string]string
		want   string // the file, "" for none
		kept   string
	}{
		{"no systemd-networkd", nil, ours, ""},
		{"an earlier one of ours", map[string]string{file: leaseMark + "SERVER_ADDRESS=10.1.1.9\n"}, ours, ""},
		{"unmanaged", map[string]string{"run/systemd/netif/links/2": "# private\nADMIN_STATE=unmanaged\n"}, ours, ""},
		{"pending", map[string]string{"run/systemd/netif/links/2": "ADMIN_STATE=pending\n"}, ours, ""},
		{"initialized: it has not decided yet", map[string]string{"run/systemd/netif/links/2": "ADMIN_STATE=initialized\n"}, ours, ""},
		{"linger: the interface is gone", map[string]string{"run/systemd/netif/links/2": "ADMIN_STATE=linger\n"}, ours, ""},
		{"another interface's", map[string]string{"run/systemd/netif/links/3": "ADMIN_STATE=configured\n"}, ours, ""},
		{"configured", map[string]string{"run/systemd/netif/links/2": "ADMIN_STATE=configured\n"}, "", "systemd-networkd runs interface 2"},
		{"configuring", map[string]string{"run/systemd/netif/links/2": "ADMIN_STATE=configuring\n"}, "", "systemd-networkd runs interface 2"},
		{"failed", map[string]string{"run/systemd/netif/links/2": "ADMIN_STATE=failed\n"}, "", "systemd-networkd runs interface 2"},
		{"a lease of its own", map[string]string{file: "SERVER_ADDRESS=10.9.9.9\n"}, "-rw-r--r--\nSERVER_ADDRESS=10.9.9.9\n", "systemd-networkd runs interface 2"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			root := t.TempDir()
			for name, data := range tt.before {
				put(t, root, name, data)
			}
			f, dir := Files{Root: root}, filepath.Join(root, "run/nm-cloud-seed")
			if err := testLease.LayReady(dir); err != nil {
				t.Fatal(err)
			}
			kept, err := f.PlaceLease(dir)
			if err != nil || kept != tt.kept {
				t.Errorf("got %q, %v; want %q", kept, err, tt.kept)
			}
			if diff := cmp.Diff(tt.want, tree(t, root)[file]); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}

			// And back again: what is not ours stays.
			if err := f.RemoveLease(); err != nil {
				t.Fatal(err)
			}
			if got := tree(t, root)[file]; tt.kept == "" && got != "" || tt.kept != "" && got != tt.want {
				t.Errorf("after the removal: got %q, want what is not ours of %q", got, tt.want)
			}
			if err := ClearReady(dir); err != nil {
				t.Fatal(err)
			}
			if _, err := f.PlaceLease(dir); err != nil {
				t.Error(err)
			}
			if got := tree(t, root)[file]; got != "" && got != tt.want {
				t.Errorf("placed after Clear: got %q, want %q or nothing", got, tt.want)
			}
		})
	}
}

func TestLeaseFileHasWhatIsKnown(t *testing.T) {
	got := string(Lease{Index: 2, Server: testLease.Server}.file())
	if want := leaseMark + "SERVER_ADDRESS=10.1.1.1\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	for _, l := range []Lease{{Index: 2}, {Server: testLease.Server}} {
		if err := l.LayReady(t.TempDir()); err == nil {
			t.Errorf("%+v: got no error, want one", l)
		}
	}
}

// TestLeaseIsNotPlacedWhenCloudInitIsDone: a service that is restarted after cloud-init has ended puts
// nothing there, where nobody would clear it away.
func TestLeaseIsNotPlacedWhenCloudInitIsDone(t *testing.T) {
	root := t.TempDir()
	const file = "run/systemd/netif/leases/2"
	put(t, root, file, leaseMark+"SERVER_ADDRESS=10.1.1.9\n")
	put(t, root, resultFile, "{}")
	dir := filepath.Join(root, "run/nm-cloud-seed")
	if err := testLease.LayReady(dir); err != nil {
		t.Fatal(err)
	}
	if kept, err := (Files{Root: root}).PlaceLease(dir); err != nil || kept != "cloud-init is done in this boot" {
		t.Errorf("got %q, %v, want: cloud-init is done in this boot", kept, err)
	}
	if got := tree(t, root)[file]; got != "" {
		t.Errorf("got %q, want nothing", got)
	}
}

func TestPlaceLeaseFails(t *testing.T) {
	root := t.TempDir()
	dir := filepath.Join(root, "run/nm-cloud-seed")
	if err := testLease.LayReady(dir); err != nil {
		t.Fatal(err)
	}
	put(t, root, "run/systemd/netif", "")
	if _, err := (Files{Root: root}).PlaceLease(dir); err == nil || !strings.Contains(err.Error(), "not a directory") {
		t.Errorf("got %v, want: ... not a directory", err)
	}
	for range 2 {
		if err := (Files{Root: root + "/missing"}).RemoveLease(); err != nil {
			t.Error(err)
		}
	}
}
