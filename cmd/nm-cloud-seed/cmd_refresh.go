package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/nm-cloud-seed/nm-cloud-seed/internal/api"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/daemon"
)

// refreshWait is longer than a refresh, and than the start of the service.
const refreshWait = 40 * time.Second

func refreshCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "refresh",
		Short: "Ask the virtual router again, and renew the data for the next boot",
		Long: `Refresh has the service ask the virtual router again, over the connections that
there are, and says which metadata keys have changed, or the user-data. The seed
and the copy of the last boot are renewed. What has changed counts from the next
boot on: cloud-init does not expect that it changes under it. A password is asked
for at the next boot.

Exit status: 0 done, 1 failed, 3 something goes on already, 4 there is nothing to
refresh.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if _, err := daemon.ReadState(""); err != nil { // anybody may know that
				return unknown(err)
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), refreshWait)
			defer cancel()
			p := newProgress(cmd.ErrOrStderr())
			end := p.follow(refreshText)
			changed, err := api.Refresh(ctx)
			end()
			if err != nil {
				return exit{refreshStatus(err), err}
			}
			w := cmd.OutOrStdout()
			switch {
			case asJSON:
				err = json.NewEncoder(w).Encode(struct {
					Changed []string `json:"changed"`
				}{append([]string{}, changed...)})
			case len(changed) == 0:
				_, err = fmt.Fprintln(w, "nothing has changed")
			default:
				_, err = fmt.Fprintf(w, "changed, from the next boot on: %s\n", strings.Join(changed, ", "))
			}
			if err != nil {
				return exit{exitFailed, err}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print what has changed as JSON")
	return cmd
}

// refreshText is what a refresh is doing.
func refreshText() string {
	if s, err := daemon.ReadState(""); err == nil && s.Refresh != nil && s.Refresh.Ended == nil {
		return s.Refresh.Text
	}
	return ""
}

func refreshStatus(err error) int {
	var said *api.Error
	switch errors.As(err, &said); {
	case said == nil:
	case said.Name == "Busy":
		return exitRunning
	case said.Name == "NotRun":
		return exitUnknown
	}
	return exitFailed
}
