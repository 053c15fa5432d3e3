package cloudinit

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// layers are mappings that cloud-init merges into one, the strongest first
// (mergemanydict in cloudinit/util.py). They are not merged here, since aliases
// may stand for billions of nodes, only what is asked for is looked up.
type layers []layer

type layer struct {
	path string // the file, for people
	node *yaml.Node
}

// at goes down a path of keys. Of each key the strongest layer counts; where it
// has a mapping there, the others' mappings are merged into it.
func (l layers) at(keys ...string) layers {
	for _, key := range keys {
		var next layers
		for _, from := range l {
			n := value(from.node, key)
			if n == nil || len(next) > 0 && n.Kind != yaml.MappingNode {
				continue
			}
			next = append(next, layer{from.path, n})
			if n.Kind != yaml.MappingNode {
				break
			}
		}
		l = next
	}
	return l
}

// where is the file and line that counts, such as "/etc/cloud/cloud.cfg:12"; empty
// if none has it.
func (l layers) where() string {
	if len(l) == 0 {
		return ""
	}
	return fmt.Sprintf("%s:%d", l[0].path, l[0].node.Line)
}

// first is the strongest layer's node. Where there is none, it is of no kind.
func (l layers) first() *yaml.Node {
	if len(l) == 0 {
		return &yaml.Node{}
	}
	return l[0].node
}

// truthy says whether Python takes it for true.
func (l layers) truthy() bool {
	return slices.ContainsFunc(l, func(one layer) bool { return truthy(one.node) })
}

func truthy(n *yaml.Node) bool {
	if n.Kind != yaml.ScalarNode {
		return len(n.Content) > 0
	}
	switch n.ShortTag() {
	case "!!null":
		return false
	case "!!int", "!!float":
		return strings.Trim(n.Value, "+-0._xob") != ""
	}
	return n.Value != "" && (!isBool(n) || isTrue(n))
}

// isTrue is is_true in cloudinit/util.py.
func isTrue(n *yaml.Node) bool {
	return slices.Contains([]string{"true", "1", "on", "yes"}, strings.ToLower(word(n)))
}

// isBool says whether PyYAML, which knows more of them than our decoder, reads a
// boolean.
func isBool(n *yaml.Node) bool {
	const quoted = yaml.DoubleQuotedStyle | yaml.SingleQuotedStyle | yaml.LiteralStyle | yaml.FoldedStyle
	return n.Style&quoted == 0 &&
		slices.Contains([]string{"true", "false", "on", "off", "yes", "no"}, strings.ToLower(n.Value))
}
