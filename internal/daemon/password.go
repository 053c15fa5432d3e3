package daemon

import (
	"context"
	"errors"
	"fmt"
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
	if h.silent {
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
	applied, err := h.store.Applied(h.instance, password.Text)
	if err != nil {
		h.Log.WithError(err).Warn("cannot tell whether the password has been applied already")
	}
	before, err := h.store.HasPassword(h.instance)
	if err != nil {
		before = true // and has been said
	}
	switch theirs := h.config.Passwords(); {
	case applied:
		h.password = password
		h.sayPassword(h.Log.Info, "%s serves the last one again: not applied over what may have been set since", password.Server)
	case theirs != "":
		h.sayPassword(h.Log.Warn, "one waits at %s and stays there, since another is set in %s", password.Server, theirs)
	default:
		hash, err := credentials.Crypt(password.Text)
		if err != nil {
			h.sayPassword(h.Log.Warn, "%v", err)
			return
		}
		h.password, h.isNew = password, true
		h.text.PasswordHash = hash
		// Only once, as sshd's configuration may have been changed since.
		h.text.AllowPasswordAuth = !before && h.config.PasswordAuth() == ""
		h.sayPassword(h.Log.Info, "handed to cloud-init, from %s", password.Server)
	}
}

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
	if err := errors.Join(h.sync(), h.store.RecordPassword(h.instance, h.password.Text)); err != nil {
		h.Log.WithError(err).Warn("if the password is served again, it is applied again")
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
