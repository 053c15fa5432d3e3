package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/nm-cloud-seed/nm-cloud-seed/datasource/cloudstack"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/credentials"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/lease"
)

// While the password server is asked, the boot waits. It may as well be told at
// the next boot, at which the password is recognised.
const (
	askLimit         = 5 * time.Second
	acknowledgeTries = 5 // with pauses of 1, 2, 4 and 8 s
)

// sayPassword is what became of the password: in the journal and the status.
func (h *handover) sayPassword(log func(...any), format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	log("password: " + text)
	h.tell(func(s *State) { s.Password = text })
}

// askPassword asks for a password and decides what becomes of it.
func (h *handover) askPassword(ctx context.Context) {
	if h.noVirtualRouter {
		h.sayPassword(h.Log.Info, "not asked for without a virtual router: the next boot does")
		return
	}
	if stage, _ := h.config.Stage(passwordModule); stage == "" {
		h.sayPassword(h.Log.Info, "not asked for, as cloud-init does not run its module %s here", passwordModule)
		return
	}
	if h.config.DefaultUser() == "" {
		h.sayPassword(h.Log.Info, "not asked for, as cloud-init's configuration and the user-data have no default user")
		return
	}
	var ok bool
	if h.network, ok = cloudstack.DefaultNetwork(h.view); !ok {
		h.sayPassword(h.Log.Warn, "not asked for, as there is no lease any more")
		return
	}
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	password, err := cloudstack.FetchPassword(ctx, h.network, 0)
	if errors.Is(err, cloudstack.ErrNoPassword) {
		h.sayPassword(h.Log.Debug, "%v", err)
		return
	}
	if err != nil {
		h.sayPassword(h.Log.Warn, "%v", err)
		return
	}
	h.decidePassword(password)
}

// decidePassword decides what becomes of a password that is served. It is on record as
// handed over before cloud-init can see it: after a kill or a power cut at any moment,
// the next boot finds out whether it was applied.
func (h *handover) decidePassword(password cloudstack.Password) {
	user := h.config.DefaultUser()
	shadow, shadowErr := credentials.ReadShadow(h.Root, filepath.Join(h.Root, RunDir))
	decision, first, err := h.store.Decision(h.instance, password.Text, user, shadow)
	theirs := h.config.Passwords()
	switch {
	case decision == credentials.AppliedBefore:
		h.password = password
		h.sayPassword(h.Log.Info, "%s serves the last one again: not applied over what may have been set since", password.Server)
		return
	case decision == credentials.AppliedUnnoted:
		// In this order: a kill in between leaves both to the next boot.
		err := h.forgetFailure(h.instance)
		if err == nil {
			err = h.store.RecordApplied(h.instance)
		}
		if err != nil {
			h.sayPassword(h.Log.Warn, "applied at an earlier boot, and %s is not told: %v", password.Server, err)
			return
		}
		h.password = password
		h.sayPassword(h.Log.Info, "%s serves the last one again: it was applied at an earlier boot, which did not record it", password.Server)
		return
	case theirs != "":
		h.sayPassword(h.Log.Warn, "one waits at %s and stays there, since another is set in %s", password.Server, theirs)
		return
	case err != nil:
		err = errors.Join(err, h.store.RecordUnknown(h.instance, password.Text))
		fallthrough
	case decision == credentials.LeaveUnknown:
		if err = cmp.Or(err, shadowErr); err == nil {
			err = errors.New("the earlier boot could not read /etc/shadow")
		}
		h.sayPassword(h.Log.Warn, "one waits at %s and is not applied, since it may have been applied before (%s): %v", password.Server, resetAgain, err)
		return
	case decision == credentials.LeaveOtherUser:
		h.sayPassword(h.Log.Warn, "one waits at %s and is not applied, since it was handed to cloud-init for %s, and the default user is %s now (%s)", password.Server, h.store.HandedOverFor(h.instance), user, resetAgain)
		return
	case decision == credentials.LeaveChanged:
		h.sayPassword(h.Log.Warn, "one waits at %s and is not applied, since the password of %s was changed after it was handed to cloud-init (%s)", password.Server, user, resetAgain)
		return
	}
	hash, err := credentials.Crypt(password.Text)
	if err == nil {
		err = h.store.RecordHandover(h.instance, password.Text, user, hash, shadow)
	}
	if err != nil {
		h.sayPassword(h.Log.Warn, "one waits at %s and is not applied: %v", password.Server, err)
		return
	}
	h.password, h.isNew = password, true
	h.text.PasswordHash = hash
	// Only once, as sshd's configuration may have been changed since.
	h.text.AllowPasswordAuth = first && h.config.PasswordAuth() == ""
	h.sayPassword(h.Log.Info, "handed to cloud-init, from %s", password.Server)
}

// resetAgain is what to do about a password that is left where it is.
const resetAgain = "to have it applied, reset it in CloudStack once more"

// settle makes the password last and records it, when it has been applied. If it
// has not, the password server keeps it.
func (h *handover) settle(ctx context.Context) {
	err := h.applied(ctx, passwordModule)
	if err == nil {
		err = h.overruled()
	}
	if err != nil {
		h.password = cloudstack.Password{}
		if ctx.Err() == nil {
			h.sayPassword(h.Log.Warn, "not applied, and kept at the password server: %v", err)
		}
		return
	}
	if err = h.sync(); err == nil {
		err = h.store.RecordApplied(h.instance)
	}
	if err != nil { // the next boot finds out
		h.password = cloudstack.Password{}
		h.sayPassword(h.Log.Warn, "applied, which cannot be recorded: the next boot tells the password server: %v", err)
	}
}

// overruled says whether user-data had another word, of which cloud-init knows all
// parts only now.
func (h *handover) overruled() error {
	user, err := h.files.UserConfig(h.instance)
	if err != nil {
		return err
	}
	config := h.image.With(user)
	stage, _ := config.Stage(passwordModule)
	switch where := config.Passwords(); {
	case where != "":
		return fmt.Errorf("another is set in %s", where)
	case config.DefaultUser() != h.config.DefaultUser():
		return errors.New("user-data has another default user, or none")
	case stage == "":
		return fmt.Errorf("user-data has cloud-init not run its module %s", passwordModule)
	}
	return nil
}

// acknowledge tells the password server that it may forget the password.
func (h *handover) acknowledge(ctx context.Context, current func() lease.View) {
	what := "applied"
	if !h.isNew {
		what = "served again, and applied at an earlier boot"
	}
	var err error
	for try := range acknowledgeTries {
		if try > 0 {
			select {
			case <-ctx.Done():
				return
			case <-time.After(time.Second << (try - 1)):
			}
		}
		network := h.network
		for _, l := range current().Leases { // cloud-init may have brought up another connection
			if l.Device == network.Device {
				network = l
			}
		}
		if err = cloudstack.AcknowledgePassword(ctx, network, 0, h.password.Server); err == nil {
			h.sayPassword(h.Log.Info, "%s; %s has been told", what, h.password.Server)
			return
		}
	}
	h.sayPassword(h.Log.Warn, "%s; the next boot tells %s: %v", what, h.password.Server, err)
}
