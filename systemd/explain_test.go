package systemd

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// waits makes a network stage wait for NetworkManager: then there is a cycle
// where it cannot, and systemd says so.
const waits = "[Unit]\nAfter=NetworkManager.service\n"

func TestDeadlockOfSamplesIsFound(t *testing.T) {
	for suite, stage := range map[string]string{"bookworm": "cloud-init.service", "trixie": "cloud-init-network.service", "sid": "cloud-init-network.service"} {
		files := sample(t, suite)
		unit := "usr/lib/systemd/system/" + stage
		way := []string{stage, "sysinit.target", networkManager}
		for _, tt := range []struct {
			name   string
			change func()
			want   []string
		}{
			{"as installed", func() {}, way},
			{"a way round", func() {
				files[unit] = strings.Replace(files[unit], "Before=sysinit.target", "Before=network-pre.target", 1)
			}, []string{stage, "network-pre.target", networkManager}},
			{"no order", func() {
				files[unit] = strings.Replace(files[unit], "Before=network-pre.target\n", "", 1)
			}, nil},
		} {
			t.Run(suite+" "+tt.name, func(t *testing.T) {
				tt.change()
				u := loadFiles(t, files)
				if diff := cmp.Diff(tt.want, u.Deadlock()); diff != "" {
					t.Errorf("-want +got:\n%s", diff)
				}
				checkWithSystemd(t, files, Plan{Files: []File{{Name: stage + ".d/waits.conf", Text: waits}}}, tt.want != nil)
				for _, o := range []Ordering{Late, Early} {
					if way := u.With(u.Plan(o)).Deadlock(); way != nil {
						t.Errorf("with ordering=%s: got %q, want no deadlock", o, way)
					}
				}
			})
		}
	}
}

// TestDeadlockIsTheShortestWay: the shortest, over what is started.
func TestDeadlockIsTheShortestWay(t *testing.T) {
	const run = "[Service]\nExecStart=/x\n[Unit]\nDefaultDependencies=no\n"
	files := map[string]string{
		"usr/lib/systemd/system/default.target":             "[Unit]\nWants=cloud-init.service cloud-init-network.service NetworkManager.service a.service b.service\n",
		"usr/lib/systemd/system/cloud-init.service":         run + "Before=a.service\n",
		"usr/lib/systemd/system/cloud-init-network.service": run + "Before=off.service a.service\n",
		"usr/lib/systemd/system/a.service":                  run + "Before=b.service\n",
		"usr/lib/systemd/system/b.service":                  run + "Before=NetworkManager.service\n",
		"usr/lib/systemd/system/off.service":                run + "Before=NetworkManager.service\n",
		"usr/lib/systemd/system/NetworkManager.service":     run,
	}
	way := func(want ...string) {
		t.Helper()
		if diff := cmp.Diff(want, loadFiles(t, files).Deadlock()); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	}
	way("cloud-init.service", "a.service", "b.service", networkManager)
	files["usr/lib/systemd/system/cloud-init-network.service"] = run + "Before=b.service\n"
	way("cloud-init-network.service", "b.service", networkManager)
	files["usr/lib/systemd/system/cloud-init.service"] = run + "Before=NetworkManager.service\n"
	way("cloud-init.service", networkManager)
}

func TestMaskedUnits(t *testing.T) {
	u := loadFiles(t, map[string]string{
		"etc/systemd/system/a.service":     "-> /dev/null",
		"usr/lib/systemd/system/a.service": "[Service]\nExecStart=/x\n",
		"usr/lib/systemd/system/b.service": "[Service]\nExecStart=/x\n",
		"etc/systemd/system/c.service":     "",
		"etc/systemd/system/d.service":     "-> c.service",
	})
	for unit, want := range map[string]string{
		"a.service": "/etc/systemd/system/a.service", "b.service": "", "c.service": "/etc/systemd/system/c.service",
		"d.service": "/etc/systemd/system/c.service", "e.service": "",
	} {
		if got := u.Masked(unit); got != want {
			t.Errorf("%s: got %q, want %q", unit, got, want)
		}
	}
	if way := u.Deadlock(); way != nil {
		t.Errorf("without NetworkManager: got %q, want no deadlock", way)
	}
}
