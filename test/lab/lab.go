// Package lab is a virtual machine's network without a machine: a real
// NetworkManager, dbus-daemon and dnsmasq in Linux namespaces, with a place for
// a virtual router in the test's own process.
//
//	 fresh mount, network, pid, UTS and IPC namespaces (user, if not root)
//	┌──────────────────────────────────────────────────────────────────────┐
//	│ the test binary again, pid 1 ── dbus-daemon ── NetworkManager        │
//	│     │ Listen                                       │                 │
//	│     │              netns "vm"                      eth0      eth1    │
//	│ ┄┄┄┄│┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄│veth┄┄┄┄┄│veth┄ │
//	│     └─ :80, :8080          netns "vr0", "vr1", …   vr0       vr0     │
//	│                                                  dnsmasq   dnsmasq   │
//	└──────────────────────────────────────────────────────────────────────┘
//
// [Run] runs the body of a test in there; [Enter] and [New] do it for a
// program. A lab has its own /run, /etc and /var/lib and sees no device of the
// host, so labs run side by side, all with the same addresses; the rest of the
// file system is the host's. What is in a lab dies with its first process, and
// that dies with the process that entered it, even if that is killed.
//
// It works for root and, where the kernel allows user namespaces, for everybody.
package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"

	"github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"
)

// Lab is a running lab. Its methods, except Close, may be called by several
// goroutines.
type Lab struct {
	config Config
	dir    *os.Root // logs
	nics   []*nic
	bus    *process
	conn   *dbus.Conn

	nmMu sync.Mutex // one start or stop at a time
	nm   *process
}

// New makes a lab of the namespaces that the process is in, which must be those
// of [Enter] or [Run]. Its logs are in dir.
func New(dir string, config Config) (*Lab, error) {
	if !Inside() {
		return nil, errors.New("cannot set up a lab: this process is not inside fresh namespaces (see Enter)")
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("cannot open the lab's directory: %w", err)
	}
	l := &Lab{config: config, dir: root}
	if err := l.setUp(); err != nil {
		return nil, errors.Join(err, checkInotify(), l.Close())
	}
	return l, nil
}

func (l *Lab) setUp() error {
	nics := l.config.NICs
	if nics == nil {
		nics = make([]NIC, 1)
	}
	for i := range nics {
		filled, err := nics[i].fill(i)
		if err != nil {
			return err
		}
		l.nics = append(l.nics, &nic{NIC: filled, due: filled.DropFirst})
	}
	// All that is missing at once, before anything half works.
	var missing []error
	for _, name := range []string{"ip", "dnsmasq", "dbus-daemon", "NetworkManager"} {
		_, err := find(name, searchPath())
		missing = append(missing, err)
	}
	if err := errors.Join(missing...); err != nil {
		return err
	}
	if err := mountAll(); err != nil {
		return err
	}
	if err := os.Setenv("TMPDIR", tmpDir); err != nil {
		return fmt.Errorf("cannot set TMPDIR: %w", err)
	}
	// What a generic image calls itself; DHCP clients do not send it.
	if err := unix.Sethostname([]byte("localhost")); err != nil {
		return fmt.Errorf("cannot set the host name: %w", err)
	}
	if err := l.startBus(); err != nil {
		return err
	}
	if err := l.setUpNetworks(); err != nil {
		return err
	}
	if err := l.writeNMConfig(); err != nil {
		return err
	}
	if err := l.connectBus(); err != nil {
		return err
	}
	if l.config.NoNM {
		return nil
	}
	return l.StartNetworkManager()
}

func (l *Lab) setUpNetworks() error {
	if err := nameNetns(vmNetns, false); err != nil {
		return err
	}
	if err := ip(vmNetns, "link set lo up"); err != nil {
		return err
	}
	for i, n := range l.nics {
		if err := nameNetns(netnsName(i), true); err != nil {
			return err
		}
		if n.Absent {
			continue
		}
		if err := l.AddNIC(i); err != nil {
			return err
		}
	}
	return nil
}

// Command is a command in the VM: with its network, its files and its bus. It
// is this process's own environment, too: what a test does in-process happens
// in the VM.
func (l *Lab) Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	return command(ctx, name, args...)
}

// RouterCommand is a command in the network of NIC i's virtual router.
func (l *Lab) RouterCommand(ctx context.Context, i int, name string, args ...string) *exec.Cmd {
	return command(ctx, "ip", append([]string{"netns", "exec", netnsName(i), name}, args...)...)
}

// Close kills the lab's programs. Mounts and networks go with the process.
func (l *Lab) Close() error {
	var errs []error
	l.nm.stop(syscall.SIGKILL)
	for i := range l.nics {
		errs = append(errs, l.StopDHCP(i))
	}
	if l.conn != nil {
		errs = append(errs, l.conn.Close())
	}
	l.bus.stop(syscall.SIGKILL)
	return errors.Join(append(errs, l.dir.Close())...)
}
