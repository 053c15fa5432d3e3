package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

const (
	killDelay   = 10 * time.Second     // from telling the first process to end until it is killed
	stopLimit   = time.Minute          // from a signal to another process until that is killed
	setupLimit  = 5 * time.Minute      // ends what hangs: it takes milliseconds, on a slow machine seconds
	pollingStep = 2 * time.Millisecond // for what no event announces
)

// packages says which Debian package has a program.
var packages = map[string]string{
	"NetworkManager": "network-manager",
	"nmcli":          "network-manager",
	"dbus-daemon":    "dbus-daemon",
	"dnsmasq":        "dnsmasq-base",
	"ip":             "iproute2",
}

// searchPath is PATH with the directories that an ordinary user lacks.
func searchPath() []string {
	path := filepath.SplitList(os.Getenv("PATH"))
	for _, d := range []string{"/usr/sbin", "/sbin", "/usr/bin", "/bin"} {
		if !slices.Contains(path, d) {
			path = append(path, d)
		}
	}
	return path
}

// find returns the path of a program in dirs.
func find(name string, dirs []string) (string, error) {
	for _, d := range dirs {
		if p, err := exec.LookPath(filepath.Join(d, name)); err == nil {
			return p, nil
		}
	}
	if pkg, ok := packages[name]; ok {
		return "", fmt.Errorf("cannot find %s: install the Debian package %s", name, pkg)
	}
	return "", fmt.Errorf("cannot find %s in %s", name, strings.Join(dirs, ":"))
}

// command is exec.CommandContext for a program of the lab, with an environment
// that does not say that its process is the lab's first one.
func command(ctx context.Context, name string, args ...string) *exec.Cmd {
	path, err := name, error(nil)
	if !strings.Contains(name, "/") {
		path, err = find(name, searchPath())
	}
	cmd := exec.CommandContext(ctx, path, args...)
	if err != nil {
		cmd.Err = err
	}
	cmd.Env = slices.DeleteFunc(os.Environ(), func(kv string) bool { return strings.HasPrefix(kv, insideEnv) })
	return cmd
}

// output runs cmd; its error carries what cmd wrote to stderr.
func output(cmd *exec.Cmd) (string, error) {
	out, err := cmd.Output()
	if err != nil {
		text := err.Error()
		if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
			text += ": " + strings.TrimSpace(string(exit.Stderr))
		}
		return string(out), fmt.Errorf("cannot run %s: %s", strings.Join(cmd.Args, " "), text)
	}
	return string(out), nil
}

// process is a program of the lab in the background.
type process struct {
	name string
	cmd  *exec.Cmd
	done chan struct{} // closed when it has exited
}

// start runs cmd in the background, on the calling goroutine's thread and thus
// in its network namespace. All its output goes to log.
func start(name string, cmd *exec.Cmd, log *os.File) (*process, error) {
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("cannot start %s: %w", name, err)
	}
	p := &process{name: name, cmd: cmd, done: make(chan struct{})}
	go func() {
		_ = cmd.Wait() // ProcessState has it
		close(p.done)
	}()
	return p, nil
}

func (p *process) running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// stop sends sig and waits for the end. After stopLimit it sends SIGKILL.
func (p *process) stop(sig syscall.Signal) {
	if p == nil || !p.running() {
		return
	}
	_ = p.cmd.Process.Signal(sig) // it may be gone by now
	select {
	case <-p.done:
	case <-time.After(stopLimit):
		_ = p.cmd.Process.Kill()
		<-p.done
	}
}

// await polls until cond holds. It gives up when p, which may be nil, exits.
func await(what string, p *process, cond func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(context.Background(), setupLimit)
	defer cancel()
	tick := time.NewTicker(pollingStep)
	defer tick.Stop()
	exited := make(<-chan struct{})
	if p != nil {
		exited = p.done
	}
	for {
		if ok, err := cond(); err != nil {
			return fmt.Errorf("cannot wait for %s: %w", what, err)
		} else if ok {
			return nil
		}
		select {
		case <-tick.C:
		case <-exited:
			return fmt.Errorf("cannot wait for %s: %s has exited (%v)", what, p.name, p.cmd.ProcessState)
		case <-ctx.Done():
			return fmt.Errorf("cannot wait any longer than %v for %s", setupLimit, what)
		}
	}
}

// logFile opens a log of the lab for appending. Everything goes through an
// os.Root, as the lab's own mounts may hide the directory's path.
func (l *Lab) logFile(name string) (*os.File, error) {
	f, err := l.dir.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("cannot open a log: %w", err)
	}
	return f, nil
}

// readLog returns a log's text so far, "" if there is none.
func (l *Lab) readLog(name string) string {
	f, err := l.dir.Open(name)
	if err != nil {
		return ""
	}
	defer f.Close()
	b, _ := io.ReadAll(f) // as much as there is
	return string(b)
}
