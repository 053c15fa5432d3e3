package cloudinit

import (
	"path/filepath"

	"github.com/nm-cloud-seed/nm-cloud-seed/internal/atomicfile"
)

// dropIn is the file that the package's symlink leads to, relative to our runtime
// directory. Only root may see what is in it, so its directory is private.
const (
	dropIn       = "private/cloud.cfg"
	dropInLink   = configDir + "/99-nm-cloud-seed.cfg"
	dropInTarget = "/run/nm-cloud-seed/" + dropIn
)

// giveUp makes the CloudStack datasource end its own search at once
// (wait_for_metadata_service in DataSourceCloudStack.py).
const giveUp = `# Written by nm-cloud-seed: it found no virtual router in time, so that
# cloud-init need not search for another 120 s, which would hold up the boot.
# It goes away as soon as there is a seed.
datasource: {CloudStack: {max_wait: 0}}
`

// GiveUp tells cloud-init not to search for a virtual router itself. dir is our
// runtime directory, /run/nm-cloud-seed.
func GiveUp(dir string) error { return writeDropIn(dir, giveUp) }

func writeDropIn(dir, text string) error {
	path := filepath.Join(dir, dropIn)
	if err := atomicfile.PrivateDir(filepath.Dir(path)); err != nil {
		return err
	}
	return atomicfile.WriteFile(path, []byte(text), 0o600)
}

// TakeBack takes GiveUp or Handover.Write back. It is no error if there is nothing
// to take back.
func TakeBack(dir string) error { return atomicfile.Remove(filepath.Join(dir, dropIn)) }
