package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/nm-cloud-seed/nm-cloud-seed/internal/config"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/daemon"
)

func statusCommand() *cobra.Command {
	var asJSON, watch bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Say how the service's run stands or ended",
		Long: `Status says what the service did since the system started: from which virtual
router it got which instance, when, or why it failed.

Exit status: 0 the seed is in place or there was nothing to do, 1 it failed,
3 it is still at work, 4 it has not run.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			show := printStatus
			if asJSON {
				show = printJSON
			}
			if watch {
				return watchStatus(cmd.Context(), cmd.OutOrStdout(), show)
			}
			s, err := daemon.ReadState("")
			if err != nil {
				return unknown(err)
			}
			if err := show(cmd.OutOrStdout(), s); err != nil {
				return exit{exitFailed, err}
			}
			return verdict(s)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the state as JSON; with --watch, one document a line")
	cmd.Flags().BoolVar(&watch, "watch", false, "go on until the run has ended, and show each change")
	return cmd
}

func unknown(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		text := "the service has not run since the system started"
		cfg, _ := config.Load("") // the service says what is wrong with it
		if cfg.Ordering == config.OrderingOff {
			text += ": switched off in the configuration (ordering=off)"
		} else if reason, _ := daemon.NothingToDo("", cfg); reason != "" {
			text += ": " + reason
		}
		return exit{exitUnknown, errors.New(text)}
	}
	return exit{exitFailed, err}
}

// verdict is the exit status that a state stands for.
func verdict(s daemon.State) error {
	switch s.Phase {
	case daemon.Ready, daemon.Idle:
		return nil
	case daemon.Failed, daemon.Stopped:
		return exit{code: exitFailed}
	}
	return exit{code: exitRunning}
}

// watchStatus shows each new state until the run has ended. It looks ten times
// a second: a state is a small file in memory.
func watchStatus(ctx context.Context, w io.Writer, show func(io.Writer, daemon.State) error) error {
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	var last []byte
	for {
		s, err := daemon.ReadState("")
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return unknown(err)
		}
		end := unknown(err)
		if err == nil {
			end = verdict(s)
			now, err := json.Marshal(s)
			if err != nil {
				return exit{exitFailed, err}
			}
			if !bytes.Equal(now, last) {
				last = now
				if terminal(w) && os.Getenv("TERM") != "dumb" {
					fmt.Fprint(w, "\x1b[H\x1b[2J") // home, clear
				}
				if err := show(w, s); err != nil {
					return exit{exitFailed, err}
				}
			}
			if s.Ended != nil && s.Healing == nil {
				return end
			}
		}
		select {
		case <-ctx.Done():
			return end
		case <-ticker.C:
		}
	}
}

func printJSON(w io.Writer, s daemon.State) error { return json.NewEncoder(w).Encode(s) }

func printStatus(w io.Writer, s daemon.State) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) {
		fmt.Fprintf(t, "%s\t%s\n", name, fmt.Sprintf(format, args...))
	}
	row("state", "%s", paint(w, colour(s.Phase), string(s.Phase)))
	row("", "%s", s.Text)
	if i := s.Instance; i != nil {
		row("instance-id", "%s", i.ID)
		router := fmt.Sprintf("%s (%s on %s)", i.Server, i.Role, i.Device)
		if i.Source == daemon.LastBoot {
			row("source", "%s, fetched %s from %s", paint(w, yellow, i.Source), i.Fetched.Local().Format(time.DateTime+" MST"), router)
			router = "not used: " + s.Error
		}
		row("virtual router", "%s", router)
		row("seed", "%s: %d keys, %d bytes of user-data", i.Seed, i.Keys, i.UserData)
		for _, warning := range i.Warnings {
			row("warning", "%s", warning)
		}
	}
	if s.Healing != nil {
		row("healing", "%s", s.Healing.Text)
	}
	if s.Password != "" {
		row("password", "%s", s.Password)
	}
	if s.SSHKeys != "" {
		row("SSH keys", "%s", s.SSHKeys)
	}
	if len(s.Temporary) > 0 {
		row("temporary", "a connection of ours holds %s", strings.Join(s.Temporary, ", "))
	}
	if len(s.Kept) > 0 {
		row("temporary", "a connection of ours stays on %s until shutdown, as no other profile took its place; 'nm-cloud-seed keep' makes it permanent", strings.Join(s.Kept, ", "))
	}
	for _, d := range s.Devices {
		row("device", "%s: %s", d.Name, d.Detail)
	}
	row("started", "%s", s.Started.Local().Format(time.DateTime))
	for _, step := range s.Steps {
		row("", "%8s  %s", millis(time.Duration(step.At*float64(time.Millisecond))), step.Name)
	}
	return t.Flush()
}

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
	if colour == "" || !terminal(w) || os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" {
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}

func terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
