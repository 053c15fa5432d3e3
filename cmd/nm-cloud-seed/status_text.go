package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/nm-cloud-seed/nm-cloud-seed/internal/cloudinit"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/daemon"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/timeline"
)

// nameWidth is the first column's.
const nameWidth = len("virtual router") + 2

// listMost bounds lists: what a screen has no room for is in --json.
const listMost = 6

func printStatus(w io.Writer, s daemon.State) error {
	text := strings.Join(newScreen(w).status(s, s.Age(), healsLater(s)), "\n") + "\n"
	_, err := io.WriteString(w, text)
	return err
}

// healsLater says whether healing is still to start.
func healsLater(s daemon.State) bool {
	return s.Ended != nil && s.Healing == nil && daemon.Wants("") && !cloudinit.Files{}.Done()
}

// status is what there is to say of a state, as lines. age is how long ago the run
// started.
func (v screen) status(s daemon.State, age time.Duration, healsLater bool) []string {
	p := page{screen: v}
	p.row("state", colour(s.Phase), string(s.Phase))
	p.row("", "", s.Text)
	p.instance(s)
	if text := s.OutcomeText(); text != "" {
		p.row("cloud-init", outcomeColour(s), text)
	}
	switch {
	case s.Healing != nil:
		p.row("healing", yellow, s.Healing.Text)
	case healsLater:
		p.row("healing", yellow, "starts when cloud-init is done")
	}
	p.refresh(s.Refresh)
	if s.Password != "" {
		p.row("password", "", s.Password)
	}
	if s.SSHKeys != "" {
		p.row("SSH keys", "", s.SSHKeys)
	}
	if len(s.Temporary) > 0 {
		p.row("temporary", "", "a connection of ours holds "+list(s.Temporary))
	}
	switch {
	case len(s.Kept) > 0 && s.Keeping != nil:
		p.row("temporary", "", fmt.Sprintf("'nm-cloud-seed keep' has not ended: the connection on %s may be permanent already; run 'nm-cloud-seed keep' again", list(s.Kept)))
	case len(s.Kept) > 0:
		p.row("temporary", "", fmt.Sprintf("a connection of ours stays on %s until shutdown, as no other profile took its place; 'nm-cloud-seed keep' makes it permanent", list(s.Kept)))
	}
	for i, d := range s.Devices {
		if i == listMost {
			p.row("", "", fmt.Sprintf("and %d more", len(s.Devices)-i))
			break
		}
		p.row("device", "", d.Name+": "+d.Detail+whenSeen(s))
	}
	p.row("started", "", s.Started.Local().Format(time.DateTime))
	return append(p.lines, v.steps(timeline.StepsOf(s, age))...)
}

// whenSeen says of a device's state that it is not the current one.
func whenSeen(s daemon.State) string {
	if s.Ended != nil && s.Healing == nil {
		return " (when the run ended)"
	}
	return ""
}

func outcomeColour(s daemon.State) string {
	switch {
	case s.Outcome.Failed():
		return red
	case s.Outcome.Running():
		return yellow
	}
	return ""
}

// page is a text under way.
type page struct {
	screen
	lines []string
}

// row has its name in the first column, and is broken where a terminal ends.
func (p *page) row(name, colour, text string) {
	lines := []string{cleanText(text)}
	if p.height > 0 {
		lines = wrap(lines[0], max(p.width-nameWidth, 1))
	}
	for _, line := range lines {
		p.lines = append(p.lines, strings.TrimRight(fmt.Sprintf("%-*s", nameWidth, name)+p.paint(colour, line), " "))
		name = ""
	}
}

func (p *page) instance(s daemon.State) {
	i := s.Instance
	if i == nil {
		return
	}
	p.row("instance-id", "", i.ID)
	router := fmt.Sprintf("%s (%s on %s)", i.Server, i.Role, i.Device)
	if i.Source == daemon.LastBoot {
		p.row("source", yellow, fmt.Sprintf("%s, fetched %s from %s", i.Source, i.Fetched.Local().Format(time.DateTime+" MST"), router))
		router = "not used: " + s.Error
	}
	p.row("virtual router", "", router)
	p.row("seed", "", fmt.Sprintf("%s: %d keys, %d bytes of user-data", i.Seed, i.Keys, i.UserData))
	for n, warning := range i.Warnings {
		if n == listMost {
			p.row("", "", fmt.Sprintf("and %d more", len(i.Warnings)-n))
			break
		}
		p.row("warning", yellow, warning)
	}
}

func (p *page) refresh(r *daemon.Refresh) {
	switch {
	case r == nil:
	case r.Ended == nil:
		p.row("refreshing", yellow, r.Text)
	default:
		colour := ""
		if r.Error != "" {
			colour = yellow // what there was is still there
		}
		p.row("refreshed", colour, r.Started.Local().Format(time.DateTime)+": "+r.Text)
	}
}

func list(names []string) string {
	if len(names) > listMost {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:listMost], ", "), len(names)-listMost)
	}
	return strings.Join(names, ", ")
}
