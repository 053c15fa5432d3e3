package systemd

import (
	"os"
	"strings"
	"testing"
)

// TestBusServiceMakesItsDirectories: the process that serves the D-Bus API may start before, and go on
// after, the service makes the directories that a refresh writes in. Made later, they
// would be read-only for it.
func TestBusServiceMakesItsDirectories(t *testing.T) {
	unit, err := os.ReadFile("nm-cloud-seed-bus.service")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"RuntimeDirectory=nm-cloud-seed", "RuntimeDirectoryPreserve=yes", "StateDirectory=nm-cloud-seed", "StateDirectoryMode=0700"} {
		if !strings.Contains("\n"+string(unit), "\n"+line+"\n") {
			t.Errorf("got no line %s, want it", line)
		}
	}
}

// The units without which a VM has no data, or no network, outlive nearly all others when
// memory runs out. systemd sets the value before it starts the program.
func TestOutOfMemoryKillsOthersFirst(t *testing.T) {
	for _, name := range []string{Service, "nm-cloud-seed-heal.service"} {
		unit, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(unit), "\nOOMScoreAdjust=-900\n") {
			t.Errorf("%s: got no line OOMScoreAdjust=-900, want it", name)
		}
	}
}
