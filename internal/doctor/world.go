package doctor

import (
	"context"
	"os"
	"time"

	"github.com/nm-cloud-seed/nm-cloud-seed/datasource/cloudstack"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/daemon"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/lease"
	"github.com/nm-cloud-seed/nm-cloud-seed/nm"
)

// World is what a running system has besides its files.
type World struct {
	// NetworkManager is what it has, and its version; nm.Look.
	NetworkManager func(context.Context) (lease.View, string, error)
	// Routers are the candidates' answers, and Passwords those of one network's;
	// Survey and SurveyPasswords of package cloudstack.
	Routers   func(context.Context, lease.View, cloudstack.Options) []cloudstack.Finding
	Passwords func(context.Context, lease.Lease) []cloudstack.Finding
	// FailedUnits are those of some units that have failed; nil: nobody to ask.
	FailedUnits func(ctx context.Context, names []string) ([]string, error)
	Now         func() time.Time
	Booted      time.Time // zero: not known
	Root        bool      // we are root, and may read everything
}

// Here is the world that we are in.
func Here() World {
	return World{
		NetworkManager: nm.Look,
		Routers: func(ctx context.Context, view lease.View, o cloudstack.Options) []cloudstack.Finding {
			return cloudstack.New(o).Survey(ctx, view)
		},
		Passwords: func(ctx context.Context, l lease.Lease) []cloudstack.Finding {
			return cloudstack.SurveyPasswords(ctx, l, 0)
		},
		FailedUnits: FailedUnits,
		Now:         time.Now,
		Booted:      daemon.Booted(),
		Root:        os.Geteuid() == 0,
	}
}
