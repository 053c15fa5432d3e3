package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/nm-cloud-seed/nm-cloud-seed/internal/daemon"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/plot"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/timeline"
)

func plotCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "plot [FILE]",
		Short: "Draw the boot as a timeline, in SVG",
		Long: `Plot draws when D-Bus, NetworkManager, this service and cloud-init's stages started
in this boot and how long each took, and the steps of this service, as an SVG picture
in the manner of 'systemd-analyze plot'. It goes to the file, or to the standard output
without one or with '-'. Nothing in it identifies the machine.

Exit status: 0 done, 1 it failed, 4 the service has not run since the system started.`,
		Example: "  nm-cloud-seed plot boot.svg",
		Args:    cobra.MaximumNArgs(1),
		ValidArgsFunction: func(_ *cobra.Command, given []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
			if len(given) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return nil, cobra.ShellCompDirectiveDefault // files
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := daemon.ReadState("")
			if err != nil {
				return unknown(err)
			}
			chart, err := bootChart(cmd.Context(), s)
			if err != nil {
				return exit{exitFailed, fmt.Errorf("cannot draw the boot: %w", err)}
			}
			picture := plot.Draw(chart)
			if len(args) == 0 || args[0] == "-" {
				_, err = cmd.OutOrStdout().Write(picture)
			} else {
				err = os.WriteFile(args[0], picture, 0o644) // into a device, too
			}
			if err != nil {
				return exit{exitFailed, fmt.Errorf("cannot write the picture: %w", err)}
			}
			return nil
		},
	}
}

// systemdLimit bounds all that systemd is asked for a picture.
const systemdLimit = 10 * time.Second

func bootChart(ctx context.Context, s daemon.State) (plot.Chart, error) {
	if !booted() {
		return plot.Chart{}, errors.New("this system is not run by systemd")
	}
	ctx, cancel := context.WithTimeout(ctx, systemdLimit)
	defer cancel()
	systemd, err := newSystemdTimes(ctx)
	if err != nil {
		return plot.Chart{}, err
	}
	defer systemd.close()
	return timeline.Collect(ctx, systemd, s, timeline.About{Version: buildVersion(), System: osName()}, daemon.Monotonic())
}
