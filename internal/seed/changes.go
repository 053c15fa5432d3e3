package seed

import (
	"os"
	"reflect"
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/nm-cloud-seed/nm-cloud-seed/datasource"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/rootfs"
)

// maxSeedFile is far above what the crawler takes.
const maxSeedFile = 64 << 20 // bytes

// Changes names what is different in inst from the seed that is there: metadata
// keys, sorted, and "user-data". All of it, if there is no seed or it cannot be
// read. It repeats no value.
func (s Store) Changes(inst *datasource.Instance) []string {
	before, user := s.read()
	after := parse(MetaData(inst))
	changed := []string{}
	for key, value := range after {
		if old, there := before[key]; !there || !reflect.DeepEqual(old, value) {
			changed = append(changed, key)
		}
	}
	for key := range before {
		if _, there := after[key]; !there {
			changed = append(changed, key)
		}
	}
	slices.Sort(changed)
	if user == nil || string(user) != string(inst.UserData) {
		changed = append(changed, userDataFile)
	}
	return changed
}

// read is the seed that is there: its user-data is nil if there is none.
func (s Store) read() (metadata map[string]any, user []byte) {
	root, err := os.OpenRoot(s.current())
	if err != nil {
		return nil, nil
	}
	defer func() { _ = root.Close() }()
	document, err := rootfs.Read(root.FS(), metaDataFile, maxSeedFile)
	if err != nil {
		return nil, nil
	}
	if user, err = rootfs.Read(root.FS(), userDataFile, maxSeedFile); err != nil {
		return nil, nil
	}
	return parse(document), append([]byte{}, user...)
}

// parse reads a document of MetaData.
func parse(document []byte) (metadata map[string]any) {
	if yaml.Unmarshal(document, &metadata) != nil {
		return nil
	}
	return metadata
}
