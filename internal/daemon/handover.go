package daemon

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nm-cloud-seed/nm-cloud-seed/datasource"
	"github.com/nm-cloud-seed/nm-cloud-seed/datasource/cloudstack"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/cloudinit"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/credentials"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/lease"
)

// cloud-init's modules that apply a password and SSH keys.
const (
	passwordModule = "set_passwords"
	keysModule     = "ssh"
	networkStage   = "init"
)

// While the password server is asked, the boot waits. It may as well be told at
// the next boot, at which the password is recognised.
const (
	askLimit         = 10 * time.Second
	acknowledgeTries = 5 // with pauses of 1, 2, 4 and 8 s
	appliedEvery     = 200 * time.Millisecond
)

// handover is what cloud-init has to apply in this boot besides the seed, and by
// itself would apply on an instance's first boot at most: a password that waits at
// the password server, and SSH keys that are others than at the last boot.
//
// Nothing is lost whenever the power fails: the password server forgets a
// password only when it has been applied and recorded, and what is not on record
// is handed over again.
type handover struct {
	*Daemon
	instance string
	files    cloudinit.Files
	store    credentials.Store
	config   cloudinit.Config   // with user-data
	text     cloudinit.Handover // for cloud-init

	password cloudstack.Password // to be acknowledged; the zero value is none
	network  lease.Lease         // whose password server it is from
	isNew    bool                // to be applied before that
	keys     credentials.Keys    // to be recorded when cloud-init has applied them
	job      *credentials.Job    // for the removal of keys
}

// handOver finds out what there is to hand over and does it, before cloud-init's
// network stage starts. What fails costs the password or the key, never the boot.
func (d *Daemon) handOver(ctx context.Context, inst *datasource.Instance, view lease.View) *handover {
	h := &handover{
		Daemon: d, instance: inst.ID, files: cloudinit.Files{Root: d.Root},
		store: credentials.Store{Dir: filepath.Join(d.Root, credentials.DefaultDir)},
	}
	if !d.Config.Password && !d.Config.SSHKeys {
		return h
	}
	if h.files.Begun(networkStage) {
		return h // the service was restarted: too late for this boot
	}
	config, err := h.files.Config()
	if err == nil && !config.Linked {
		err = errors.New("the link /etc/cloud/cloud.cfg.d/99-nm-cloud-seed.cfg is missing (install the package again)")
	}
	if err != nil {
		d.Log.WithError(err).Warn("cannot hand passwords and SSH keys to cloud-init")
		return h
	}
	// What cloud-init has made of the user-data at the last boot is better than
	// the user-data, which may have parts that only it understands.
	user, err := h.files.UserConfig(inst.ID)
	if err != nil {
		d.Log.Warn(err)
	}
	if user.Empty() {
		user = cloudinit.ParseUserConfig(inst.UserData)
	}
	h.config = config.With(user)
	if d.Config.Password {
		h.askPassword(ctx, view)
	}
	if d.Config.SSHKeys && h.config.PublicKeysOff() == "" {
		if err := h.compareKeys(inst.Metadata["public-keys"], user); err != nil {
			d.Log.WithError(err).Warn("the SSH keys are left as they are")
		}
	}
	if err := h.write(); err != nil {
		d.Log.WithError(err).Warn("cannot hand the password or the SSH keys to cloud-init")
		h.isNew, h.password, h.keys = false, cloudstack.Password{}, nil
	}
	return h
}

// sayPassword is what became of the password: in the journal and the status.
func (h *handover) sayPassword(log func(...any), format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	log("password: " + text)
	h.tell(func(s *State) { s.Password = text })
}

