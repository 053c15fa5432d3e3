//go:build integration

package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nm-cloud-seed/nm-cloud-seed/internal/daemon"
	"github.com/nm-cloud-seed/nm-cloud-seed/test/lab"
)

// onTerminal is a command on a terminal of its own.
type onTerminal struct {
	*exec.Cmd
	master *os.File
	mu     sync.Mutex
	text   bytes.Buffer
	closed chan struct{}
}

// openTerminal opens a terminal of 80 columns at both ends.
func openTerminal(t *testing.T) (master, tty *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { master.Close() })
	fd := int(master.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 80}); err != nil {
		t.Fatal(err)
	}
	other, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.TIOCGPTPEER, unix.O_RDWR|unix.O_NOCTTY)
	if errno != 0 {
		t.Fatal(errno)
	}
	return master, os.NewFile(other, "tty")
}

// TestProgressIsLiveOnCapableTerminals: only on a terminal that is not dumb a line is written over, and what is
// Long lines are broken on any terminal, and nowhere else.
func TestProgressIsLiveOnCapableTerminals(t *testing.T) {
	for _, c := range []struct {
		term     string
		terminal bool
		live     bool
		columns  int
	}{
		{"xterm", true, true, 80},
		{"dumb", true, false, 80},
		{"xterm", false, false, 0},
		{"dumb", false, false, 0},
	} {
		t.Setenv("TERM", c.term)
		r, w := openTerminal(t)
		if !c.terminal {
			var err error
			if r, w, err = os.Pipe(); err != nil {
				t.Fatal(err)
			}
		}
		if got := columns(w); got != c.columns {
			t.Errorf("TERM=%s, a terminal: %t: got %d columns, want %d", c.term, c.terminal, got, c.columns)
		}
		p := newProgress(w)
		p.report(daemon.Progress{Step: "lease", Text: "looking for the virtual router"})
		p.end()
		w.Close()
		said, _ := io.ReadAll(r) // of a terminal, EIO is its end
		text := string(said)
		if strings.Contains(text, "looking") != c.live || !strings.Contains(text, "  lease") {
			t.Errorf("TERM=%s, a terminal: %t: got %q, want a live line: %t, and the step", c.term, c.terminal, text, c.live)
		}
	}
}

// TestTerminalSize: it is as the terminal says, if that can be.
func TestTerminalSize(t *testing.T) {
	t.Parallel()
	_, tty := openTerminal(t)
	defer tty.Close()
	for _, c := range []struct{ width, height, wantWidth, wantHeight, layout int }{
		{80, 24, 80, 24, 79}, {30, 2, 30, 2, 39}, {1000, 500, 1000, 500, 399}, {0, 0, 80, 24, 79},
	} {
		if err := unix.IoctlSetWinsize(int(tty.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: uint16(c.height), Col: uint16(c.width)}); err != nil {
			t.Fatal(err)
		}
		width, height := terminalSize(tty)
		if s := newScreen(tty); width != c.wantWidth || height != c.wantHeight || s.width != c.layout || s.height != c.wantHeight {
			t.Errorf("%+v: got %d, %d, a layout for %d, %d", c, width, height, s.width, s.height)
		}
	}
}

func startOnTerminal(t *testing.T, args ...string) *onTerminal {
	t.Helper()
	master, tty := openTerminal(t)
	defer tty.Close()
	o := &onTerminal{Cmd: exec.Command(args[0], args[1:]...), master: master, closed: make(chan struct{})}
	o.Stdin, o.Stdout, o.Stderr = tty, tty, tty
	o.Env = append(os.Environ(), "TERM=xterm", "LC_ALL=C.UTF-8")
	o.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := o.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(o.closed)
		b := make([]byte, 4096)
		for {
			n, err := master.Read(b)
			o.mu.Lock()
			o.text.Write(b[:n])
			o.mu.Unlock()
			if err != nil { // EIO: the command has gone
				return
			}
		}
	}()
	return o
}

