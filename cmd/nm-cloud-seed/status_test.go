package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nm-cloud-seed/nm-cloud-seed/internal/cloudinit"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/daemon"
)

// flat is a terminal without colours.
var flat = screen{width: 79, height: 24, blocks: eighths, paint: func(_, text string) string { return text }}

func booted257() daemon.State {
	started := time.Date(2026, 11, 26, 11, 10, 15, 0, time.UTC)
	ended := started.Add(2 * time.Second)
	return daemon.State{
		Phase:   daemon.Ready,
		Text:    "seeded instance 7d4f1f9a-58c1-4f5e-9a3c-3f0c5d9a1b2e from 10.1.1.1 (DHCP server on eth0)",
		Started: started, Ended: &ended,
		Steps: []daemon.Step{
			{Name: "NetworkManager", At: 7.178}, {Name: "lease", At: 49.996}, {Name: "virtual router", At: 52.605},
			{Name: "metadata", At: 55.99}, {Name: "seed", At: 61.189},
		},
		Instance: &daemon.Instance{
			ID: "7d4f1f9a-58c1-4f5e-9a3c-3f0c5d9a1b2e", Source: "virtual router", Fetched: started,
			Server: netip.MustParseAddr("10.1.1.1"), Role: "DHCP server", Device: "eth0",
			Keys: 11, UserData: 981, Seed: "/var/lib/cloud/seed/cs",
		},
		Password: "no password is waiting",
		Outcome:  &cloudinit.Outcome{State: cloudinit.OutcomeGood, Instance: "7d4f1f9a-58c1-4f5e-9a3c-3f0c5d9a1b2e"},
	}
}

// without is a boot without a virtual router.
func without() daemon.State {
	s := booted257()
	ended := s.Started.Add(120 * time.Second)
	s.Phase, s.Instance, s.Password, s.Ended, s.Outcome = daemon.Failed, nil, "", &ended, nil
	s.Devices = []daemon.Device{{Name: "eth0", Lease: true, Detail: `10.1.1.100/24 on "cloud-init eth0"`}}
	s.Text = "no instance metadata before the deadline: eth0: DHCP server 10.1.1.1: no answer in time"
	s.Error = s.Text
	s.Steps = append(s.Steps[:2:2], daemon.Step{Name: "failed", At: 119998})
	return s
}

func healing() daemon.State {
	s := without()
	s.Steps = append(slices.Clone(s.Steps), []daemon.Step{{Name: "waiting for the virtual router", At: 131000}, {Name: "NetworkManager", At: 131012}, {Name: "lease", At: 131031}}...)
	s.Healing = &daemon.Healing{Text: "looking for the virtual router from 10.1.1.100/24 on eth0"}
	return s
}

