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
