package daemon

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nm-cloud-seed/nm-cloud-seed/nm"
)

func TestKeep(t *testing.T) {
	permanent := func(device string) error {
		return fmt.Errorf("cannot keep the connection of %s: %w", device, &nm.PermanentError{Device: device, File: "/x"})
	}
	other := errors.New("cannot keep the connection of eth2: there is none")
	for _, tt := range []struct {
		name       string
		kept       []string // by nm.Keep
		err        error
		want, left []string
		says       string // what the error has, "" for none
	}{
		{"all", []string{"eth0", "eth1"}, nil, []string{"eth0", "eth1"}, nil, ""},
		{"one", []string{"eth1"}, errors.Join(other), []string{"eth1"}, []string{"eth0"}, "eth2"},
		{"none", nil, other, nil, []string{"eth0", "eth1"}, "eth2"},
		{"killed before", []string{"eth1"}, errors.Join(permanent("eth0")), []string{"eth1", "eth0"}, nil, ""},
		{"killed before, and another", nil, errors.Join(permanent("eth0"), other), []string{"eth0"}, []string{"eth1"}, "eth2"},
		{"known as permanent", nil, errors.Join(permanent("eth3")), nil, []string{"eth0", "eth1"}, "eth3"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			root := machine(t, map[string]string{StatePath: `{"phase": "ready", "kept-connections": ["eth0", "eth1"], "ended": "2026-01-01T00:00:00Z"}`})
			got, err := Keep(root, func() ([]string, error) {
				if s, err := ReadState(root); err != nil || s.Keeping == nil || len(s.Kept) != 2 {
					t.Errorf("got state %+v, %v meanwhile, want a keep in it", s, err)
				}
				return tt.kept, tt.err
			})
			if !slices.Equal(got, tt.want) || (err == nil) != (tt.says == "") || err != nil && (!strings.Contains(err.Error(), tt.says) || strings.Contains(err.Error(), "eth0")) {
				t.Errorf("got %q, error %v, want %q, and an error with %q", got, err, tt.want, tt.says)
			}
			if s, err := ReadState(root); err != nil || s.Keeping != nil || !slices.Equal(s.Kept, tt.left) {
				t.Errorf("got state %+v, %v, want %q kept", s, err, tt.left)
			}
		})
	}
	if got, err := Keep(t.TempDir(), func() ([]string, error) { return []string{"eth0"}, nil }); len(got) != 1 || err != nil {
		t.Errorf("got %q, error %v without a state, want eth0", got, err)
	}
}

// A heal that was killed had a connection in hand that is as it was before.
func TestKeptConnectionOutlivesKilledHeal(t *testing.T) {
	root := machine(t, map[string]string{RunDir + "/x": ""})
	s := State{Phase: Failed, Started: time.Now(), Ended: new(time.Time), Healing: &Healing{Process: process{1 << 30, "1"}, Kept: []string{"eth0"}}}
	if err := s.write(root); err != nil {
		t.Fatal(err)
	}
	if got, err := ReadState(root); err != nil || got.Healing != nil || !slices.Equal(got.Kept, []string{"eth0"}) {
		t.Errorf("got state %+v, %v, want no healing, and eth0 kept", got, err)
	}
}
