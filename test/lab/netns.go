package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	netnsDir = "/run/netns" // where `ip netns` keeps its names
	vmNetns  = "vm"         // the name of the lab's own network namespace
)

// onThread runs f on a thread of its own that may change its network
// namespace. If f leaves it in another one, the thread ends with f.
func onThread(f func(home *os.File) error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		home, err := os.Open("/proc/thread-self/ns/net")
		if err != nil {
			done <- fmt.Errorf("cannot open the network namespace: %w", err)
			return
		}
		defer home.Close()
		err = f(home)
		if back := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); back != nil {
			done <- errors.Join(err, fmt.Errorf("cannot return from a network namespace: %w", back))
			return // still locked: the runtime ends the thread
		}
		runtime.UnlockOSThread()
		done <- err
	}()
	return <-done
}

// inNetns runs f on a thread inside a named network namespace. What f starts
// in the same goroutine (sockets, processes) belongs there.
func inNetns(name string, f func() error) error {
	return onThread(func(*os.File) error {
		ns, err := os.Open(filepath.Join(netnsDir, name))
		if err != nil {
			return fmt.Errorf("cannot open network namespace %s: %w", name, err)
		}
		defer ns.Close()
		if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("cannot enter network namespace %s: %w", name, err)
		}
		return f()
	})
}

// nameNetns gives a name to a new network namespace, or to the lab's own one,
// for `ip -n` and `ip netns`.
func nameNetns(name string, fresh bool) error {
	return onThread(func(*os.File) error {
		if fresh {
			if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
				return fmt.Errorf("cannot create network namespace %s: %w", name, err)
			}
		}
		path := filepath.Join(netnsDir, name)
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			return fmt.Errorf("cannot name network namespace %s: %w", name, err)
		}
		if err := unix.Mount("/proc/thread-self/ns/net", path, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("cannot name network namespace %s: %w", name, err)
		}
		return nil
	})
}

// OnRouter runs f on a thread inside the network namespace of NIC i's virtual
// router. Only what happens on f's own goroutine is in there: a listener or a
// process that it starts stays in there, a goroutine that it starts does not.
func (l *Lab) OnRouter(i int, f func() error) error {
	if i < 0 || i >= len(l.nics) {
		return fmt.Errorf("cannot enter the network of eth%d: the lab has %d NICs", i, len(l.nics))
	}
	return inNetns(netnsName(i), f)
}

// Listen returns a TCP listener on an address of NIC i's virtual router, such
// as "10.1.1.1:80", that belongs to this process: what it serves can be part of
// the test. The address must be a literal one.
func (l *Lab) Listen(i int, addr string) (ln net.Listener, err error) {
	err = l.OnRouter(i, func() (err error) {
		ln, err = new(net.ListenConfig).Listen(context.Background(), "tcp", addr)
		return err
	})
	return ln, err
}

// operState reads a link's operational state (RFC 2863, IF_OPER_* of
// linux/if.h) in the calling thread's network namespace. The flag IFF_RUNNING
// says less: it is set already while a new link's state is unknown.
func operState(device string) (byte, error) {
	b, err := syscall.NetlinkRIB(unix.RTM_GETLINK, unix.AF_UNSPEC)
	if err != nil {
		return 0, fmt.Errorf("cannot list links: %w", err)
	}
	messages, err := syscall.ParseNetlinkMessage(b)
	if err != nil {
		return 0, fmt.Errorf("cannot list links: %w", err)
	}
	for i := range messages {
		if messages[i].Header.Type != unix.RTM_NEWLINK {
			continue
		}
		attrs, err := syscall.ParseNetlinkRouteAttr(&messages[i])
		if err != nil {
			return 0, fmt.Errorf("cannot list links: %w", err)
		}
		var name string
		var state byte
		for _, a := range attrs {
			switch a.Attr.Type {
			case unix.IFLA_IFNAME:
				name = unix.ByteSliceToString(a.Value)
			case unix.IFLA_OPERSTATE:
				state = a.Value[0]
			}
		}
		if name == device {
			return state, nil
		}
	}
	return 0, fmt.Errorf("cannot find link %s", device)
}
