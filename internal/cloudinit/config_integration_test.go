//go:build integration

package cloudinit

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nm-cloud-seed/nm-cloud-seed/test/debroot"
)

// TestConfigAgreesWithRealCloudInit has those of the Debian releases read the same.
func TestConfigAgreesWithRealCloudInit(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for i, tt := range configs {
		for name, data := range tt.files {
			put(t, dir, fmt.Sprintf("%02d/etc/cloud/%s", i, name), data)
		}
	}
	const inside = `mount --bind "$1" "$2/mnt" && exec chroot "$2" sh -c "$3"`
	const script = `for tree in /mnt/*; do export tree; python3 -c '
import json, os
from cloudinit import util
cfg = util.read_conf_with_confd(os.environ["tree"] + "/etc/cloud/cloud.cfg")
get = lambda *path: util.get_cfg_by_path(cfg, path) if isinstance(cfg.get(path[0]), (dict, list)) else None
print(json.dumps([cfg.get("datasource_list"), get("network", "config"), get("system_info", "network", "renderers")]))
'; (PATH_ROOT=$tree DI_MAIN=noop DI_LOG=/dev/null; . /usr/lib/cloud-init/ds-identify
DI_KERNEL_CMDLINE=; read_datasource_list; [ "$DI_DSLIST" = "$DI_DSLIST_DEFAULT" ] && echo || echo "$DI_DSLIST"); done`
	for _, suite := range []string{"bookworm", "trixie", "sid"} {
		t.Run(suite, func(t *testing.T) {
			root, err := debroot.Image(suite).Open()
			if err != nil {
				t.Fatal(err)
			}
			var stderr bytes.Buffer
			cmd := exec.CommandContext(t.Context(), "unshare", "--mount", "sh", "-ec", inside, "sh", dir, root, script)
			cmd.Stderr = &stderr
			out, err := cmd.Output()
			if err != nil {
				t.Fatalf("%v\n%s", err, stderr.Bytes())
			}
			lines := strings.Split(string(out), "\n")
			for i, tt := range configs {
				one := func(values []string) any {
					if len(values) == 0 {
						return nil
					}
					return values[0]
				}
				want, err := json.Marshal([]any{tt.want.Datasources.Values, one(tt.want.Network.Values), tt.want.Renderers.Values})
				if err != nil {
					t.Fatal(err)
				}
				got := []string{strings.ReplaceAll(lines[2*i], ", ", ","), lines[2*i+1]}
				if diff := cmp.Diff([]string{string(want), strings.Join(tt.want.Identified.Values, " ")}, got); diff != "" {
					t.Errorf("%s: -ours +cloud-init's:\n%s", tt.name, diff)
				}
			}
		})
	}
}