func TestStatus(t *testing.T) {
	time.Local = time.UTC
	for name, c := range map[string]struct {
		age    time.Duration
		change func(*daemon.State)
	}{
		"usual": {},
		"first": {change: func(s *daemon.State) { // with all that there can be
			s.Password = "applied; 10.1.1.1 has been told"
			s.SSHKeys = "1 new, handed to cloud-init; 1 replaced, to be removed"
			s.Instance.Warnings = []string{"the virtual router lists the key \"x\" and does not have it"}
		}},
		"last-boot": {change: func(s *daemon.State) {
			s.Instance.Source, s.Instance.Fetched = daemon.LastBoot, s.Started.Add(-24*time.Hour)
			s.Text = "seeded instance 7d4f1f9a-58c1-4f5e-9a3c-3f0c5d9a1b2e from the copy of the last boot"
			s.Error = "no instance metadata before the deadline: eth0: DHCP server 10.1.1.1: no answer in time"
			s.Steps = append(s.Steps[:2:2], daemon.Step{Name: "no virtual router", At: 15001}, daemon.Step{Name: "seed", At: 15003})
			s.Password = "not asked for without a virtual router: the next boot does"
		}},
		"failed":          {change: func(s *daemon.State) { *s = without() }},
		"cloud-init-runs": {change: func(s *daemon.State) { s.Outcome.State, s.Password = cloudinit.OutcomeRunning, "" }},
		"cloud-init-failed": {change: func(s *daemon.State) {
			s.Outcome.State, s.Outcome.Failures = cloudinit.OutcomeFailed, []string{"cloud-init's network stage failed"}
			s.Outcome.Complaints = []string{"runcmd in the final stage"}
			s.Phase, s.Error = daemon.Failed, s.Outcome.Reason()
			s.Text += ", but " + s.Error
			s.Password = "not applied, and kept at the password server: cloud-init's init stage failed (see /var/log/cloud-init.log)"
		}},
		"idle": {change: func(s *daemon.State) {
			*s = daemon.State{Phase: daemon.Idle, Text: "nothing to do: cloud-init is disabled", Started: s.Started, Ended: s.Ended}
		}},
		"starting": {age: time.Millisecond, change: func(s *daemon.State) {
			*s = daemon.State{Phase: daemon.Starting, Text: "starting", Started: s.Started}
		}},
		"under-way": {age: 8300 * time.Millisecond, change: func(s *daemon.State) {
			s.Phase, s.Text, s.Ended, s.Instance, s.Password, s.Outcome = daemon.Searching, "looking for the virtual router from 10.1.1.100/24 on eth0", nil, nil, "", nil
			s.Devices = []daemon.Device{{Name: "eth0", Lease: true, Detail: `10.1.1.100/24 on "nm-cloud-seed eth0"`}}
			s.Steps = s.Steps[:2]
			s.Temporary = []string{"eth0"}
		}},
		"healing": {age: 2 * time.Hour, change: func(s *daemon.State) { *s = healing() }},
		"healed": {age: 3 * time.Hour, change: func(s *daemon.State) {
			*s = healing()
			s.Steps = append(s.Steps, []daemon.Step{{Name: "virtual router", At: 7231000}, {Name: "metadata", At: 7231004}, {Name: "seed", At: 7231011}}...)
			s.Healing, s.Error, s.Devices, s.Outcome = nil, "", nil, booted257().Outcome
			s.Phase, s.Text, s.Instance, s.Password = daemon.Ready, booted257().Text, booted257().Instance, "applied; 10.1.1.1 has been told"
		}},
		"next-boot": {age: 3 * time.Hour, change: func(s *daemon.State) {
			s.Steps = append(s.Steps[:2:2], []daemon.Step{{Name: "no virtual router", At: 15001}, {Name: "seed", At: 15003}, {Name: "waiting for the virtual router", At: 20000}, {Name: "NetworkManager", At: 20012},
				{Name: "lease", At: 20031}, {Name: "virtual router", At: 7231000}, {Name: "metadata", At: 7231004}, {Name: "seed", At: 7231011}}...)
			s.Text = "the data of instance 7d4f1f9a-58c1-4f5e-9a3c-3f0c5d9a1b2e from 10.1.1.1 is there now, and counts from the next boot on: this boot went on with the data of the last one"
			s.Password = "asked for at the next boot"
		}},
		"kept": {change: func(s *daemon.State) {
			s.Kept = []string{"eth0"}
		}},
		"refreshed": {change: func(s *daemon.State) {
			ended := s.Started.Add(time.Hour)
			s.Refresh = &daemon.Refresh{Text: "public-keys, user-data changed: that counts from the next boot on", Started: ended, Changed: []string{"public-keys", "user-data"}, Ended: &ended}
		}},
		"refreshing": {change: func(s *daemon.State) {
			s.Refresh = &daemon.Refresh{Text: "looking for the virtual router from 10.1.1.100/24 on eth0", Started: *s.Ended}
		}},
		"stopped": {change: func(s *daemon.State) {
			*s = without()
			ended := s.Started.Add(4 * time.Second)
			s.Phase, s.Text, s.Error, s.Ended = daemon.Stopped, "stopped before there was a seed", "", &ended
			s.Steps = append(s.Steps[:2:2], daemon.Step{Name: "stopped", At: 3999})
		}},
	} {
		s := booted257()
		if c.change != nil {
			c.change(&s)
		}
		lines := flat.status(s, c.age, false)
		if len(lines) > 23 { // which is what a terminal of 24 has room for, see paint
			t.Errorf("%s: %d lines", name, len(lines))
		}
		golden(t, "testdata/status/"+name+".txt", strings.Join(lines, "\n")+"\n")
		if name == "usual" {
			narrow := flat
			narrow.width, narrow.blocks = 40, halves
			golden(t, "testdata/status/narrow.txt", strings.Join(narrow.status(s, c.age, false), "\n")+"\n")
			pipe := flat
			pipe.width, pipe.height, pipe.blocks = 80, 0, plain
			golden(t, "testdata/status/pipe.txt", strings.Join(pipe.status(s, c.age, false), "\n")+"\n")
		}
	}
}

// golden compares with a file. UPDATE_GOLDEN=1 writes it.
func golden(t *testing.T, name, got string) {
	t.Helper()
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s: -want +got:\n%s", name, diff)
	}
}

