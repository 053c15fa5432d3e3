package main

import (
	"github.com/spf13/cobra"

	"github.com/nm-cloud-seed/nm-cloud-seed/internal/cloudinit"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/daemon"
)

// compatibilityLeaseCommand is what the units run around cloud-init's network
// stage, with the privileges that the service itself does not have.
func compatibilityLeaseCommand() *cobra.Command {
	lease := &cobra.Command{
		Use:    "compatibility-lease",
		Short:  "Write or remove what old versions of cloud-init need besides the seed",
		Hidden: true, // for our units
		Args:   cobra.NoArgs,
	}
	step := func(use, short string, do func(cloudinit.Files) (string, error)) {
		lease.AddCommand(&cobra.Command{
			Use: use, Short: short, Args: cobra.NoArgs,
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
		})
	}
	step("write", "Put it where cloud-init looks", func(f cloudinit.Files) (string, error) {
		return f.PlaceLease(daemon.RunDir)
	})
	step("remove", "Remove it", func(f cloudinit.Files) (string, error) {
		return "", f.RemoveLease()
	})
	return lease
}
