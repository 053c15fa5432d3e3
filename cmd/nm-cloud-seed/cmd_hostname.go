package main

import (
	"bytes"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// hostnameLimit bounds the wait: hostnamed was seen to correct itself within 1 s.
const hostnameLimit = 3 * time.Second

// hostnameCommand is the last of cloud-init's network stage, where NetworkManager
// runs beside it because of us. The lease of the connection that cloud-init
// brings up makes NetworkManager set the host name at systemd-hostnamed, while
// cloud-init sets it beside hostnamed: in /etc/hostname, and the kernel's. If
// hostnamed has read that file just before, it puts the image's name back, and
// only corrects itself a moment later. Services that come after the stage must
// not see that.
func hostnameCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "await-hostname",
		Short:  "Wait until the host name is what cloud-init has written",
		Hidden: true, // for cloud-init's network stage
		Args:   cobra.NoArgs,
		Run: func(*cobra.Command, []string) {
			awaitHostname("/etc/hostname", "/proc/sys/kernel/hostname", hostnameLimit)
		},
	}
}

func awaitHostname(static, kernel string, limit time.Duration) {
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		want := hostnameIn(static)
		if want == "" || strings.HasPrefix(want, "localhost") || want == hostnameIn(kernel) {
			return
		}
	}
}

// hostnameIn reads hostname(5).
func hostnameIn(path string) string {
	data, err := os.ReadFile(path)
	if err != nil || len(data) > 64<<10 {
		return ""
	}
	for line := range bytes.Lines(data) {
		if line = bytes.TrimSpace(line); len(line) > 0 && line[0] != '#' {
			return string(line)
		}
	}
	return ""
}
