package cloudinit

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/nm-cloud-seed/nm-cloud-seed/internal/rootfs"
)

// Where cloud-init's configuration is. In the directory, a later file overrides
// an earlier one, and all override the first file.
const (
	configFile = "etc/cloud/cloud.cfg"
	configDir  = "etc/cloud/cloud.cfg.d"
)

// Limits: the generator reads this early in each boot.
const (
	maxConfigFile  = 256 << 10 // bytes
	maxConfigTotal = 1 << 20
	maxConfigFiles = 128
	// Of the directory, which may have other files, too.
	maxConfigEntries = 1024
	maxValues        = 64 // of one list
)

// Config is the little of cloud-init's configuration that matters to us. The
// rest may hold passwords, and does not leave this package.
type Config struct {
	Datasources Setting // datasource_list
	Network     Setting // network.config, which is "disabled" or nothing we know
	Renderers   Setting // system_info.network.renderers
	// Identified is datasource_list once more, as the generator (ds-identify) of
	// every cloud-init reads it, which decides: a shell script that does not know
	// YAML, only lists on one line. Without Values, At is a line that some of them
	// stumble over.
	Identified Setting
	Notes      []string // what cloud-init or we cannot read, and skip
	Linked     bool     // the link to our drop-in is there: what is written there is read

	files layers
	later layers // those of them that override our drop-in
}

// Setting is what a file says. It is not set if At is empty.
type Setting struct {
	Values []string
	At     string // file and line, such as "/etc/cloud/cloud.cfg:12"
}

// OnlyCloudStack says whether cloud-init is told to use the CloudStack
// datasource without looking whether this is a CloudStack VM: where the list has
// nothing else, it does not look. (Nor does ds-identify with None at the end, but
// since 25.2 the datasource does.) VMware and Xen need that, as their firmware
// does not name CloudStack. It takes no YAML, and less than 0.1 ms.
func (f Files) OnlyCloudStack() bool {
	var c Config
	_ = f.each(&c, func(string, []byte) {})
	return c.OnlyCloudStack()
}

// OnlyCloudStack is the same for a configuration that has been read.
func (c Config) OnlyCloudStack() bool {
	return slices.Equal(c.Identified.Values, []string{"CloudStack"})
}

// Config reads the configuration as cloud-init does (read_conf_with_confd in
// cloudinit/util.py): of each key the last file counts, and what is no YAML is
// skipped. An error is that there is no configuration at all.
func (f Files) Config() (Config, error) {
	var c Config
	err := f.each(&c, func(path string, data []byte) {
		top, err := parse(data)
		if err != nil {
			c.Notes = append(c.Notes, fmt.Sprintf("cloud-init skips %s: %v", path, err))
			return
		}
		one := layers{{path, top}}
		c.files = append(one, c.files...)
		if c.Linked {
			c.later = append(one, c.later...)
		}
		for _, key := range []string{"conf_d", "merge_how", "merge_type"} {
			if value(top, key) != nil {
				c.Notes = append(c.Notes, fmt.Sprintf("%s has %s, which is not followed", path, key))
			}
		}
	})
	c.Datasources = c.files.at("datasource_list").setting()
	c.Network = c.files.at("network", "config").setting()
	c.Renderers = c.files.at("system_info", "network", "renderers").setting()
	return c, err
}

// each reads the files in their order, for c.Identified and for what else is to
// be done with them.
func (f Files) each(c *Config, do func(path string, data []byte)) error {
	fsys, done, err := rootfs.Open(f.Root)
	if err != nil {
		return err
	}
	defer done()
	total := 0
	names, err := configFiles(fsys)
	if err != nil {
		c.Notes = append(c.Notes, fmt.Sprintf("cannot list /%s: %s", configDir, rootfs.Reason(err)))
	}
	for i, name := range names {
		path := "/" + name
		if isDropIn(fsys, name) { // what we write there is not what the image says
			c.Linked = true
			do(path, []byte(merging))
			continue
		}
		data, err := rootfs.Read(fsys, name, maxConfigFile)
		switch {
		case i == 0 && errors.Is(err, fs.ErrNotExist):
			return fmt.Errorf("cannot read cloud-init's configuration: there is no %s%s", f.Root, path)
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err != nil:
			c.Notes = append(c.Notes, fmt.Sprintf("cannot read %s: %s", path, rootfs.Reason(err)))
			continue
		}
		if total += len(data); total > maxConfigTotal || i > maxConfigFiles {
			c.Notes = append(c.Notes, fmt.Sprintf("%s and what follows is not read: more than %d files or %d bytes", path, maxConfigFiles, maxConfigTotal))
			break
		}
		c.Identified.identify(path, data)
		do(path, data)
	}
	return nil
}

