//go:build integration

package main

import (
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/nm-cloud-seed/nm-cloud-seed/internal/cloudinit"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/credentials"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/daemon"
	"github.com/nm-cloud-seed/nm-cloud-seed/test/lab"
)

// ssh-keys and cleanup, killed at each of their steps and run again. The other commands
// are in test/lab.

// ours returns a command of ours, as a process: this test binary under another name.
func ours(l *lab.Lab, t *testing.T, args ...string) *exec.Cmd {
	cmd := l.Command(t.Context(), "/proc/self/exe")
	cmd.Args = append([]string{"nm-cloud-seed"}, args...)
	return cmd
}

// killedOnce kills a command before its nth change of a file, and runs another one to
// its end. It returns false if the first one was not killed.
func killedOnce(l *lab.Lab, t *testing.T, n int, command string, after func()) bool {
	t.Helper()
	killed, err := lab.KillAt(ours(l, t, command), n)
	if err != nil {
		t.Fatalf("%s, kill %d: %v", command, n, err)
	}
	after()
	if out, err := ours(l, t, command).CombinedOutput(); err != nil {
		t.Errorf("kill %d: got error %v of another %s, want none:\n%s", n, err, command, out)
	}
	return killed
}

// Three keys: an old one that CloudStack has replaced, the new one, and a user's own.
const (
	oldKey  = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB"
	newKey  = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgIC"
	handKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMD"
)

func TestKilledRemovalOfSSHKeysIsEndedByAnother(t *testing.T) {
	lab.Run(t, lab.Config{}, func(l *lab.Lab) {
		if err := unix.Mount("tmpfs", "/root", "tmpfs", 0, "mode=0700"); err != nil { // the host's
			t.Fatal(err)
		}
		_ = os.Remove("/etc/passwd") // a link to the host's
		put(t, "/etc/passwd", "root:x:0:0::/root:/bin/sh\ndebian:x:0:0::/root/debian:/bin/sh\n")
		all := []string{oldKey + " cloudstack", handKey + " me@home", "# a comment", newKey + " cloudstack"}
		left := slices.Delete(slices.Clone(all), 0, 1)
		homes := []string{"/root/.ssh/authorized_keys", "/root/debian/.ssh/authorized_keys"}
		store := credentials.Store{Dir: credentials.DefaultDir}
		before, now := credentials.Keys{oldKey}, credentials.Keys{newKey}
		for n := 1; ; n++ {
			for _, path := range homes {
				put(t, path, strings.Join(all, "\n")+"\n")
			}
			err := store.RecordKeys("vm", before, now)
			if err == nil {
				err = credentials.WriteJob(daemon.RunDir, credentials.Job{Instance: "vm", User: "debian", Remove: before, Keys: now})
			}
			if err != nil {
				t.Fatal(err)
			}
			killed := killedOnce(l, t, n, "ssh-keys", func() {
				removed := 0
				for _, path := range homes {
					data, err := os.ReadFile(path)
					text := string(data)
					if err != nil || text != strings.Join(all, "\n")+"\n" && text != strings.Join(left, "\n")+"\n" {
						t.Errorf("kill %d: got %s with %q, %v, want it before or after the removal", n, path, text, err)
					}
					if !strings.Contains(text, oldKey) {
						removed++
					}
				}
				keys, _, known, err := store.Keys("vm")
				if done := slices.Equal(keys, now); err != nil || !known || done && removed < len(homes) {
					t.Errorf("kill %d: got %v on record, error %v, where %d of the homes are done", n, keys, err, removed)
				}
				if _, found, err := credentials.ReadJob(daemon.RunDir); err != nil || !found && !slices.Equal(keys, now) {
					t.Errorf("kill %d: got job %t, error %v, want it until all is done", n, found, err)
				}
			})
			for _, path := range homes {
				if data, err := os.ReadFile(path); err != nil || string(data) != strings.Join(left, "\n")+"\n" {
					t.Errorf("kill %d: got %s with %q, %v at the end, want the old key removed", n, path, data, err)
				}
				if entries, err := os.ReadDir(filepath.Dir(path)); err != nil || len(entries) != 1 {
					t.Errorf("kill %d: got %v, %v beside %s, want nothing", n, entries, err, path)
				}
			}
			if keys, unsure, _, err := store.Keys("vm"); err != nil || !slices.Equal(keys, now) || len(unsure) > 0 {
				t.Errorf("kill %d: got %v, %v, %v on record at the end, want the new key", n, keys, unsure, err)
			}
			if _, found, err := credentials.ReadJob(daemon.RunDir); found || err != nil {
				t.Errorf("kill %d: got job %t, %v at the end, want none", n, found, err)
			}
			if !killed {
				t.Logf("ssh-keys has %d steps", n-1)
				break
			}
		}
	})
}

func TestKilledCleanupIsEndedByAnother(t *testing.T) {
	lab.Run(t, lab.Config{}, func(l *lab.Lab) {
		const theirs, mine = "/run/systemd/netif/leases/1", "/run/systemd/netif/leases/7"
		files := cloudinit.Files{}
		for n := 1; ; n++ {
			put(t, theirs, "# networkd's\n")
			lease := cloudinit.Lease{Index: 7, Server: netip.MustParseAddr("10.1.1.1"), Domain: "example.org"}
			err := lease.LayReady(daemon.RunDir)
			if err == nil {
				_, err = files.PlaceLease(daemon.RunDir)
			}
			if err == nil {
				err = cloudinit.Handover{SSHKeys: true}.Write(daemon.RunDir)
			}
			if err != nil {
				t.Fatal(err)
			}
			if _, err := os.Stat(mine); err != nil && n == 1 {
				t.Fatal(err)
			}
			killed := killedOnce(l, t, n, "cleanup", func() {})
			for path, want := range map[string]bool{theirs: true, mine: false, filepath.Join(daemon.RunDir, "private/cloud.cfg"): false} {
				if _, err := os.Stat(path); (err == nil) != want {
					t.Errorf("kill %d: %s: got %v at the end, want it there: %t", n, path, err, want)
				}
			}
			if !killed {
				t.Logf("cleanup has %d steps", n-1)
				break
			}
		}
	})
}
