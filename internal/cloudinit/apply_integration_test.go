//go:build integration

package cloudinit

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nm-cloud-seed/nm-cloud-seed/test/debroot"
)

//go:embed testdata/apply.py
var apply string

// TestApplyAgreesWithRealCloudInit compares what we say of a world with what
// cloud-init then does in it.
func TestApplyAgreesWithRealCloudInit(t *testing.T) {
	t.Parallel()
	for _, suite := range []string{"bookworm", "trixie", "sid"} {
		t.Run(suite, func(t *testing.T) {
			t.Parallel()
			root, err := debroot.Image(suite).Open()
			if err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			before := make([]said, len(worlds))
			for i := range worlds {
				before[i] = build(t, filepath.Join(dir, fmt.Sprintf("%02d", i)), i)
			}
			const inside = `mount -t tmpfs tmpfs "$2/run" && mount -t tmpfs tmpfs "$2/etc/ssh" && mount --bind /proc "$2/proc" &&
mount --bind "$1" "$2/mnt" && exec chroot "$2" python3 -c "$3"`
			var stderr bytes.Buffer
			cmd := exec.CommandContext(t.Context(), "unshare", "--mount", "sh", "-ec", inside, "sh", dir, root, apply)
			cmd.Stderr = &stderr
			out, err := cmd.Output()
			lines := strings.Split(strings.TrimSpace(string(out)), "\n")
			if err != nil || len(lines) != len(worlds) {
				t.Fatalf("%v, %d answers for %d worlds\n%s", err, len(lines), len(worlds), stderr.Bytes())
			}
			for i, tt := range worlds {
				t.Run(tt.name, func(t *testing.T) {
					judge(t, filepath.Join(dir, fmt.Sprintf("%02d", i)), suite, i, before[i], lines[i])
				})
			}
		})
	}
}

func judge(t *testing.T, root, suite string, i int, got said, answer string) {
	var did struct {
		Chpasswd [][]any
		Expired  []string
		PWAuth   any
		Keys     [][]any
		Hostkeys map[string]string
		User     string
	}
	if err := json.Unmarshal([]byte(answer), &did); err != nil {
		t.Fatal(err)
	}
	files := Files{Root: root}

	// cloud-init's own merged user-data says the same, on other lines.
	u, err := files.UserConfig("i")
	if err != nil {
		t.Fatal(err)
	}
	fresh := got
	fresh.HadRun = false
	if diff := cmp.Diff(anywhere(fresh), anywhere(say(t, files, u))); diff != "" {
		t.Errorf("-of user-data +of cloud-config.txt:\n%s", diff)
	}

	ended, err := files.Ran(stageOr(got.Stage), "set_passwords")
	if !ended || !files.Begun(stageOr(got.Stage)) {
		t.Errorf("got the stage ended: %t, begun: %t, want true, true", ended, files.Begun(stageOr(got.Stage)))
	}
	got.Err = text(err)
	_, err = files.Ran("init", "cc_ssh")
	got.SSHErr = text(err)
	if got.HasRun, err = files.HasRun("i", "set_passwords"); err != nil {
		t.Error(err)
	}
	w := worlds[i]
	want := w.expected()
	if suite == "bookworm" { // it keeps no warnings
		want.SSHErr = ""
		if want.Err == noUser {
			want.Err = ""
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("what we say, -want +got:\n%s", diff)
	}

	if did.User != got.User {
		t.Errorf("got the default user %q from cloud-init, want %q", did.User, got.User)
	}
	ours := [][]any{{got.User, aHash, true}}
	applied := cmp.Equal(did.Chpasswd, ours) && len(did.Expired) == 0
	expected := got.Stage != "" && got.User != "" && got.Passwords == "" && got.Err == "" && !got.HadRun && (got.HasRun || got.Always)
	if applied != expected || !applied && strings.Contains(fmt.Sprint(did.Chpasswd), aHash) {
		t.Errorf("got the password applied: %v, want %v: %v, expired %v", applied, expected, did.Chpasswd, did.Expired)
	}
	if applied && got.PasswordAuth == "" && did.PWAuth != true {
		t.Errorf("got ssh_pwauth %v, want true", did.PWAuth)
	}
	if taken := strings.Contains(fmt.Sprint(did.Keys), "AAAA"); taken != (got.PublicKeysOff == "" && w.fail != "ssh") {
		t.Errorf("got keys %v, want CloudStack's among them: %t", did.Keys, !taken)
	}
	if kept := did.Hostkeys["ed25519_key"] == "old"; kept != (got.HostKeys == "") || len(did.Hostkeys) == 0 {
		t.Errorf("got host keys %v, want the old one: %t", did.Hostkeys, got.HostKeys == "")
	}
}

// anywhere forgets the line in user-data.
func anywhere(s said) said {
	for _, at := range []*string{&s.PasswordAuth, &s.Passwords, &s.PublicKeysOff, &s.HostKeys} {
		if strings.HasPrefix(*at, userData) || strings.HasPrefix(*at, "/"+instancesDir+"/i/cloud-config.txt:") {
			*at = userData
		}
	}
	return s
}

func stageOr(stage string) string {
	if stage == "" {
		return "modules-config"
	}
	return stage
}
