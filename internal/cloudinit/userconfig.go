package cloudinit

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"

	"github.com/nm-cloud-seed/nm-cloud-seed/internal/rootfs"
)

// maxUserConfig is more than CloudStack takes: 768 KiB.
const maxUserConfig = 1 << 20 // bytes

// UserConfig is user-data. Nothing of it leaves this package.
type UserConfig struct {
	text   []byte
	layers layers // at most one
}

// ParseUserConfig reads user-data as it comes, for its cloud-config: what is
// anything else (several parts, a template, compressed), too big or no YAML
// decides nothing.
func ParseUserConfig(text []byte) UserConfig { return userConfig("user-data", text) }

// UserConfig reads the cloud-config that cloud-init has made of all parts of the
// user-data. It does that in each boot, in its network stage, so before that it
// is the last boot's (handlers/cloud_config.py, 22.4.2 to 26.2; vendor-data, which
// CloudStack does not have, goes elsewhere). It is no error if there is none.
func (f Files) UserConfig(instance string) (UserConfig, error) {
	name, err := inInstance(instance, "cloud-config.txt")
	if err != nil {
		return UserConfig{}, err
	}
	fsys, done, err := rootfs.Open(f.Root)
	if err != nil {
		return UserConfig{}, err
	}
	defer done()
	name = instancesDir + "/" + name
	text, err := rootfs.Read(fsys, name, maxUserConfig)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return UserConfig{}, nil
	case err != nil:
		return UserConfig{}, fmt.Errorf("cannot read /%s: %s", name, rootfs.Reason(err))
	}
	return userConfig("/"+name, text), nil
}

func userConfig(path string, text []byte) UserConfig {
	u := UserConfig{text: text}
	if len(text) > maxUserConfig || !isCloudConfig(text) {
		return u
	}
	if top, err := parse(text); err == nil && top != nil {
		u.layers = layers{{path, top}}
	}
	return u
}

// isCloudConfig is type_from_starts_with in cloudinit/handlers/__init__.py.
func isCloudConfig(text []byte) bool {
	const longest = len("#cloud-config-archive")
	text = bytes.TrimSpace(text)
	word := bytes.ToLower(text[:min(len(text), longest)])
	return bytes.HasPrefix(word, []byte("#cloud-config")) &&
		!bytes.HasPrefix(word, []byte("#cloud-config-archive")) && !bytes.HasPrefix(word, []byte("#cloud-config-jsonp"))
}

// Mentions says whether a text, such as a key's base64, is anywhere in it.
func (u UserConfig) Mentions(text string) bool { return bytes.Contains(u.text, []byte(text)) }

// Empty says whether there is none.
func (u UserConfig) Empty() bool { return len(u.text) == 0 }
