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

// noSearch makes the CloudStack datasource end its own search at once
// (wait_for_metadata_service in DataSourceCloudStack.py).
const noSearch = `# Written by nm-cloud-seed, which looks for the virtual router itself: by its
# own search, cloud-init would hold up the boot for 120 s if there is none, and
# take a password that it does not apply. A seed it finds all the same.
datasource: {CloudStack: {max_wait: 0}}
`

// NoSearch tells cloud-init not to search for a virtual router itself: before its
// local stage, which since 25.2 comes before us, and when we have found none. dir
// is our runtime directory, /run/nm-cloud-seed.
func NoSearch(dir string) error { return writeDropIn(dir, noSearch) }

func writeDropIn(dir, text string) error {
	path := filepath.Join(dir, dropIn)
	if err := atomicfile.PrivateDir(filepath.Dir(path)); err != nil {
		return err
	}
	return atomicfile.WriteFile(path, []byte(text), 0o600)
}

// TakeBack takes NoSearch or Handover.Write back. It is no error if there is nothing
// to take back.
func TakeBack(dir string) error { return atomicfile.Remove(filepath.Join(dir, dropIn)) }
