package main

import (
	"errors"
	"slices"

	"github.com/spf13/cobra"

	"github.com/nm-cloud-seed/nm-cloud-seed/internal/atomicfile"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/cloudinit"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/credentials"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/daemon"
	"github.com/nm-cloud-seed/nm-cloud-seed/nm"
)

// placeLeaseCommand and cleanupCommand are what the units run around cloud-init's
// stages, with privileges that the service itself does not have.
func placeLeaseCommand() *cobra.Command {
	return step("place-lease", "Put the compatibility lease where old versions of cloud-init look", func(f cloudinit.Files) (string, error) {
		return f.PlaceLease(daemon.RunDir)
	})
}

func cleanupCommand() *cobra.Command {
	var reset bool
	cmd := &cobra.Command{
		Use: "cleanup", Short: "Remove what only cloud-init needed, and record what it made of the seed", Args: cobra.NoArgs,
		Hidden: true, // for our units
		RunE: func(cmd *cobra.Command, _ []string) error {
			log := newLogger(cmd.ErrOrStderr())
			err := errors.Join(cloudinit.Files{}.RemoveLease(), cloudinit.TakeBackSecrets(daemon.RunDir))
			outcome, concludeErr := (&daemon.Daemon{Log: log}).Conclude()
			if err = errors.Join(err, concludeErr); reset && outcome.Good() {
				err = errors.Join(err, resetFailed(cmd.Context(), healedUnits()...))
			}
			if err != nil {
				log.Error(err)
				return exit{code: exitFailed}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&reset, "reset-failed", false, "reset the failed units of a boot without data, if cloud-init has applied the seed now")
	return cmd
}

// healedUnits returns cloud-init's units and ours that can fail in a boot without data.
func healedUnits() []string {
	return append(slices.Clone(cloudinit.Units), "nm-cloud-seed.service", "nm-cloud-seed-cleanup.service")
}

// noteShadowCommand comes before the service and before heal, which have no
// capabilities.
func noteShadowCommand() *cobra.Command {
	return step("note-shadow", "Tell the service which passwords are set, where it may not read /etc/shadow", func(cloudinit.Files) (string, error) {
		return "", credentials.NoteShadow("", daemon.RunDir)
	})
}

// noSearchCommand comes before cloud-init's local stage.
func noSearchCommand() *cobra.Command {
	return step("no-search", "Tell cloud-init not to look for the virtual router itself", func(cloudinit.Files) (string, error) {
		err := atomicfile.MkdirAll(daemon.RunDir, 0o755) // the service's, which is yet to come
		return "", errors.Join(err, cloudinit.NoSearch(daemon.RunDir))
	})
}

// forgetLeasesCommand is for `cloud-init clean`.
func forgetLeasesCommand() *cobra.Command {
	return step("forget-leases", "Remove the leases of temporary connections", func(cloudinit.Files) (string, error) {
		return "", nm.ForgetLeases("")
	})
}

func step(use, short string, do func(cloudinit.Files) (kept string, err error)) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Args: cobra.NoArgs,
		Hidden: true, // for our units and scripts
		RunE: func(cmd *cobra.Command, _ []string) error {
			log := newLogger(cmd.ErrOrStderr())
			kept, err := do(cloudinit.Files{})
			if err != nil {
				log.Error(err)
				return exit{code: exitFailed}
			}
			if kept != "" {
				log.Info("no compatibility lease: " + kept)
			}
			return nil
		},
	}
}
