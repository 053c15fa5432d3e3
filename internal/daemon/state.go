package daemon

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/nm-cloud-seed/nm-cloud-seed/internal/atomicfile"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/cloudinit"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/rootfs"
)

// StatePath is where the service says how it stands, for every user to read.
const StatePath = RunDir + "/status.json"

// Phase is where a run stands.
type Phase string

// The phases of a run, in their order; the last four are ends.
const (
	Starting  Phase = "starting"
	Leasing   Phase = "leasing"   // waiting for NetworkManager and a lease
	Searching Phase = "searching" // for the virtual router
	Fetching  Phase = "fetching"  // its metadata
	Ready     Phase = "ready"     // the seed is in place, and cloud-init has not failed with it
	Idle      Phase = "idle"      // there was nothing to do
	Failed    Phase = "failed"
	Stopped   Phase = "stopped" // from outside, before there was a seed
)

// End reports whether the run is over.
func (p Phase) End() bool { return p.end() }

func (p Phase) end() bool { return p == Ready || p == Idle || p == Failed || p == Stopped }

// State is what the service says of itself. It holds no secret: of metadata
// and user-data only how much there is.
type State struct {
	Phase     Phase      `json:"phase"`
	Text      string     `json:"text"` // for a person
	Started   time.Time  `json:"started"`
	Process   process    `json:"process"`
	Steps     []Step     `json:"steps"`
	Devices   []Device   `json:"devices,omitempty"`
	Instance  *Instance  `json:"instance,omitempty"`
	Password  string     `json:"password,omitempty"`              // what became of it, in words
	SSHKeys   string     `json:"ssh-keys,omitempty"`              // likewise, if they have changed
	Temporary []string   `json:"temporary-connections,omitempty"` // devices
	Kept      []string   `json:"kept-connections,omitempty"`      // devices whose temporary connection stays until shutdown
	Error     string     `json:"error,omitempty"`                 // why it failed, or why it went on with the data of the last boot
	Healing   *Healing   `json:"healing,omitempty"`
	Refresh   *Refresh   `json:"refresh,omitempty"` // the last one since the boot
	Keeping   *Keeping   `json:"keeping,omitempty"` // it is not known then whether those of Kept are permanent
	Ended     *time.Time `json:"ended,omitempty"`   // the process has gone

	StartedMonotonic int64 `json:"started-monotonic-us,omitempty"` // Started in microseconds of CLOCK_MONOTONIC

	killed bool // by readState: the process ended without saying so

	// Outcome is what cloud-init made of the seed; nil: there is none, or it is not
	// known. ReadState finds it out anew, and it is never written to status.json.
	Outcome *cloudinit.Outcome `json:"outcome,omitempty"`
}

// Healing is what goes on after a boot that had no data from the virtual router.
type Healing struct {
	Text    string   `json:"text"`
	Process process  `json:"process"`
	Stages  bool     `json:"stages,omitempty"`           // cloud-init's stages run again
	Kept    []string `json:"kept-connections,omitempty"` // that were State.Kept before, and are so again if it is killed
}

// Keeping is a nm-cloud-seed keep that is at work, or was killed.
type Keeping struct {
	Process process `json:"process"`
}

// Refresh is how the virtual router was asked again, after the boot.
type Refresh struct {
	Text    string     `json:"text"` // for a person
	Started time.Time  `json:"started"`
	Process process    `json:"process"`
	Changed []string   `json:"changed,omitempty"` // names of metadata keys, and user-data
	Error   string     `json:"error,omitempty"`
	Ended   *time.Time `json:"ended,omitempty"`
}

// Step is something that a run achieved, or its end as Failed or Stopped.
type Step struct {
	Name string  `json:"name"`
	At   float64 `json:"at-ms"` // milliseconds since Started
}

// Device is one network device, in words.
type Device struct {
	Name   string `json:"name"`
	Lease  bool   `json:"lease"`
	Detail string `json:"detail"`
}

// Instance is what was seeded.
type Instance struct {
	ID       string     `json:"instance-id"`
	Source   string     `json:"source"`
	Fetched  time.Time  `json:"fetched"`
	Server   netip.Addr `json:"virtual-router"`
	Role     string     `json:"found-as"`
	Device   string     `json:"device"`
	Default  bool       `json:"default-network"` // the device is in it: it has a router
	DHCP     netip.Addr `json:"dhcp-server"`     // of the device's network; zero if its address is static
	Keys     int        `json:"keys"`
	UserData int        `json:"user-data-bytes"`
	Seed     string     `json:"seed"`
	Warnings []string   `json:"warnings,omitempty"`
}

const maxState = 1 << 20 // bytes

// ReadState reads what the service left below root ("" for the real one), and what
// cloud-init made of that: where it failed, the phase is Failed. fs.ErrNotExist: the
// service has not run since the system started.
func ReadState(root string) (State, error) {
	s, err := readState(root)
	if err == nil {
		s.judge(root)
	}
	return s, err
}

// readState reads the state without the outcome, for what is written again.
func readState(root string) (State, error) {
	var s State
	path := filepath.Join(root, StatePath)
	dir, name := os.DirFS(filepath.Dir(path)), filepath.Base(path)
	data, err := rootfs.Read(dir, name, maxState)
	if err == nil {
		err = json.Unmarshal(data, &s)
	}
	if err != nil {
		return s, fmt.Errorf("cannot read the service's state: %s: %w", path, err)
	}
	if s.Ended == nil && s.Process.gone() {
		last := time.Now()
		if info, err := fs.Stat(dir, name); err == nil {
			last = info.ModTime()
		}
		s.Ended, s.Temporary = &last, nil // NetworkManager has taken them down
		s.killed = true
		if !s.Phase.end() {
			s.stepAt(string(Failed), min(last.Sub(s.Started), s.Age()))
			s.Phase, s.Text = Failed, "the run was killed while it was "+string(s.Phase)+": "+s.Text
		}
	}
	if s.Healing != nil && s.Healing.Process.gone() {
		s.Kept, s.Healing, s.Temporary, s.Devices = s.Healing.Kept, nil, nil, nil
	}
	if r := s.Refresh; r != nil && r.Ended == nil && r.Process.gone() {
		last := time.Now()
		r.Ended, r.Error = &last, "it was killed while it was at work: "+r.Text
		r.Text = r.Error
	}
	return s, nil
}

// text is what systemd shows.
func (s *State) text() string {
	switch {
	case s.Healing != nil:
		return s.Healing.Text
	case s.refreshing():
		return s.Refresh.Text
	}
	return s.Text
}

func (s *State) refreshing() bool { return s.Refresh != nil && s.Refresh.Ended == nil }

// Busy says whether anything goes on that changes the state.
func (s *State) Busy() bool { return s.Ended == nil || s.Healing != nil || s.refreshing() }

func (s *State) step(name string) { s.stepAt(name, s.Age()) }

func (s *State) stepAt(name string, age time.Duration) {
	s.Steps = append(s.Steps, Step{name, float64(age.Microseconds()) / 1000})
}

func (s State) write(root string) error {
	s.Outcome = nil
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	return atomicfile.WriteFile(filepath.Join(root, StatePath), append(data, '\n'), 0o644)
}
