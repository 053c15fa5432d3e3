package daemon

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/nm-cloud-seed/nm-cloud-seed/nm"
)

// Keep makes temporary connections permanent by permanent, which is nm.Keep, and removes
// their devices from Kept in the state below root. It returns the devices whose
// connections are permanent now, also beside an error. If Keep is killed, the state has
// Keeping set until Keep runs again.
//
// The devices include those whose connections an earlier Keep made permanent before it was
// killed, so that the state still has them in Kept.
func Keep(root string, permanent func() (kept []string, err error)) (kept []string, err error) {
	if _, err := ReadState(root); errors.Is(err, fs.ErrNotExist) {
		return permanent()
	}
	unlock, err := lock(root)
	if err != nil {
		return nil, fmt.Errorf("cannot keep a connection: %w", err)
	}
	defer unlock()
	s, err := readState(root)
	if err != nil {
		return nil, err
	}
	s.Keeping = &Keeping{Process: thisProcess()}
	if err := s.write(root); err != nil {
		return nil, err
	}
	kept, err = permanent()
	kept, err = s.alreadyKept(kept, err)
	s.Keeping = nil
	s.Kept = slices.DeleteFunc(s.Kept, func(device string) bool { return slices.Contains(kept, device) })
	return kept, errors.Join(err, s.write(root))
}

// alreadyKept takes the devices from an error of nm.Keep whose connections are
// permanent, and of which the state says something else.
func (s *State) alreadyKept(kept []string, err error) ([]string, error) {
	joined, ok := err.(interface{ Unwrap() []error }) //nolint:errorlint // these errors themselves
	if !ok {
		return kept, err
	}
	var others []error
	for _, err := range joined.Unwrap() {
		var is *nm.PermanentError
		if errors.As(err, &is) && slices.Contains(s.Kept, is.Device) {
			kept = append(kept, is.Device)
		} else {
			others = append(others, err)
		}
	}
	return kept, errors.Join(others...)
}
