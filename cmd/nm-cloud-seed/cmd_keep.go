package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/nm-cloud-seed/nm-cloud-seed/internal/daemon"
	"github.com/nm-cloud-seed/nm-cloud-seed/nm"
)

func keepCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "keep [DEVICE...]",
		Short: "Make the temporary connection a permanent profile",
		Long: `Keep makes an ordinary profile of NetworkManager's of the temporary connection
that stays until shutdown: IPv4 and IPv6 automatically, connected at each boot.
Without DEVICE, of each that there is. The connection goes on as it is, without a
gap; what is new in the profile counts from the next activation.

Not while the service is still at work: that may be about to let the connection go.`,
		ValidArgsFunction: completeDevices,
		RunE: func(cmd *cobra.Command, devices []string) error {
			s, err := daemon.ReadState("")
			if err == nil && s.Healing != nil {
				return exit{exitFailed, errors.New("cannot keep a connection while the virtual router is waited for: " +
					"it may yet go by itself (try again when 'nm-cloud-seed status --watch' has ended)")}
			}
			if err == nil && s.Ended == nil {
				return exit{exitFailed, errors.New("cannot keep a connection while the service is at work: " +
					"it may yet go by itself (try again when 'nm-cloud-seed status --watch' has ended)")}
			}
			if err == nil && s.Busy() {
				return exit{exitFailed, errors.New("cannot keep a connection while the virtual router is asked again " +
					"(try again when 'nm-cloud-seed status --watch' has ended)")}
			}
			kept, err := daemon.Keep("", func() ([]string, error) { return nm.Keep(cmd.Context(), devices...) })
			for _, device := range kept {
				fmt.Fprintf(cmd.OutOrStdout(), "the connection of %[1]s is permanent: profile \"nm-cloud-seed %[1]s\"\n", device)
			}
			if err != nil {
				return exit{exitFailed, err}
			}
			return nil
		},
	}
}