// merging is what a Handover does to the configuration besides what it is for: a
// mapping there brings back those of the files before it (see layers.at).
const merging = "chpasswd: {}\n"

func isDropIn(fsys fs.FS, name string) bool {
	if name != dropInLink {
		return false
	}
	to, err := fs.ReadLink(fsys, name)
	return err == nil && to == dropInTarget
}

// configFiles are the files' names, in their order. With an error they are not all.
func configFiles(fsys fs.FS) ([]string, error) {
	names := []string{configFile}
	entries, err := rootfs.List(fsys, configDir, maxConfigEntries)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".cfg") {
			names = append(names, configDir+"/"+e.Name())
		}
	}
	return names, err
}

// line finds the line of a syntax error: the rest of its text may quote the file.
var line = regexp.MustCompile(`line \d+`)

// parse gives a file's mapping, nil if there is nothing in the file. It stays
// what was written: aliases, which can stand for billions of nodes, are not expanded.
func parse(data []byte) (*yaml.Node, error) {
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var doc, more yaml.Node
	err := decoder.Decode(&doc)
	if errors.Is(err, io.EOF) {
		return nil, nil
	}
	if err == nil {
		err = decoder.Decode(&more)
	}
	switch {
	case err == nil:
		return nil, errors.New("more than one YAML document")
	case !errors.Is(err, io.EOF):
		if where := line.FindString(err.Error()); where != "" {
			return nil, fmt.Errorf("not YAML (near %s)", where)
		}
		return nil, errors.New("not YAML")
	}
	top := doc.Content[0]
	switch {
	case top.Kind == yaml.MappingNode:
		return top, nil
	case top.Tag == "!!null":
		return nil, nil
	}
	return nil, errors.New("not a mapping of keys to values")
}

// real is a node, or what it is an alias of.
func real(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

// value is what a mapping has for a key: of two the last counts, as in PyYAML.
func value(n *yaml.Node, key string) *yaml.Node {
	var found *yaml.Node
	if n != nil && n.Kind == yaml.MappingNode {
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == key {
				found = real(n.Content[i+1])
			}
		}
	}
	return found
}

// setting reads a list or a word.
func (l layers) setting() Setting {
	if len(l) == 0 {
		return Setting{}
	}
	s := Setting{At: l.where()}
	var items []*yaml.Node
	switch n := l.first(); {
	case n.Kind == yaml.SequenceNode:
		items = n.Content
	case n.Kind == yaml.ScalarNode && n.Tag != "!!null":
		items = []*yaml.Node{n}
	}
	for _, item := range items[:min(len(items), maxValues)] {
		if item = real(item); item.Kind == yaml.ScalarNode {
			s.Values = append(s.Values, clean(item.Value))
		}
	}
	return s
}

// What some ds-identify takes for the key, even in a comment, and what all of
// 22.4.2, 25.1.4 and 26.2 read the same list from. 22.4.2 wants the key without
// quotes, one blank after its colon and no comment after a blank; PyYAML no tabs.
var (
	listKey  = regexp.MustCompile(`^([^#].*)?datasource_list["']*[ \t]*:`)
	listLine = regexp.MustCompile(`^ *datasource_list: \[([^]#\t]*)\] *\n?$`)
)

// identify is read_datasource_list of ds-identify: the last line with the key
// counts, wherever in the file it is, also if it has no value.
func (s *Setting) identify(path string, data []byte) {
	n := 0
	for raw := range bytes.Lines(data) {
		n++
		if !listKey.Match(raw) {
			continue
		}
		*s = Setting{At: fmt.Sprintf("%s:%d", path, n)}
		list := listLine.FindSubmatch(raw)
		if list == nil {
			continue
		}
		for word := range strings.SplitSeq(string(list[1]), ",") {
			if word = strings.TrimSpace(word); word != "" && len(s.Values) < maxValues {
				s.Values = append(s.Values, clean(strings.Trim(word, `"'`)))
			}
		}
	}
}
