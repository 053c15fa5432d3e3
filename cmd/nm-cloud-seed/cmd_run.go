package main

import (
	"context"
	"errors"
	"os"

	sd "github.com/coreos/go-systemd/v22/daemon"
	"github.com/sirupsen/logrus"
	"github.com/spf13/cobra"

	"github.com/nm-cloud-seed/nm-cloud-seed/internal/config"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/daemon"
)

func runCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "run",
		Short: "Seed cloud-init once, as the service does at boot",
		Long: `Run is what nm-cloud-seed.service starts. It fetches the instance metadata,
writes the seed to /run/nm-cloud-seed with /var/lib/cloud/seed/cs leading to it,
tells systemd that it is ready, and stays only while the seed's device or the
default network has no connection but a temporary one of ours. When cloud-init
is done, NetworkManager keeps that one until shutdown.

Where there is nothing to do (not on CloudStack, cloud-init disabled, cloud-init
already has its datasource, or another network service than NetworkManager runs
all wired devices) it says so and succeeds.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return serve(cmd, (*daemon.Daemon).Run)
		},
	}
}

func healCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "heal",
		Short: "Wait for the virtual router after a boot without its data",
		Long: `Heal is what nm-cloud-seed-heal.service starts after a boot without data from the
virtual router. It waits until there is some, and keeps it for the next boot. A
VM whose first boot that was is set up at once: cloud-init runs its stages again,
unless heal=no is configured or the VM has ever been an instance.`,
		Args:   cobra.NoArgs,
		Hidden: true, // for our units
		RunE: func(cmd *cobra.Command, _ []string) error {
			return serve(cmd, (*daemon.Daemon).Heal)
		},
	}
}

// fallbackCommand runs last before cloud-init's network stage, in the stage's unit.
func fallbackCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "fallback",
		Short:  "Do what a run that was killed or never started has not done",
		Args:   cobra.NoArgs,
		Hidden: true, // for cloud-init's network stage
		RunE: func(cmd *cobra.Command, _ []string) error {
			return serve(cmd, (*daemon.Daemon).Fallback)
		},
	}
}

// serve is what the services do.
func serve(cmd *cobra.Command, do func(*daemon.Daemon, context.Context) error) error {
	log := newLogger(cmd.ErrOrStderr())
	cfg, err := config.Load("")
	setLevel(log, cfg)
	if err != nil { // a typing error must not make a VM unreachable
		log.WithError(err).Error("going on with the rest of the configuration")
	}
	d := &daemon.Daemon{Log: log, Config: cfg, Notify: notifier(log), StartUnit: startUnit, ResetFailed: resetFailed, Abort: func() { os.Exit(exitFailed) }}
	err = do(d, cmd.Context())
	switch {
	case err == nil:
		return nil
	case errors.Is(err, context.Canceled):
		err = errors.New("stopped by a signal before there was a seed")
	}
	log.Error(err)
	return exit{code: exitFailed}
}

// notifier tells systemd, if it started us with Type=notify.
func notifier(log logrus.FieldLogger) func(string) {
	return func(state string) {
		if _, err := sd.SdNotify(false, state); err != nil {
			log.WithError(err).Warn("cannot notify systemd")
		}
	}
}

func setLevel(log *logrus.Logger, cfg config.Config) {
	level, err := logrus.ParseLevel(string(cfg.LogLevel))
	if err == nil { // config has checked it
		log.SetLevel(level)
	}
}
