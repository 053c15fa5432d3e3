package daemon

import (
	"fmt"
	"slices"

	"github.com/nm-cloud-seed/nm-cloud-seed/internal/credentials"
)

// compareKeys finds out whether the SSH keys have changed since the last boot,
// and what follows from that. applied says whether cloud-init has applied any for
// this instance.
func (h *handover) compareKeys(text string, applied bool, mentions func(credentials.Key) bool) error {
	now, err := credentials.ParseKeys(text)
	if err != nil {
		return err
	}
	before, unsure, known, err := h.store.Keys(h.instance)
	if err != nil {
		h.Log.WithError(err).Warn("it is not known which SSH keys were applied last")
	}
	if !known && !applied { // the first boot of this instance: cloud-init does it all
		// Without a record, a key that CloudStack replaces after a kill would never go.
		if err := h.store.RecordFirstKeys(h.instance, append(unsure, now.Without(unsure)...)); err != nil {
			h.Log.Warn(err)
		}
		h.keys = now
		return nil
	}
	hostKeys := h.config.HostKeys()
	// What was handed over before the power failed may have been applied.
	added, gone := now.Without(before), append(slices.Clone(before), unsure.Without(before)...).Without(now)
	switch {
	case len(now) == 0: // a virtual router that was rebuilt may have none for a while
	case !known && hostKeys != "" && len(gone) == 0: // not worth new host keys
		h.keys = now
		h.Log.Info("SSH keys: taken for applied, as cloud-init would change the host keys with them (" + hostKeys + ")")
	case !known || len(added)+len(gone) > 0:
		// Without a record, the next boot would take itself for the first, and have
		// new host keys made, if the power fails now.
		if err := h.store.RecordKeys(h.instance, before, append(unsure, now.Without(unsure)...)); err != nil {
			return err
		}
		gone = slices.DeleteFunc(gone, mentions)
		h.job = &credentials.Job{Instance: h.instance, User: h.config.DefaultUser(), Remove: gone, Keys: now}
	}
	// Where the module is to run again, and where the power failed before it did.
	h.text.SSHKeys = h.job != nil || !applied
	if h.job == nil {
		return nil
	}
	if hostKeys != "" {
		h.Log.Warn("the host keys may change with the SSH keys, as " + hostKeys + " says so")
	}
	words := fmt.Sprintf("%d new, %d to be removed (see nm-cloud-seed-ssh-keys.service)", len(added), len(gone))
	if !known {
		words = fmt.Sprintf("%d handed to cloud-init, as it is not known which were before", len(now))
	}
	h.Log.Info("SSH keys: " + words)
	h.tell(func(s *State) { s.SSHKeys = words })
	return nil
}
