package cloudinit

import (
	"slices"
	"strings"
	"unicode"

	"go.yaml.in/yaml/v3"
)

// DefaultUser is the name of the user whose password and SSH keys cloud-init sets,
// "" if there is none: `user` names him, or the distribution's configuration
// does, if he is among the users (normalize_users_groups and extract_default in
// cloudinit/distros/ug_util.py).
func (c Config) DefaultUser() string {
	name := word(c.files.at("system_info", "default_user", "name").first())
	user := c.files.at("user")
	switch n := user.first(); {
	case !user.truthy() || n.Kind == yaml.SequenceNode || n.Kind == yaml.ScalarNode && !isString(n):
		if !c.hasDefault() {
			return ""
		}
	case n.Kind == yaml.ScalarNode:
		name = n.Value
	case len(c.files.at("user", "name")) > 0:
		name = word(c.files.at("user", "name").first())
	}
	odd := func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) || r == ':' || r == '/' }
	if len(name) > maxName || strings.ContainsFunc(name, odd) {
		return "" // no such user can be
	}
	return name
}

// hasDefault says whether the default user is among the users, which may be a list,
// a mapping, or words with commas between them (_normalize_users in the same file).
func (c Config) hasDefault() bool {
	switch users := c.files.at("users").first(); users.Kind {
	case yaml.SequenceNode:
		return slices.ContainsFunc(users.Content, isDefault)
	case yaml.MappingNode:
		n := c.files.at("users", "default").first()
		return n.Kind == yaml.MappingNode || isTrue(n)
	default:
		return slices.ContainsFunc(strings.Split(users.Value, ","), func(word string) bool { return strings.TrimSpace(word) == "default" })
	}
}

// isDefault is about one of the users.
func isDefault(n *yaml.Node) bool {
	switch n = real(n); n.Kind {
	case yaml.MappingNode:
		name := value(n, "name")
		return name == nil || name.Value == "default"
	case yaml.SequenceNode:
		return slices.ContainsFunc(n.Content, func(n *yaml.Node) bool { return real(n).Value == "default" })
	}
	return slices.Contains(strings.Split(strings.TrimSpace(n.Value), ","), "default")
}

func isString(n *yaml.Node) bool { return n.ShortTag() == "!!str" && !isBool(n) }
