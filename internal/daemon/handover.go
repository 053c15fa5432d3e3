package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nm-cloud-seed/nm-cloud-seed/datasource"
	"github.com/nm-cloud-seed/nm-cloud-seed/datasource/cloudstack"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/cloudinit"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/credentials"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/lease"
)

// cloud-init's modules that apply a password and SSH keys, and the stage before
// which we are.
const (
	passwordModule = "set_passwords"
	keysModule     = "ssh"
	networkStage   = "init"
)

// How often we look whether cloud-init has done its part, and how long: should it
// never come to it, nothing of ours stays resident.
const (
	appliedEvery = 200 * time.Millisecond
	appliedLimit = 30 * time.Minute
)

// handover is what cloud-init has to apply in this boot besides the seed, and by
// itself would apply on an instance's first boot at most: a password that waits at
// the password server, and SSH keys that are others than at the last boot.
//
// Nothing is lost, and nothing is repeated over what a user has changed since,
// whenever the power fails or the process is killed: what is handed over is on record
// before, as such, and again when it has been applied. The password server forgets a
// password only after that.
type handover struct {
	*Daemon
	view            lease.View // of the networks
	noVirtualRouter bool       // none has answered: the instance is the cached data of the last boot
	again           bool       // cloud-init runs its stages once more, for this
	resumed         bool       // an earlier process, which was killed, has handed over
	fqdn            string     // for cloud-init's configuration, if it needs one there

	instance string
	files    cloudinit.Files
	store    credentials.Store
	image    cloudinit.Config   // what the image says
	config   cloudinit.Config   // with user-data
	text     cloudinit.Handover // for cloud-init

	password cloudstack.Password // to be acknowledged; the zero value is none
	network  lease.Lease         // whose password server it is from
	isNew    bool                // to be applied before that
	keys     credentials.Keys    // to be recorded when cloud-init has applied them
	job      *credentials.Job    // for the removal of keys
}

// over decides what cloud-init must apply in this boot, and writes it where cloud-init
// reads it. Call it before cloud-init's network stage starts. If it fails, the password or
// the SSH keys are not applied in this boot. The boot itself goes on.
func (h *handover) over(ctx context.Context, inst *datasource.Instance) {
	h.instance, h.files = inst.ID, cloudinit.Files{Root: h.Root}
	h.store = credentials.Store{Dir: filepath.Join(h.Root, stateDir)}
	h.text.FQDN = h.fqdn
	if h.files.Begun(networkStage) && !h.again {
		return // the service was restarted: too late for this boot
	}
	if err := h.prepare(ctx, inst); err != nil {
		h.Log.WithError(err).Warn("cannot hand passwords and SSH keys to cloud-init")
		h.tell(func(s *State) { s.Password = "not asked for: " + err.Error() })
	}
	if err := h.write(); err != nil {
		h.Log.WithError(err).Warn("cannot hand the password or the SSH keys to cloud-init")
		h.text = cloudinit.Handover{FQDN: h.fqdn}
		h.isNew, h.password, h.keys = false, cloudstack.Password{}, nil
	}
}

// prepare finds out what there is to hand over.
func (h *handover) prepare(ctx context.Context, inst *datasource.Instance) error {
	if !h.Config.Password && !h.Config.SSHKeys {
		return nil
	}
	var err error
	if h.image, err = h.files.Config(); err != nil {
		return err
	}
	if !h.image.Linked {
		return errors.New("the link /etc/cloud/cloud.cfg.d/99-nm-cloud-seed.cfg is missing (install the package again)")
	}
	// What cloud-init has made of the user-data at the last boot is better than
	// the user-data, which may have parts that only it understands.
	served := cloudinit.ParseUserConfig(inst.UserData)
	user, err := h.files.UserConfig(inst.ID)
	if err != nil {
		return err
	}
	if user.Empty() {
		user = served
	}
	h.config = h.image.With(user)
	applied, err := h.files.HasRun(inst.ID, keysModule)
	if err != nil {
		return err
	}
	name := h.config.DefaultUser()
	if applied && name != "" && !h.isUser(name) {
		return fmt.Errorf("there is no user %s any more", name)
	}
	if h.Config.Password {
		h.askPassword(ctx)
	}
	if where := h.config.PublicKeysOff(); h.Config.SSHKeys && where == "" {
		mentions := func(k credentials.Key) bool { return user.Mentions(k.Base64()) || served.Mentions(k.Base64()) }
		if err := h.compareKeys(inst.Metadata["public-keys"], applied, mentions); err != nil {
			h.Log.WithError(err).Warn("the SSH keys are left as they are")
		}
	}
	return nil
}

// isUser says whether there is such a user on the machine itself.
func (h *handover) isUser(name string) bool {
	data, err := os.ReadFile(filepath.Join(h.Root, "/etc/passwd"))
	return err != nil || strings.Contains("\n"+string(data), "\n"+name+":")
}

// write hands it over, in the place of what an earlier run may have left. A module
// runs again only when it finds what is meant for it.
func (h *handover) write() (err error) {
	dir := filepath.Join(h.Root, RunDir)
	if h.text == (cloudinit.Handover{}) {
		return cloudinit.TakeBack(dir)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, cloudinit.TakeBackSecrets(dir))
		}
	}()
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
		if err := errors.Join(h.sync(), h.store.RecordKeys(h.instance, h.keys, nil)); err != nil {
			h.Log.Warn(err)
		}
	}
	if h.text.SSHKeys {
		_ = h.applied(ctx, keysModule) // or not, it had its turn
	}
	if h.isNew {
		h.settle(ctx)
	}
	if ctx.Err() != nil {
		return
	}
	if h.text != (cloudinit.Handover{}) || h.resumed {
		if err := cloudinit.TakeBackSecrets(filepath.Join(h.Root, RunDir)); err != nil {
			h.Log.Warn(err)
		}
	}
	if h.password.Server.IsValid() {
		h.acknowledge(ctx, current)
	}
}

// sync makes what cloud-init has written last, which it does not do itself. That
// is /etc with the shadow file, and where homes are as a rule: in there we cannot
// look, and to sync all file systems could take as long as any of them is away.
func (h *handover) sync() error {
	etc, err := os.Open(filepath.Join(h.Root, "/etc"))
	if err != nil {
		return fmt.Errorf("cannot sync: %w", err)
	}
	defer etc.Close()
	if err := unix.Syncfs(int(etc.Fd())); err != nil {
		return fmt.Errorf("cannot sync /etc: %w", err)
	}
	return nil
}

// applied waits until a module of cloud-init has had its turn in this boot, and
// says why it has failed, if so.
func (h *handover) applied(ctx context.Context, module string) error {
	stage, always := h.config.Stage(module)
	tick := time.NewTicker(appliedEvery)
	defer tick.Stop()
	limit := time.After(appliedLimit)
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
		case <-limit:
			return fmt.Errorf("cloud-init's stage %s has not ended within %v", stage, appliedLimit)
		case <-tick.C:
		}
	}
}
