package main

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"

	"github.com/spf13/cobra"

	"github.com/nm-cloud-seed/nm-cloud-seed/internal/config"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/daemon"
)

func statusCommand() *cobra.Command {
	var asJSON, watch bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Say how the service's run stands or ended",
		Long: `Status says what the service did since the system started: from which virtual
router it got which instance, what cloud-init made of that, or why it failed, and
where the time went: how long each step took, when it was done, and a bar for it.

Exit status: 0 the seed is in place, and cloud-init is at work or has applied it,
or there was nothing to do, 1 the service or cloud-init failed, 3 the service is
still at work, 4 it has not run.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			show := printStatus
			if asJSON {
				show = printJSON
			}
			if watch {
				return watchStatus(cmd.Context(), cmd.OutOrStdout(), asJSON)
			}
			s, err := daemon.ReadState("")
			if err != nil {
				return unknown(err)
			}
			if err := show(cmd.OutOrStdout(), s); err != nil {
				return exit{exitFailed, err}
			}
			return verdict(s)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the state as JSON; with --watch, one document a line")
	cmd.Flags().BoolVar(&watch, "watch", false, "go on until the run has ended, and show each change")
	return cmd
}

func unknown(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		text := "the service has not run since the system started"
		if reason := whyNot(); reason != "" {
			text += ": " + reason
		}
		return exit{exitUnknown, errors.New(text)}
	}
	return exit{exitFailed, err}
}

// whyNot is why the service does not run at all, empty if it does.
func whyNot() string {
	cfg, mistakes := config.Load("")
	reason, _ := daemon.NeverStarts("", cfg)
	if cfg.Ordering == config.OrderingOff {
		reason = "switched off in the configuration (ordering=off)"
	}
	if reason != "" && mistakes != nil { // which the service would say
		reason += "; there are mistakes in the configuration: " + mistakes.Error()
	}
	return reason
}

// verdict is the exit status that a state stands for.
func verdict(s daemon.State) error {
	switch s.Phase {
	case daemon.Ready, daemon.Idle:
		return nil
	case daemon.Failed, daemon.Stopped:
		return exit{code: exitFailed}
	}
	return exit{code: exitRunning}
}

func printJSON(w io.Writer, s daemon.State) error { return json.NewEncoder(w).Encode(s) }
