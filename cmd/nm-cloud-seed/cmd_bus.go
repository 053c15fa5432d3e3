package main

import (
	"context"
	"errors"
	"io/fs"
	"time"

	"github.com/spf13/cobra"

	"github.com/nm-cloud-seed/nm-cloud-seed/internal/api"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/config"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/daemon"
)

// defaultBusIdle is the time without a call after which the D-Bus API's process ends.
const defaultBusIdle = 30 * time.Second

func busCommand() *cobra.Command {
	var idle time.Duration
	cmd := &cobra.Command{
		Use:   "bus",
		Short: "Serve the D-Bus API",
		Long: `Bus is what nm-cloud-seed-bus.service starts when somebody calls
org.nmcloudseed1. It ends by itself when nobody has for a while.`,
		Args:   cobra.NoArgs,
		Hidden: true, // for our units
		RunE: func(cmd *cobra.Command, _ []string) error {
			log := newLogger(cmd.ErrOrStderr())
			notify := notifier(log)
			server := &api.Server{
				Log: log, Look: look, Idle: idle,
				Ready: func() { notify("READY=1") },
				// From now on systemd waits for our end before it starts us again: otherwise
				// a call that comes meanwhile would start nothing (sd_notify(3)).
				Leaving: func() { notify("STOPPING=1") },
				Refresh: func(ctx context.Context) ([]string, error) {
					cfg, err := config.Load("") // each time: it may have been changed
					setLevel(log, cfg)
					if err != nil {
						log.WithError(err).Error("going on with the rest of the configuration")
					}
					d := &daemon.Daemon{Log: log, Config: cfg, Notify: notify, StartUnit: startUnit}
					changed, err := d.Refresh(ctx)
					switch {
					case errors.Is(err, daemon.ErrBusy):
						err = &api.Error{Name: "Busy", Err: err}
					case errors.Is(err, daemon.ErrNotRun):
						err = &api.Error{Name: "NotRun", Err: err}
					}
					return changed, err
				},
			}
			if err := server.Run(cmd.Context()); err != nil {
				log.Error(err)
				return exit{code: exitFailed}
			}
			return nil
		},
	}
	cmd.Flags().DurationVar(&idle, "idle", defaultBusIdle, "end after this time without a call")
	return cmd
}

// look is the state as the D-Bus API has it. The server stays while the service's run
// goes on, which is soon over. A wait for the virtual router may take days, and a
// refresh is its own: it knows when that ends, even if the state cannot be written.
func look() api.Properties {
	s, err := daemon.ReadState("")
	if errors.Is(err, fs.ErrNotExist) {
		return api.Properties{State: "none", Text: "the service has not run since the system started"}
	}
	if err != nil {
		return api.Properties{State: "none", Text: err.Error(), LastError: err.Error()}
	}
	p := api.Properties{State: string(s.Phase), Text: s.Text, LastError: s.Error, Started: s.Started, Busy: s.Ended == nil}
	if i := s.Instance; i != nil {
		p.InstanceID, p.Device, p.SeedPath, p.From, p.FetchedAt = i.ID, i.Device, i.Seed, i.Source, i.Fetched
		p.VirtualRouter = i.Server.String()
	}
	if s.Outcome != nil {
		p.Outcome = string(s.Outcome.State)
	}
	if s.Ended != nil {
		p.Ended = *s.Ended
	}
	if s.Healing != nil {
		p.Text = s.Healing.Text
	}
	if s.Refresh != nil && s.Refresh.Error != "" {
		p.LastError = s.Refresh.Error
	}
	for _, step := range s.Steps {
		p.Steps = append(p.Steps, api.Step{Name: step.Name, At: time.Duration(step.At * float64(time.Millisecond))})
	}
	return p
}
