package cloudinit

import (
	"strings"

	"go.yaml.in/yaml/v3"
)

// stages are the stages that run modules, as status.json calls them, in their
// order, and the lists that say which.
var stages = []struct{ name, list string }{
	{"init", "cloud_init_modules"},
	{"modules-config", "cloud_config_modules"},
	{"modules-final", "cloud_final_modules"},
}

// Stage is the first stage that runs a module once per instance, or always, which
// needs no Rerun and leaves no semaphore. It is "" if none does; one that has a
// module run once in the system's life counts as none.
func (c Config) Stage(module string) (stage string, always bool) {
	for _, s := range stages {
		list := c.files.at(s.list).first()
		if list.Kind != yaml.SequenceNode {
			continue
		}
		for _, item := range list.Content {
			name, frequency := entry(real(item))
			if canonical(name) == canonical(module) && frequency != "once" {
				return s.name, frequency == "always"
			}
		}
	}
	return "", false
}

// entry reads set-passwords, [set-passwords, always] or {name: set-passwords,
// frequency: always} (_read_modules in cloudinit/config/modules.py, 22.4.2 to 26.2).
func entry(item *yaml.Node) (name, frequency string) {
	var parts [2]*yaml.Node
	switch item.Kind {
	case yaml.ScalarNode:
		parts[0] = item
	case yaml.SequenceNode:
		copy(parts[:], item.Content)
	case yaml.MappingNode:
		parts[0], parts[1] = value(item, "name"), value(item, "frequency")
	}
	return word(parts[0]), word(parts[1])
}

// word is a scalar's text without blanks around it.
func word(n *yaml.Node) string {
	if n == nil {
		return ""
	}
	if n = real(n); n.Kind != yaml.ScalarNode || n.ShortTag() == "!!null" {
		return ""
	}
	return strings.TrimSpace(n.Value)
}

// canonical is a module's name, of which cloud-init takes several spellings:
// set-passwords, set_passwords, cc_set_passwords, cc_set_passwords.py
// (form_module_name in cloudinit/config/modules.py).
func canonical(module string) string {
	name := strings.ReplaceAll(module, "-", "_")
	if strings.HasSuffix(strings.ToLower(name), ".py") {
		name = name[:len(name)-len(".py")]
	}
	return strings.TrimPrefix(name, "cc_")
}
