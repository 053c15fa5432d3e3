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

// TestPartsAgreeWithRealCloudInit has those of the Debian releases unpack the same.
func TestPartsAgreeWithRealCloudInit(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for i, tt := range packed {
		put(t, dir, fmt.Sprintf("%02d", i), tt.text)
	}
	const script = `
import json, os
from cloudinit import helpers, user_data, util
processor = user_data.UserDataProcessor(helpers.Paths({"cloud_dir": "/nowhere", "run_dir": "/nowhere"}))
for name in sorted(os.listdir("/mnt")):
    message = processor.process(open("/mnt/" + name, "rb").read())
    print(json.dumps([util.fully_decoded_payload(p) for p in message.walk() if p.get_content_type() == "text/cloud-config"]))
`
	for _, suite := range []string{"bookworm", "trixie", "sid"} {
		t.Run(suite, func(t *testing.T) {
			root, err := debroot.Image(suite).Open()
			if err != nil {
				t.Fatal(err)
			}
			var stderr bytes.Buffer
			cmd := exec.CommandContext(t.Context(), "unshare", "--mount", "sh", "-ec", `mount --bind "$1" "$2/mnt" && exec chroot "$2" python3 -c "$3"`, "sh", dir, root, script)
			cmd.Stderr = &stderr
			out, err := cmd.Output()
			if err != nil {
				t.Fatalf("%v\n%s", err, stderr.Bytes())
			}
			lines := strings.Split(strings.TrimSpace(string(out)), "\n")
			for i, tt := range packed {
				var got []string
				if err := json.Unmarshal([]byte(lines[i]), &got); err != nil {
					t.Fatal(err)
				}
				trimmed := func(all []string) (list []string) { // cloud-init adds and drops line ends
					for _, text := range all {
						list = append(list, strings.TrimSpace(text))
					}
					return list
				}
				if diff := cmp.Diff(trimmed(tt.want), trimmed(got)); diff != "" {
					t.Errorf("%s: -ours +cloud-init's:\n%s", tt.name, diff)
				}
			}
		})
	}
}
