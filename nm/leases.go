package nm

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/nm-cloud-seed/nm-cloud-seed/internal/atomicfile"
)

// leaseDir is where NetworkManager keeps the last lease of each connection:
// internal-UUID-DEVICE.lease, or with the name of another DHCP client.
const leaseDir = "/var/lib/NetworkManager"

// ForgetLeases removes the leases of temporary connections below root ("" is the
// running system). With one, NetworkManager asks for that address again, which on
// a clone is another VM's; without, the answer takes no longer.
func ForgetLeases(root string) error {
	dir := filepath.Join(root, leaseDir)
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	err = atomicfile.Error("list", dir, err)
	for _, e := range entries {
		if ourLease(e.Name()) {
			err = errors.Join(err, atomicfile.Remove(filepath.Join(dir, e.Name())))
		}
	}
	return err
}

// ourLease says whether the UUID in a lease's name is one of a temporary connection
// on its device.
func ourLease(name string) bool {
	name, ok := strings.CutSuffix(name, ".lease")
	_, name, _ = strings.Cut(name, "-")
	const id = 36
	if !ok || len(name) <= id+1 || name[id] != '-' {
		return false
	}
	device := name[id+1:]
	return name[:id] == connectionUUID(device) || name[:id] == spareUUID(device)
}
