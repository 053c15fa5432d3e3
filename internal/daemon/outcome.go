package daemon

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/nm-cloud-seed/nm-cloud-seed/internal/atomicfile"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/cloudinit"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/rootfs"
)

// outcomePath has the outcome as it was when cloud-init's stages had ended, for every
// user to read. Only Conclude writes it, so status.json has one writer.
// nm-cloud-seed-stages.service removes it before it runs the stages again.
const outcomePath = RunDir + "/outcome.json"

const maxOutcome = 64 << 10 // bytes

// Conclude records what cloud-init made of the seed, and says it on the console and
// above the login prompt if that is not right. Call it when cloud-init's stages have
// ended, or failed, or were left out. It returns nil where there is no seed.
func (d *Daemon) Conclude() (*cloudinit.Outcome, error) {
	s, err := readState(d.Root)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if !s.seeded() {
		return nil, atomicfile.Remove(filepath.Join(d.Root, outcomePath))
	}
	o, err := (cloudinit.Files{Root: d.Root}).Outcome(s.Instance.ID, true)
	if err != nil {
		o.State, o.Failures = cloudinit.OutcomeFailed, []string{"cloud-init did not run"}
		if !errors.Is(err, fs.ErrNotExist) {
			o.Failures = []string{err.Error()}
		}
	}
	rememberErr := d.remember(&o)
	data, err := json.MarshalIndent(o, "", "  ")
	if err == nil {
		err = atomicfile.WriteFile(filepath.Join(d.Root, outcomePath), append(data, '\n'), 0o644)
	}
	s.setOutcome(&o)
	if o.Failed() {
		d.Log.Error(s.Text)
		if s.Healing == nil { // heal says it
			d.proclaim(s.Text)
		}
	} else {
		d.Log.Info("cloud-init applied the seed of instance " + o.Instance)
	}
	return &o, errors.Join(rememberErr, err)
}

// seeded reports whether this boot's run has written a seed for cloud-init.
func (s *State) seeded() bool { return s.Phase == Ready && s.Instance != nil }

// judge adds the outcome to a state: what cloud-init says now, and whether its stages
// had ended when Conclude looked. A user who may not read cloud-init's status gets what
// Conclude recorded.
func (s *State) judge(root string) {
	s.Outcome = nil
	if !s.seeded() {
		return
	}
	if s.Healing != nil && s.Healing.Stages {
		s.setOutcome(&cloudinit.Outcome{State: cloudinit.OutcomeRunning, Instance: s.Instance.ID}) // its stages run again
		return
	}
	s.setOutcome(outcomeNow(root, s.Instance.ID))
}

// outcomeNow returns the outcome as it is now, nil if it cannot be known.
func outcomeNow(root, instance string) *cloudinit.Outcome {
	recorded, ended := readOutcome(root)
	o, err := (cloudinit.Files{Root: root}).Outcome(instance, ended)
	switch {
	case err == nil:
		if ended && recorded.Instance == instance && len(recorded.Earlier) > 0 {
			o.State, o.Earlier = cloudinit.OutcomeFailed, recorded.Earlier
		}
		return &o
	case ended && recorded.Instance == instance: // also after `cloud-init clean`
		return &recorded
	case errors.Is(err, fs.ErrNotExist): // it has not begun
		return &o
	}
	return nil
}

func readOutcome(root string) (o cloudinit.Outcome, ok bool) {
	path := filepath.Join(root, outcomePath)
	data, err := rootfs.Read(os.DirFS(filepath.Dir(path)), filepath.Base(path), maxOutcome)
	if err != nil {
		return o, false
	}
	return cloudinit.ReadOutcome(data)
}

// setOutcome makes a seeded state say what became of it.
func (s *State) setOutcome(o *cloudinit.Outcome) {
	s.Outcome = o
	if !o.Failed() {
		return
	}
	s.Phase, s.Text = Failed, s.Text+but+o.Reason()
	if s.Error == "" { // else it is why the seed is the cached data
		s.Error = o.Reason()
	}
}

const but = ", but "

// SeedText returns what the run itself said, without the outcome.
func (s *State) SeedText() string { return strings.TrimSuffix(s.Text, but+s.Outcome.Reason()) }

// concluded returns the state with the outcome, after cloud-init has run its stages again.
func (d *Daemon) concluded() State {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.state
	if s.seeded() {
		s.setOutcome(outcomeNow(d.Root, s.Instance.ID))
	}
	return s
}

// OutcomeText returns the outcome in words, empty without one.
func (s *State) OutcomeText() string {
	text := ""
	switch o := s.Outcome; {
	case o == nil:
		return ""
	case o.Running():
		return "at work: it is not known yet what becomes of the seed"
	case o.Failed():
		text = "failed" // Text says why
	default:
		text = "applied the seed"
	}
	if n := len(s.Outcome.Complaints); n > 0 {
		text += fmt.Sprintf("; other modules failed: %s", strings.Join(s.Outcome.Complaints, ", "))
	}
	return text
}
