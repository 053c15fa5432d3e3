package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/nm-cloud-seed/nm-cloud-seed/internal/api"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/daemon"
	"github.com/nm-cloud-seed/nm-cloud-seed/nm"
)

// askLimit bounds the start of the service that is asked. Other scripts wait for
// this one, NetworkManager does not.
const askLimit = 10 * time.Second

func dispatchCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "dispatch DEVICE ACTION",
		Short: "Ask the virtual router again, if what NetworkManager says is a reason for that",
		Long: `Dispatch is what the hook in NetworkManager's dispatcher.d runs, with the
environment of NetworkManager-dispatcher(8).`,
		Args:   cobra.ExactArgs(2),
		Hidden: true, // for our hook
		RunE: func(cmd *cobra.Command, args []string) error {
			lease, ok := nm.Dispatched(args, os.Environ())
			if !ok {
				return nil
			}
			reason := daemon.Concerned("", lease)
			if reason == "" {
				return nil
			}
			// The dispatcher passes it on to the journal.
			fmt.Fprintln(cmd.ErrOrStderr(), "nm-cloud-seed: asking the virtual router again: "+reason)
			ctx, cancel := context.WithTimeout(cmd.Context(), askLimit)
			defer cancel()
			if err := api.Ask(ctx); err != nil {
				return exit{exitFailed, err}
			}
			return nil
		},
	}
}
