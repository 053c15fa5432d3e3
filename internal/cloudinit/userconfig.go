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
	text   []byte // of all parts
	layers layers
	opaque bool // some parts only cloud-init can read
}

// ParseUserConfig reads user-data as it comes, for its cloud-config, which may be
// in several parts, and compressed. What only cloud-init itself can read (a
// template, an archive, what is elsewhere), too much or no YAML decides nothing.
func ParseUserConfig(text []byte) UserConfig {
	var u UserConfig
	for _, p := range parts(text) {
		u.text = append(append(u.text, p.text...), '\n')
		u.opaque = u.opaque || p.isOpaque()
		if p.typ == cloudConfigType || isCloudConfig(p.text) {
			// By default a later part is merged over those before it.
			u.layers = append(configLayer("user-data", p.text), u.layers...)
		}
	}
	return u
}

const cloudConfigType = "text/cloud-config"

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
	if !isCloudConfig(text) {
		return UserConfig{text: text}, nil
	}
	return UserConfig{text: text, layers: configLayer("/"+name, text)}, nil
}

// configLayer is a layer, or none if the text is none.
func configLayer(path string, text []byte) layers {
	if len(text) > maxUserConfig {
		return nil
	}
	if top, err := parse(text); err == nil && top != nil {
		return layers{{path, top}}
	}
	return nil
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