// TestStatusKeepsHostileTextInOrder: whatever the state says, the screen stays in order.
func TestStatusKeepsHostileTextInOrder(t *testing.T) {
	t.Parallel()
	evil := "a\x1b[2Jb\r\nc\u202ed\u200be 有线连接" + strings.Repeat("x", 5000)
	s := booted257()
	s.Text, s.Password, s.SSHKeys, s.Error, s.Phase = evil, evil, evil, evil, daemon.Phase(evil)
	s.Instance.ID, s.Instance.Role, s.Instance.Seed, s.Instance.Source = evil, evil, evil, daemon.LastBoot
	s.Healing = &daemon.Healing{Text: evil}
	s.Started, s.Ended = time.Time{}, nil
	s.Steps = nil
	for i, at := range []float64{-5, math.MaxFloat64, -math.MaxFloat64, 1e300, 0, 3, 2, 1} {
		s.Steps = append(s.Steps, daemon.Step{Name: fmt.Sprint(evil, i), At: at})
	}
	for range 10000 {
		s.Steps = append(s.Steps, daemon.Step{Name: evil, At: 1})
		s.Devices = append(s.Devices, daemon.Device{Name: evil, Detail: evil})
		s.Instance.Warnings = append(s.Instance.Warnings, evil)
		s.Kept = append(s.Kept, evil)
	}
	for _, age := range []time.Duration{math.MinInt64, 0, math.MaxInt64} {
		for _, width := range []int{39, 79, 399} {
			v := flat
			v.width = width
			lines := v.status(s, age, false)
			if len(lines) > 3000 {
				t.Errorf("got %d lines, want 3000 at most", len(lines))
			}
			for _, line := range lines {
				if cells(line) > width || strings.ContainsAny(line, "\x1b\r\n\u202e\u200b") {
					t.Fatalf("got a line of %d columns, want %d at most, without control characters: %q", cells(line), width, line)
				}
			}
		}
	}
}

// FuzzStatus: a state that can be read can be shown.
func FuzzStatus(f *testing.F) {
	data, err := json.Marshal(healing())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data, int64(time.Hour))
	f.Fuzz(func(t *testing.T, data []byte, age int64) {
		var s daemon.State
		if json.Unmarshal(data, &s) != nil {
			return
		}
		for _, line := range flat.status(s, time.Duration(age), false) {
			if cells(line) > flat.width || strings.ContainsAny(line, "\x1b\r\n") {
				t.Fatalf("got the line %q, want %d columns at most, without control characters", line, flat.width)
			}
		}
	})
}

func TestBar(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		blocks          []string
		from, to, total time.Duration
		want            string
	}{
		{eighths, 0, 100, 100, "██████████"},
		{eighths, 0, 0, 100, "▏"},
		{eighths, 25, 50, 100, "  ██▌"},
		{eighths, 100, 100, 100, "         ▏"},
		{halves, 50, 66, 100, "     █▌"},
		{plain, 50, 66, 100, "     ##"},
		{eighths, 0, 0, 0, "▏"},
		{eighths, -50, 400, 100, "██████████"},
	} {
		before, blocks := screen{blocks: c.blocks}.blocksOf(c.from, c.to, c.total, 10)
		if got := strings.Repeat(" ", before) + blocks; got != c.want {
			t.Errorf("%d to %d of %d: got %q, want %q", c.from, c.to, c.total, got, c.want)
		}
	}
}

func TestScale(t *testing.T) {
	t.Parallel()
	for total, want := range map[time.Duration]time.Duration{
		0: time.Second, time.Second: time.Second, time.Second + 1: 2 * time.Second, 8300 * time.Millisecond: 10 * time.Second,
		40 * time.Second: 50 * time.Second, math.MaxInt64: math.MaxInt64,
	} {
		if got := scale(total); got != want {
			t.Errorf("%v: got %v, want %v", total, got, want)
		}
	}
}

func TestBlocksFor(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		env  string
		want []string
	}{
		{"", plain}, {"LANG=C", plain}, {"LANG=C.UTF-8", eighths}, {"LANG=de_DE.utf8", eighths}, {"LANG=en_US.UTF-8 LC_ALL=C", plain},
		{"LC_CTYPE=en_US.UTF-8 LANG=C TERM=xterm", eighths}, {"LANG=C.UTF-8 TERM=dumb", plain}, {"LANG=C.UTF-8 TERM=linux", halves},
	} {
		got := blocksFor(func(name string) string {
			for word := range strings.FieldsSeq(c.env) {
				if value, ok := strings.CutPrefix(word, name+"="); ok {
					return value
				}
			}
			return ""
		})
		if !slices.Equal(got, c.want) {
			t.Errorf("%q: got %q, want %q", c.env, got, c.want)
		}
	}
}

func TestWrap(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		text string
		want []string
	}{
		{"", []string{""}},
		{"one two", []string{"one two"}},
		{"one two three", []string{"one two", "three"}},
		{"abcdefghijklmno pq", []string{"abcdefgh", "ijklmno", "pq"}},
		{"有线连接 1", []string{"有线连接", "1"}},
	} {
		if diff := cmp.Diff(c.want, wrap(c.text, 8)); diff != "" {
			t.Errorf("%q: -want +got:\n%s", c.text, diff)
		}
	}
}

func TestVerdictIsExitStatus(t *testing.T) {
	t.Parallel()
	for phase, want := range map[daemon.Phase]int{
		daemon.Ready: 0, daemon.Idle: 0, daemon.Failed: exitFailed, daemon.Stopped: exitFailed, daemon.Fetching: exitRunning, "": exitRunning,
	} {
		var e exit
		errors.As(verdict(daemon.State{Phase: phase}), &e)
		if e.code != want {
			t.Errorf("%q: got %d, want %d", phase, e.code, want)
		}
	}
}
