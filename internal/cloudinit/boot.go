package cloudinit

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/nm-cloud-seed/nm-cloud-seed/internal/rootfs"
)

// named are the names of stages in status.json, in their order, and those of people.
var named = []struct{ key, name string }{
	{"init-local", "local"}, {"init", "network"}, {"modules-config", "config"}, {"modules-final", "final"},
}

// Boot is what cloud-init has made of this boot, as far as anybody may know: its
// errors repeat what modules were given, and that may be secret.
type Boot struct {
	Datasource string   // class name, such as "DataSourceCloudStack"; empty: none yet
	CloudID    string   // such as "cloudstack"
	Instance   string   // the instance that cloud-init takes the VM for
	Stage      string   // that is under way
	Done       bool     // all stages have ended
	Broken     []string // stages that failed
	Failed     []string // modules that failed: "ssh in the network stage"
	Complaints []string // warnings and errors in the log, since 23.4: "2 of the network stage"
}

// The place of the instance's id: a link's target would do as well, but is not
// always there.
const (
	instanceFile = "var/lib/cloud/data/instance-id"
	cloudIDFile  = "run/cloud-init/cloud-id"
	maxIDFile    = 1 << 10 // bytes
)

// Boot reads it. The error is fs.ErrNotExist if cloud-init has not begun in this
// boot.
func (f Files) Boot() (Boot, error) {
	b, _, err := f.boot()
	return b, err
}

// boot returns status.json as well.
func (f Files) boot() (Boot, []byte, error) {
	fsys, done, err := rootfs.Open(f.Root)
	if err != nil {
		return Boot{}, nil, err
	}
	defer done()
	over := f.Done() // before status.json, which by then has all that there will be
	data, err := rootfs.Read(fsys, statusFile, maxStatusFile)
	if err != nil {
		return Boot{}, nil, fmt.Errorf("cannot read /%s: %w", statusFile, err)
	}
	b, err := parseBoot(data)
	if err != nil {
		return Boot{}, nil, err
	}
	word := func(name string) string {
		text, _ := rootfs.Read(fsys, name, maxIDFile) // or none
		return clean(strings.TrimSpace(string(text)))
	}
	b.Done, b.CloudID, b.Instance = over && b.Stage == "", word(cloudIDFile), word(instanceFile)
	return b, data, nil
}

func parseBoot(data []byte) (b Boot, err error) {
	var s struct {
		V1 map[string]json.RawMessage `json:"v1"`
	}
	if json.Unmarshal(data, &s) != nil || s.V1 == nil {
		return b, fmt.Errorf("cannot read /%s: it is damaged", statusFile)
	}
	text := func(key string) string {
		var word *string
		if json.Unmarshal(s.V1[key], &word) != nil || word == nil {
			return ""
		}
		return *word
	}
	name, _, _ := strings.Cut(strings.TrimSpace(text("datasource")), " ") // details follow
	b.Datasource = clean(name)
	now := text("stage")
	for _, stage := range named {
		if now == stage.key {
			b.Stage = stage.name
		}
		var o outcome
		_ = json.Unmarshal(s.V1[stage.key], &o) // what it has of it
		for _, e := range o.Errors {
			text, _ := e.(string)
			if module := moduleError.FindStringSubmatch(text); module != nil {
				b.Failed = append(b.Failed, clean(module[1])+" in the "+stage.name+" stage")
			} else {
				b.Broken = append(b.Broken, stage.name)
			}
		}
		if n := len(o.Warnings["WARNING"]) + len(o.Warnings["ERROR"]) + len(o.Warnings["CRITICAL"]); n > 0 { // not DEPRECATED
			b.Complaints = append(b.Complaints, fmt.Sprintf("%d of the %s stage", n, stage.name))
		}
	}
	return b, nil
}
