package main

import (
	"io"
	"os"

	"golang.org/x/term"

	"github.com/nm-cloud-seed/nm-cloud-seed/internal/daemon"
)

// Colours of a terminal.
const (
	red    = "31"
	green  = "32"
	yellow = "33"
)

func colour(p daemon.Phase) string {
	switch p {
	case daemon.Ready, daemon.Idle:
		return green
	case daemon.Failed, daemon.Stopped:
		return red
	}
	return yellow // under way
}

// paint colours a text, on a terminal that wants it (https://no-color.org).
func paint(w io.Writer, colour, text string) string {
	if colour == "" || !smart(w) || os.Getenv("NO_COLOR") != "" {
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}

// smart says whether it is a terminal that has colours, and lets lines be written over.
func smart(w io.Writer) bool { return terminal(w) && os.Getenv("TERM") != "dumb" }

func terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
