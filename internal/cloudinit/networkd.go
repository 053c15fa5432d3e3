package cloudinit

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"

	"github.com/nm-cloud-seed/nm-cloud-seed/internal/atomicfile"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/netservice"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/rootfs"
)

// Lease is the compatibility lease. Up to 25.1, cloud-init's CloudStack
// datasource wants a virtual router's address before it looks at the seed, and
// the one place where all those versions look, and nothing of NetworkManager's
// is, are systemd-networkd's lease files (get_vr_address in
// DataSourceCloudStack.py, networkd_load_leases in net/dhcp.py).
type Lease struct {
	Index  int        // kernel interface index
	Server netip.Addr // the virtual router
	Router netip.Addr // zero: none
	Domain string     // a valid DNS name, or empty; never empty where cloud-init must not ask further
}

// It goes two ways: the service, which has no privileges, lays it ready in its
// own directory, and a step of its own that may write in systemd-network's
// directory takes it there.
const (
	readyDir = "private/leases" // relative to our runtime directory

	networkdLeases = "run/systemd/netif/leases" // a file per interface index

	maxLease = 4 << 10 // bytes; ours
)

// leaseMark begins each file of ours.
const leaseMark = "# Written by nm-cloud-seed, for cloud-init.\n"

func (l Lease) file() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%sSERVER_ADDRESS=%s\n", leaseMark, l.Server)
	if l.Router.IsValid() {
		fmt.Fprintf(&b, "ROUTER=%s\n", l.Router)
	}
	if l.Domain != "" {
		fmt.Fprintf(&b, "DOMAINNAME=%s\n", l.Domain)
	}
	return b.Bytes()
}

// LayReady puts the lease into our runtime directory, dir, for PlaceLease.
func (l Lease) LayReady(dir string) error {
	if l.Index <= 0 || !l.Server.IsValid() {
		return errors.New("cannot write the compatibility lease: no interface index, or no virtual router")
	}
	dir = filepath.Join(dir, readyDir)
	if err := atomicfile.PrivateDir(dir); err != nil {
		return err
	}
	return atomicfile.WriteFile(filepath.Join(dir, strconv.Itoa(l.Index)), l.file(), 0o600)
}

// ClearReady takes back what LayReady did.
func ClearReady(dir string) error {
	if err := os.RemoveAll(filepath.Join(dir, readyDir)); err != nil {
		return fmt.Errorf("cannot clear away the compatibility lease: %w", err)
	}
	return nil
}

// PlaceLease puts the lease that lies ready in dir, if there is one, where
// cloud-init looks, in the place of an earlier one of ours. It keeps off where
// systemd-networkd runs the interface, or nobody is left to look or to clear it
// away, and then kept says so.
func (f Files) PlaceLease(dir string) (kept string, err error) {
	if err := f.RemoveLease(); err != nil {
		return "", err
	}
	if f.Done() {
		return "cloud-init is done in this boot", nil
	}
	fsys, done, err := rootfs.Open(f.Root)
	if err != nil {
		return "", err
	}
	defer done()
	entries, err := os.ReadDir(filepath.Join(dir, readyDir))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("cannot place the compatibility lease: %w", err)
	}
	for _, e := range entries {
		index, err := strconv.Atoi(e.Name())
		if err != nil {
			continue // unfinished
		}
		if networkdRuns(fsys, index) {
			return fmt.Sprintf("systemd-networkd runs interface %d", index), nil
		}
		data, err := rootfs.Read(os.DirFS(filepath.Join(dir, readyDir)), e.Name(), maxLease)
		if err != nil {
			return "", fmt.Errorf("cannot place the compatibility lease: %w", err)
		}
		to := filepath.Join(f.Root, "/", networkdLeases)
		if err := atomicfile.MkdirAll(to, 0o755); err != nil {
			return "", err
		}
		if err := atomicfile.WriteFile(filepath.Join(to, e.Name()), data, 0o644); err != nil {
			return "", err
		}
	}
	return "", nil
}

// networkdRuns reports whether systemd-networkd runs an interface: it has a lease there,
// or says so.
func networkdRuns(fsys fs.FS, index int) bool {
	if _, err := fs.Stat(fsys, networkdLeases+"/"+strconv.Itoa(index)); err == nil {
		return true // ours is gone by now
	}
	return netservice.Files{FS: fsys}.NetworkdRuns(index)
}

// RemoveLease removes the compatibility lease from where cloud-init looks, and
// nothing that is not ours. It is no error if there is none.
func (f Files) RemoveLease() error {
	dir := filepath.Join(f.Root, "/", networkdLeases)
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot remove the compatibility lease: %w", err)
	}
	for _, e := range entries {
		data, err := rootfs.Read(os.DirFS(dir), e.Name(), maxLease)
		if err != nil || !bytes.HasPrefix(data, []byte(leaseMark)) {
			continue // too big, or not to be read: not ours
		}
		if err := atomicfile.Remove(filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	return nil
}
