package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

const (
	nmName = "org.freedesktop.NetworkManager"
	nmLog  = "NetworkManager.log"
)

// nmConfig is NetworkManager.conf.
func nmConfig(c Config, nics []*nic) string {
	var b strings.Builder
	b.WriteString(`[main]
plugins=keyfile
auth-polkit=false
dhcp=internal
dns=none
rc-manager=unmanaged
systemd-resolved=false
hostname-mode=none
`)
	if !c.AutoDefault {
		b.WriteString("no-auto-default=*\n")
	}
	b.WriteString("\n[connectivity]\nenabled=false\n")
	for i, n := range nics {
		managed := 1
		if n.Unmanaged {
			managed = 0
		}
		fmt.Fprintf(&b, "\n[device-%[1]s]\nmatch-device=interface-name:%[1]s\nmanaged=%[2]d\n", deviceName(i), managed)
	}
	if c.NMConfig != "" {
		b.WriteString("\n" + c.NMConfig + "\n")
	}
	return b.String()
}

// writeNMConfig writes what NetworkManager reads at its start.
func (l *Lab) writeNMConfig() error {
	files := map[string]string{"NetworkManager.conf": nmConfig(l.config, l.nics)}
	for name, text := range l.config.Profiles {
		if filepath.Base(name) != name || !strings.HasSuffix(name, ".nmconnection") {
			return fmt.Errorf("cannot use profile name %q: want a file name that ends in .nmconnection", name)
		}
		files["system-connections/"+name] = text
	}
	for name, text := range files {
		// NetworkManager ignores a profile that others may read.
		if err := os.WriteFile(filepath.Join(nmDir, name), []byte(text), 0o600); err != nil {
			return fmt.Errorf("cannot configure NetworkManager: %w", err)
		}
	}
	return nil
}

// StartNetworkManager starts NetworkManager and returns when it is on the bus.
// It keeps what is in its directories from an earlier run.
func (l *Lab) StartNetworkManager() error {
	l.nmMu.Lock()
	defer l.nmMu.Unlock()
	if l.nm != nil && l.nm.running() {
		return errors.New("cannot start NetworkManager: it runs already")
	}
	level := l.config.NMLogLevel
	if level == "" {
		level = "INFO"
	}
	log, err := l.logFile(nmLog)
	if err != nil {
		return err
	}
	defer log.Close()
	l.nm, err = start("NetworkManager", command(context.Background(), "NetworkManager",
		"--no-daemon", "--debug", "--log-level="+level,
		// Distributions put configuration of their own there, such as
		// Ubuntu's "only Wi-Fi is managed".
		"--system-config-dir="+emptyDir,
	), log)
	if err != nil {
		return err
	}
	if err := await("NetworkManager on the bus", l.nm, func() (bool, error) { return l.hasOwner(nmName) }); err != nil {
		return explainStart(err, l.NMLog())
	}
	return nil
}

// StopNetworkManager sends sig to NetworkManager and returns when it has exited
// and the bus has noticed. SIGKILL is its crash.
func (l *Lab) StopNetworkManager(sig syscall.Signal) error {
	l.nmMu.Lock()
	defer l.nmMu.Unlock()
	l.nm.stop(sig)
	return await("NetworkManager's end", nil, func() (bool, error) {
		owned, err := l.hasOwner(nmName)
		return !owned, err
	})
}

// NMLog is what NetworkManager has logged so far.
func (l *Lab) NMLog() string { return l.readLog(nmLog) }

// Nmcli runs nmcli in the VM and returns its output.
func (l *Lab) Nmcli(ctx context.Context, args ...string) (string, error) {
	cmd := l.Command(ctx, "nmcli", args...)
	cmd.Env = append(cmd.Env, "LC_ALL=C")
	return output(cmd)
}

func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