func (o *onTerminal) said() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// wait waits until the terminal has got so many different texts of a kind.
func (o *onTerminal) wait(t *testing.T, pattern string, number int) {
	t.Helper()
	want := regexp.MustCompile(pattern)
	for {
		found := want.FindAllString(o.said(), -1)
		slices.Sort(found)
		if len(slices.Compact(found)) >= number {
			return
		}
		select {
		case <-o.closed:
			t.Fatalf("got the end and %q, want %q before", o.said(), pattern)
		case <-t.Context().Done():
			t.Fatalf("got %q, want %q", o.said(), pattern)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// end waits for the command, and returns its exit status.
func (o *onTerminal) end(t *testing.T) int {
	t.Helper()
	err := o.Wait()
	<-o.closed
	var failed *exec.ExitError
	if err != nil && !errors.As(err, &failed) {
		t.Fatal(err)
	}
	return o.ProcessState.ExitCode()
}

// TestWatchFollowsTheServiceOnTerminal follows the service on a terminal: before there is anything, if there is to
// be, while it is at work, to its end.
func TestWatchFollowsTheServiceOnTerminal(t *testing.T) {
	if !lab.Inside() {
		t.Parallel()
	}
	lab.Run(t, lab.Config{}, func(l *lab.Lab) {
		never := startOnTerminal(t, "nm-cloud-seed", "status", "--watch")
		if status, text := never.end(t), never.said(); status != exitUnknown || !strings.HasPrefix(text, "nm-cloud-seed: the service has not run") {
			t.Errorf("got exit status %d, %q, want %d, as the service has not run", status, text, exitUnknown)
		}
		if err := os.WriteFile("/etc/nm-cloud-seed.conf", []byte("[main]\nplatform=cloudstack\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		early := startOnTerminal(t, "nm-cloud-seed", "status", "--watch")
		early.wait(t, "waiting for the service to start", 1)
		late := startOnTerminal(t, "nm-cloud-seed", "status", "--watch")

		service := exec.Command("nm-cloud-seed", "run")
		if err := service.Start(); err != nil {
			t.Fatal(err)
		}
		// The bar grows while nothing else is new.
		early.wait(t, `searching +\S+ m?s `, 5)
		if _, err := early.master.Write([]byte("\x03")); err != nil {
			t.Fatal(err)
		}
		if status := early.end(t); status != exitRunning {
			t.Errorf("got exit status %d, want %d", status, exitRunning)
		}
		if text := early.said(); !strings.HasSuffix(text, "\x1b[J^C\r\x1b[K") || strings.Contains(text, "\x1b[2J") || strings.Contains(text, "\x1b[H") {
			t.Errorf("got %q, want an empty line without ^C at the end, and no cleared screen", text)
		}

		if err := serveVR(t, l); err != nil {
			t.Fatal(err)
		}
		late.wait(t, `state +\x1b\[32mready`, 1)
		if err := service.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if err := service.Wait(); err != nil {
			t.Error(err)
		}
		if status := late.end(t); status != 0 {
			t.Errorf("got exit status %d, want 0", status)
		}
		text := late.said()
		last := text[strings.LastIndex(text, "state "):]
		if !regexp.MustCompile(`(?s)ready.*\nstep +took +at.*\nNetworkManager .*\nvirtual router .*[▏▎▍▌▋▊▉█].*\x1b\[J$`).MatchString(last) {
			t.Errorf("got %q, want the steps with their bars", last)
		}
		screen := &fakeTerminal{width: 80, height: 24}
		if _, err := screen.Write([]byte(strings.ReplaceAll(regexp.MustCompile(`\x1b\[\d*m`).ReplaceAllString(text, ""), "\r\n", "\n"))); err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(screen.String(), "started "); n != 1 {
			t.Errorf("got the state %d times on the terminal, want it once:\n%s", n, screen)
		}
	})
}
