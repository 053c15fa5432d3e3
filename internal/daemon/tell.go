package daemon

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode"

	"golang.org/x/sys/unix"

	"github.com/nm-cloud-seed/nm-cloud-seed/internal/atomicfile"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/lease"
)

// restLimit bounds what comes after the deadline: the seed, the password server, and
// hashes, which cost a slow processor seconds each. abortBefore is how long before
// systemd's start timeout a run that hangs ends itself.
const (
	restLimit   = time.Minute
	abortBefore = 30 * time.Second
)

// boundStart ends the process if the start hangs, until stop is called. The time counts
// from now: before that, an overloaded host may have taken minutes to start the program,
// for which the unit has a long start timeout. A long deadline= goes beyond that
// timeout, so systemd is told (EXTEND_TIMEOUT_USEC in sd_notify(3), which never shortens
// it).
func (d *Daemon) boundStart() (stop func()) {
	limit := d.Config.Deadline + restLimit
	d.Notify(fmt.Sprintf("EXTEND_TIMEOUT_USEC=%d", (limit + abortBefore).Microseconds()))
	return d.bound(limit)
}

// bound ends the process after a time, unless stop is called before.
func (d *Daemon) bound(limit time.Duration) (stop func()) {
	if d.Abort == nil {
		return func() {}
	}
	timer := time.AfterFunc(limit, func() {
		d.Log.Errorf("the process hangs: it has not ended after %v; cloud-init goes on without it", limit)
		d.Abort()
	})
	return func() { timer.Stop() }
}

// tell changes the state and passes it on: to status.json, and to systemd where
// the words are new. It may be called from several goroutines.
func (d *Daemon) tell(change func(*State)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	before := d.state.text()
	change(&d.state)
	if text := d.state.text(); text != before {
		d.Notify("STATUS=" + line(text))
	}
	if err := d.state.write(d.Root); err != nil && !d.mute {
		d.mute = true // once
		d.Log.WithError(err).Warn("cannot write the state")
	}
}

// say moves on to a phase.
func (d *Daemon) say(phase Phase, text string) {
	d.tell(func(s *State) { s.Phase, s.Text = phase, text })
}

// progress takes the reports of a job. They go on after its end, while the
// connection is held, and then tell of the devices only.
func (d *Daemon) progress(p Progress) {
	d.tell(func(s *State) {
		s.Devices, s.Temporary = nil, nil
		for _, device := range p.View.Devices {
			s.Devices = append(s.Devices, Device{device.Name, device.State == lease.Leased, device.Detail})
		}
		for _, l := range p.View.Leases {
			if l.Temporary {
				s.Temporary = append(s.Temporary, l.Device)
			}
		}
		text := &s.Text
		switch {
		case s.Healing != nil:
			text = &s.Healing.Text
			s.Healing.Kept = slices.DeleteFunc(s.Healing.Kept, func(device string) bool {
				return slices.ContainsFunc(p.View.Leases, func(l lease.Lease) bool { return l.Device == device && !l.Temporary })
			})
		case s.Phase.end():
			return
		default:
			s.Phase = p.Phase
		}
		if p.Step != "" {
			s.step(p.Step)
		}
		if p.Text != "" {
			*text = p.Text
		}
	})
}

// ended is the last word. Nothing follows the devices any more: after a good run they
// are dropped, after a failed one they show what it had.
func (d *Daemon) ended() {
	d.tell(func(s *State) {
		now := time.Now()
		s.Ended, s.Temporary = &now, nil
		if s.Phase == Ready {
			s.Devices = nil
		}
	})
}

// issuePath is read by agetty(8) and shown above the login prompt.
const issuePath = "/run/issue.d/nm-cloud-seed.issue"

func (d *Daemon) writeIssue(text string) error {
	path := filepath.Join(d.Root, issuePath)
	if err := atomicfile.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	// agetty takes a backslash for the start of an escape.
	text = strings.ReplaceAll(line(text), `\`, `\\`)
	return atomicfile.WriteFile(path, []byte("nm-cloud-seed: "+text+"\n\n"), 0o644)
}

func (d *Daemon) removeIssue() error { return atomicfile.Remove(filepath.Join(d.Root, issuePath)) }

// writeConsole puts a line on the console, which may be all that an operator of
// an unreachable VM can see. Only as a service: in a shell, stderr has it.
func (d *Daemon) writeConsole(text string) {
	if os.Getenv("INVOCATION_ID") == "" { // set by systemd, see systemd.exec(5)
		return
	}
	// Not by os.OpenFile, whose Write waits for a console that nobody reads.
	fd, err := unix.Open(filepath.Join(d.Root, "/dev/console"), unix.O_WRONLY|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return // a machine without a console
	}
	_, _ = unix.Write(fd, []byte("\r\nnm-cloud-seed: "+line(text)+"\r\n"))
	_ = unix.Close(fd)
}

// line makes a text fit for one line of a terminal, of bounded length.
func line(text string) string {
	text = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, text)
	if len(text) > 2000 {
		text = strings.ToValidUTF8(text[:2000], "") + "…"
	}
	return text
}
