package cloudinit

import (
	"cmp"

	"go.yaml.in/yaml/v3"
)

// What the configuration says of passwords and keys. Each is the file and line
// that says so, such as "/etc/cloud/cloud.cfg:12", or empty.

// With is the configuration with user-data, which overrides it and our drop-in
// (ConfigMerger in cloudinit/helpers.py).
func (c Config) With(u UserConfig) Config {
	c.files = append(u.layers[:len(u.layers):len(u.layers)], c.files...)
	c.later = append(u.layers[:len(u.layers):len(u.layers)], c.later...)
	return c
}

// PasswordAuth is where ssh_pwauth is set, whatever to: that word stays, and a
// Handover must not say another.
func (c Config) PasswordAuth() string { return c.files.at("ssh_pwauth").where() }

// Passwords is what keeps cloud-init from setting a handed over password: another
// one, or chpasswd, with which it looks at no password (cc_set_passwords.py). An
// empty password, or null, is another one, too: cloud-init sets none, or "None".
func (c Config) Passwords() string {
	users := c.files.at("chpasswd", "users")
	if n := users.first(); n.ShortTag() == "!!null" || n.Kind == yaml.SequenceNode && len(n.Content) == 0 {
		users = nil
	}
	list := c.files.at("chpasswd", "list")
	if !list.truthy() {
		list = nil
	}
	return cmp.Or(c.later.at("password").where(), users.where(), list.where())
}

// PublicKeysOff is where cloud-init is told not to take SSH keys from metadata
// (cc_ssh.py).
func (c Config) PublicKeysOff() string {
	if allow := c.files.at("allow_public_ssh_keys"); !isTrue(allow.first()) {
		return allow.where()
	}
	return ""
}

// HostKeys is what changes the host keys when the module ssh runs again, in spite
// of a Handover.
func (c Config) HostKeys() string {
	del := c.later.at("ssh_deletekeys")
	if !del.truthy() {
		del = nil
	}
	return cmp.Or(del.where(), c.files.at("ssh_keys").where())
}
