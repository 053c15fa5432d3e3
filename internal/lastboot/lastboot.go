// Package lastboot keeps a copy of what the virtual router said at the last boot,
// for a boot at which it stays silent: without any data, cloud-init would take the
// VM for another one, with new host keys and no host name.
//
// The copy is bound to the machine. A disk that has become another machine's, as
// a clone or from a snapshot, must not bring the old one's identity along.
package lastboot

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/nm-cloud-seed/nm-cloud-seed/datasource"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/atomicfile"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/rootfs"
)

// File is the copy's name. Only root can read it: there may be secrets in the
// user-data.
const File = "last-boot.json"

// maxFile is far above what a virtual router can serve: user-data of 768 KiB, in
// base64, and metadata.
const maxFile = 16 << 20 // bytes

// Copy is the data of the last boot.
type Copy struct {
	Machine  Machine              `json:"machine"`
	Fetched  time.Time            `json:"fetched"`
	Instance *datasource.Instance `json:"instance"`
}

// Load reads the copy in a directory. The error is fs.ErrNotExist if there is
// none. It repeats nothing of the copy.
func Load(dir string) (*Copy, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("cannot read the data of the last boot: %w", err)
	}
	defer func() { _ = root.Close() }()
	path := filepath.Join(dir, File)
	data, err := rootfs.Read(root.FS(), File, maxFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("there is no data of the last boot in %s: %w", dir, fs.ErrNotExist)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read the data of the last boot: %s: %s (it may be removed)", path, rootfs.Reason(err))
	}
	var c Copy
	if json.Unmarshal(data, &c) != nil || c.Machine == (Machine{}) || c.Instance == nil || c.Instance.ID == "" {
		return nil, fmt.Errorf("cannot read the data of the last boot: %s is damaged (it may be removed)", path)
	}
	return &c, nil
}

// Save replaces the copy in a directory. It is on disk when Save returns.
func Save(dir string, c Copy) error {
	data, err := json.Marshal(c)
	if err == nil {
		if err = atomicfile.PrivateDir(dir); err == nil {
			err = atomicfile.WriteFile(filepath.Join(dir, File), append(data, '\n'), 0o600)
		}
	}
	if err != nil {
		return fmt.Errorf("cannot keep the data for the next boot: %w", err)
	}
	return nil
}
