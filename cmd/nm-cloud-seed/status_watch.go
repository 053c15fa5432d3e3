package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"time"

	"github.com/nm-cloud-seed/nm-cloud-seed/internal/daemon"
)

// lookAt is how often a state is looked at: it is a small file in memory.
const lookAt = 100 * time.Millisecond

// healGrace is how long nm-cloud-seed-heal.service takes at most to say that it is
// there, when cloud-init is done or a refresh has started it.
const healGrace = 5 * time.Second

// watchStatus shows the state until the run has ended, and nothing is healed or
// refreshed, or is going to be. A state that is not there yet is waited for, if it is to
// come.
func watchStatus(ctx context.Context, w io.Writer, asJSON bool) error {
	show, end := each(w, printStatus), func() error { return nil }
	switch {
	case asJSON:
		show = each(w, printJSON)
	case smart(w):
		p := &painter{w: w}
		show, end = live(p), p.end
	}
	comes := whyNot() == ""
	busy := time.Now() // when it was so last
	ticker := time.NewTicker(lookAt)
	defer ticker.Stop()
	for {
		s, err := daemon.ReadState("")
		if err != nil && (!comes || !errors.Is(err, fs.ErrNotExist)) {
			return unknown(err)
		}
		if s.Busy() || healsLater(s) {
			busy = time.Now()
		}
		over := !s.Busy() && (!daemon.Wants("") || time.Since(busy) >= healGrace)
		if err := show(s, err == nil, over); err != nil {
			return exit{exitFailed, err}
		}
		if over {
			return verdict(s)
		}
		select {
		case <-ctx.Done():
			if err := end(); err != nil {
				return exit{exitFailed, err}
			}
			return unknownOr(s, err)
		case <-ticker.C:
		}
	}
}

func unknownOr(s daemon.State, err error) error {
	if err != nil {
		return unknown(err)
	}
	return verdict(s)
}

// shower shows a state, if there is one, or the last one.
type shower func(s daemon.State, is, last bool) error

// each prints each state that is new.
func each(w io.Writer, print func(io.Writer, daemon.State) error) shower {
	var before []byte
	return func(s daemon.State, is, _ bool) error {
		if !is {
			return nil
		}
		now, err := json.Marshal(s)
		if err != nil || bytes.Equal(now, before) {
			return err
		}
		before = now
		return print(w, s)
	}
}

// live paints the state over and over.
func live(p *painter) shower {
	return func(s daemon.State, is, last bool) error {
		v := newScreen(p.w)
		lines := []string{"waiting for the service to start"}
		if is {
			lines = v.status(s, s.Age(), healsLater(s))
		}
		return p.paint(lines, v.width, v.height, last)
	}
}

// painter repaints a few lines of a terminal in place. What was there before stays.
type painter struct {
	w             io.Writer
	lines         []string // painted, above the cursor
	width, height int      // of the terminal then
}

// paint shows lines in the place of those before, in one go and without a gap, so that
// nothing flickers. Before the last time, what is too much for the terminal is left out
// from above, since what has scrolled away cannot be repainted, and to the right: a line
// that goes on in the next row would be two.
func (p *painter) paint(lines []string, width, height int, last bool) error {
	if most := height - 1; !last && len(lines) > most {
		lines = lines[len(lines)-most:]
	}
	if width != p.width || height != p.height {
		p.lines = nil // who knows where they are now
	}
	if !last && slices.Equal(lines, p.lines) {
		return nil
	}
	var b bytes.Buffer
	if rows := len(p.lines); rows > 0 {
		fmt.Fprintf(&b, "\r\x1b[%dA", rows) // up
	}
	if !last {
		b.WriteString("\x1b[?7l") // no wrapping: DECAWM, see console_codes(4)
	}
	for _, line := range lines {
		fmt.Fprintf(&b, "%s\x1b[K\n", line) // clear the rest of the line
	}
	b.WriteString("\x1b[?7h\x1b[J") // and what is below
	p.lines, p.width, p.height = lines, width, height
	_, err := p.w.Write(b.Bytes())
	return err
}

// end leaves the cursor on an empty line, without the ^C that the terminal shows.
func (p *painter) end() error {
	_, err := io.WriteString(p.w, "\r\x1b[K")
	return err
}