// askPassword asks for a password and decides what becomes of it.
func (h *handover) askPassword(ctx context.Context, view lease.View) {
	if stage, _ := h.config.Stage(passwordModule); stage == "" {
		h.sayPassword(h.Log.Info, "not asked for, as cloud-init does not run its module %s here", passwordModule)
		return
	}
	if h.config.DefaultUser() == "" {
		h.sayPassword(h.Log.Info, "not asked for, as there is no default user in cloud-init's configuration and the user-data")
		return
	}
	var ok bool
	if h.network, ok = cloudstack.DefaultNetwork(view); !ok {
		h.sayPassword(h.Log.Warn, "not asked for, as there is no lease any more")
		return
	}
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	password, err := cloudstack.FetchPassword(ctx, h.network, 0)
	if err != nil {
		log := h.Log.Info // old virtual routers say nothing where none is waiting
		if errors.Is(err, cloudstack.ErrNoPassword) {
			log = h.Log.Debug
		}
		h.sayPassword(log, "%v", err)
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

// compareKeys finds out whether the SSH keys have changed since the last boot,
// and what follows from that.
func (h *handover) compareKeys(text string, user cloudinit.UserConfig) error {
	now, err := credentials.ParseKeys(text)
	if err != nil {
		return err
	}
	before, known, err := h.store.Keys(h.instance)
	if err != nil {
		return err
	}
	ran, err := h.files.HasRun(h.instance, keysModule)
	if err != nil {
		return err
	}
	if !known && !ran { // the first boot of this instance: cloud-init does it all
		h.keys = now
		return nil
	}
	added, gone := now.Without(before), before.Without(now)
	// A virtual router that was rebuilt may have none for a while.
	changed := len(now) > 0 && (!known || len(added)+len(gone) > 0)
	if !changed && ran {
		return nil
	}
	// Where the module is to run again, and where the power failed before it did.
	h.text.SSHKeys = true
	if !changed {
		return nil
	}
	gone = slices.DeleteFunc(gone, func(k credentials.Key) bool { return user.Mentions(k.Base64()) })
	h.job = &credentials.Job{Instance: h.instance, User: h.config.DefaultUser(), Remove: gone, Keys: now}
	if where := h.config.HostKeys(); where != "" {
		h.Log.Warn("the host keys may change, as " + where + " says so")
	}
	words := fmt.Sprintf("%d new, %d replaced", len(added), len(gone))
	h.Log.Info("SSH keys have changed: " + words)
	h.tell(func(s *State) { s.SSHKeys = words })
	if !known { // or the next boot would take itself for the first, if the power fails now
		return h.store.RecordKeys(h.instance, before)
	}
	return nil
}

// write hands it over. A module runs again only when it finds what is meant for it.
func (h *handover) write() error {
	if h.text == (cloudinit.Handover{}) {
		return nil
	}
	dir := filepath.Join(h.Root, RunDir)
	if err := h.text.Write(dir); err != nil {
		return err
	}
	if h.job != nil {
		if err := credentials.WriteJob(dir, *h.job); err != nil {
			return err
		}
		if err := h.files.Rerun(h.instance, keysModule); err != nil {
			return err
		}
	}
	if h.isNew {
		return h.files.Rerun(h.instance, passwordModule)
	}
	return nil
}

// finish waits until cloud-init has applied what was handed over, takes it away,
// records it, and tells the password server.
func (h *handover) finish(ctx context.Context, current func() lease.View) {
	if len(h.keys) > 0 && h.applied(ctx, keysModule) == nil {
		if err := h.store.RecordKeys(h.instance, h.keys); err != nil {
			h.Log.Warn(err)
		}
	}
	if h.text.SSHKeys {
		_ = h.applied(ctx, keysModule) // or not, it had its turn
	}
	if h.isNew {
		if err := h.settle(h.applied(ctx, passwordModule)); err != nil && ctx.Err() == nil {
			h.sayPassword(h.Log.Warn, "not applied, the next boot tries again: %v", err)
		}
	}
	if ctx.Err() != nil {
		return
	}
	if h.text != (cloudinit.Handover{}) {
		if err := cloudinit.Clear(filepath.Join(h.Root, RunDir)); err != nil {
			h.Log.Warn(err)
		}
	}
	if h.password.Text != "" {
		h.acknowledge(ctx, current)
	}
}

// applied waits until a module of cloud-init has had its turn in this boot, and
// says why it has failed, if so.
func (h *handover) applied(ctx context.Context, module string) error {
	stage, always := h.config.Stage(module)
	tick := time.NewTicker(appliedEvery)
	defer tick.Stop()
	for {
		over := h.files.Done() // before we look for the last time
		ended, err := h.files.Ran(stage, module)
		if err == nil && ended && !always {
			var ran bool
			if ran, err = h.files.HasRun(h.instance, module); err == nil && !ran {
				err = fmt.Errorf("cloud-init has not run its module %s", module)
			}
		}
		switch {
		case ended || err != nil:
			return err
		case over:
			return fmt.Errorf("cloud-init has not run its stage %s", stage)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// settle makes the password last and records it, if it has been applied. Otherwise
// the password server keeps it.
func (h *handover) settle(err error) error {
	if err == nil {
		err = h.settled()
	}
	if err != nil {
		h.password = cloudstack.Password{}
	}
	return err
}

func (h *handover) settled() error {
	// Now cloud-init has put together all parts of the user-data.
	user, err := h.files.UserConfig(h.instance)
	if err != nil {
		return err
	}
	if where := h.config.With(user).Passwords(); where != "" {
		return fmt.Errorf("another is set in %s", where)
	}
	etc, err := unix.Open(filepath.Join(h.Root, "/etc"), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("cannot sync /etc: %w", err)
	}
	defer func() { _ = unix.Close(etc) }()
	if err := unix.Syncfs(etc); err != nil { // the shadow file
		return fmt.Errorf("cannot sync /etc: %w", err)
	}
	return h.store.RecordPassword(h.instance, h.password.Text)
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
