package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/nm-cloud-seed/nm-cloud-seed/datasource"
	"github.com/nm-cloud-seed/nm-cloud-seed/datasource/cloudstack"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/atomicfile"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/cloudinit"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/credentials"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/lease"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/rootfs"
)

// stagesFile is there from when heal is about to start cloud-init's stages until the
// next boot. The unit of the stages goes on when heal is killed; another heal then
// waits for them and ends what the first one has begun.
const stagesFile = RunDir + "/private/stages.json"

// stagesRun is what heal has to know of stages that an earlier heal started.
type stagesRun struct {
	Instance string           `json:"instance-id"`
	Server   netip.Addr       `json:"password-server"` // whose password was handed over; the zero value is none
	IsNew    bool             `json:"new-password"`    // it is not applied yet
	SSHKeys  bool             `json:"ssh-keys-again"`  // the module ssh runs again
	Keys     credentials.Keys `json:"ssh-keys,omitempty"`
	Done     bool             `json:"done"` // nothing is left to do of that
}

func (d *Daemon) writeStages(r stagesRun) error {
	data, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return atomicfile.WriteFile(filepath.Join(d.Root, stagesFile), append(data, '\n'), 0o600)
}

// startedStages returns the stages that an earlier heal of this boot has started, or
// nil. Where they are those of another instance, or that cannot be read, that counts
// as none: the instance that cloud-init has made keeps heal from starting them again.
func (d *Daemon) startedStages(instance string) *stagesRun {
	path := filepath.Join(d.Root, stagesFile)
	var r stagesRun
	data, err := rootfs.Read(os.DirFS(filepath.Dir(path)), filepath.Base(path), maxState)
	if err == nil {
		err = json.Unmarshal(data, &r)
	}
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			d.Log.Warnf("cannot read %s: %s", path, rootfs.Reason(err))
		}
		return nil
	}
	if r.Instance != instance {
		return nil
	}
	return &r
}

// started returns what is to be known of the stages that run with this handover.
func (h *handover) started() stagesRun {
	return stagesRun{
		Instance: h.instance, Server: h.password.Server, IsNew: h.isNew, SSHKeys: h.text.SSHKeys, Keys: h.keys,
	}
}

// resume returns the handover of a heal that was killed, for finish. It hands over
// nothing. The configuration is that of before the stages, as finish expects it.
func (d *Daemon) resume(r *stagesRun, inst *datasource.Instance, view lease.View) (*handover, error) {
	h := &handover{
		Daemon: d, view: view, again: true, resumed: true, instance: r.Instance, isNew: r.IsNew, keys: r.Keys,
		files: cloudinit.Files{Root: d.Root}, store: credentials.Store{Dir: filepath.Join(d.Root, stateDir)},
		text: cloudinit.Handover{SSHKeys: r.SSHKeys},
	}
	var err error
	if h.image, err = h.files.Config(); err != nil {
		return nil, err
	}
	h.config = h.image.With(cloudinit.ParseUserConfig(inst.UserData))
	if network, ok := cloudstack.DefaultNetwork(view); ok { // else the next boot acknowledges
		h.network, h.password.Server = network, r.Server
	}
	return h, nil
}

// runStages lets cloud-init run its stages again, as in an instance's first boot. Where
// an earlier heal has started them, it waits for them and does what that one would
// have done then.
func (d *Daemon) runStages(ctx context.Context, networks *Networks, from *source, fqdn string, before *stagesRun) error {
	if before != nil && before.Done {
		d.seeded(from)
		return nil
	}
	var hand *handover
	if before == nil {
		hand = &handover{Daemon: d, view: networks.current(), again: true, fqdn: fqdn}
		hand.over(ctx, from.Instance)
		if err := d.writeStages(hand.started()); err != nil {
			return fmt.Errorf("cannot run cloud-init's stages again, the next boot does it: %w", err)
		}
	}
	// Not before: a heal that finds such a state, and no stages that were started, takes
	// it for the boot's.
	d.seeded(from)
	d.tell(func(s *State) { s.Healing.Text = "cloud-init runs its stages again" })
	if err := d.StartUnit(ctx, stagesUnit); err != nil {
		return fmt.Errorf("cannot run cloud-init's stages again, the next boot does it: %w", err)
	}
	if hand == nil {
		var err error
		if hand, err = d.resume(before, from.Instance, networks.current()); err != nil {
			d.Log.WithError(err).Warn("cannot tell what cloud-init has applied: the next boot finds out")
			return nil
		}
	}
	hand.finish(ctx, networks.current)
	if ctx.Err() != nil {
		return nil
	}
	done := hand.started()
	done.Done = true
	if err := d.writeStages(done); err != nil {
		d.Log.Warn(err)
	}
	return nil
}
