package cloudinit

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"unicode"

	"github.com/nm-cloud-seed/nm-cloud-seed/internal/rootfs"
)

// statusFile is a symlink to /var/lib/cloud/data/status.json. The local stage
// of each boot starts it anew.
const (
	statusFile    = "run/cloud-init/status.json"
	maxStatusFile = 1 << 20 // bytes
	maxName       = 64      // bytes
)

// status is what we need of status.json. The times are seconds, since the epoch
// or, in newer versions, since boot; null until the stage comes to that point.
type status struct {
	V1 struct {
		Datasource string `json:"datasource"`
		InitLocal  stage  `json:"init-local"`
		Init       stage  `json:"init"`
	} `json:"v1"`
}

type stage struct {
	Start    *float64 `json:"start"`
	Finished *float64 `json:"finished"`
}

// resultFile is a symlink like statusFile, laid when the last stage has ended,
// well or not (status_wrapper in cloudinit/cmd/main.py).
const resultFile = "run/cloud-init/result.json"

// Done says whether all stages of cloud-init in this boot have ended.
func (f Files) Done() bool {
	_, err := os.Lstat(filepath.Join(f.Root, "/", resultFile))
	return err == nil
}

// LocalDatasource is the class name of the datasource that cloud-init's local
// stage has found in this boot, such as "DataSourceConfigDrive": then the
// network stage looks no further, and no seed is read. It is empty if there is
// none, if the local stage has not finished, if the network stage has begun
// (then the datasource may be its own), or if the file cannot be read.
func (f Files) LocalDatasource() (name string) {
	fsys, done, err := rootfs.Open(f.Root)
	if err != nil {
		return ""
	}
	defer done()
	data, err := rootfs.Read(fsys, statusFile, maxStatusFile)
	if err != nil {
		return ""
	}
	return localDatasource(data)
}

func localDatasource(data []byte) string {
	var s status
	if err := json.Unmarshal(data, &s); err != nil {
		return ""
	}
	if s.V1.InitLocal.Finished == nil || s.V1.Init.Start != nil {
		return ""
	}
	// "DataSourceNoCloud [seed=/dev/vdb][dsmode=net]": the details are dropped.
	name, _, _ := strings.Cut(strings.TrimSpace(s.V1.Datasource), " ")
	return clean(name)
}

// clean makes a name fit for a log line.
func clean(name string) string {
	name = strings.Map(func(r rune) rune {
		if r > unicode.MaxASCII || !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, name)
	return name[:min(len(name), maxName)]
}
