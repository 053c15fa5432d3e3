package main

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/nm-cloud-seed/nm-cloud-seed/internal/doctor"
)

func doctorCommand() *cobra.Command {
	var root string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Say what is wrong on this VM, or in an image, and what to do about it",
		Long: `Doctor looks at all that has to play together on a CloudStack VM: the platform,
cloud-init, NetworkManager, the order of the boot, the virtual router and its
password server, the service's run in this boot, and what cloud-init made of it.
Each problem comes with what to do about it. Nothing is changed: no connection is
activated, no metadata but the instance-id is asked for, and no password is taken.
An ordinary user is told what only root can see. On a machine that is not on
CloudStack it says so, and nobody is asked.

With --root it looks at an image that is unpacked or mounted at a directory,
before it is uploaded. No program of the image is run.

Exit status: 0 all is well (there may be warnings), 1 there are problems,
2 it could not look: there is no image, or it was interrupted.`,
		Example: "  nm-cloud-seed doctor\n  nm-cloud-seed doctor --root /mnt",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return fmt.Errorf("doctor takes no argument (for an image: nm-cloud-seed doctor --root %s)", args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			report, err := diagnose(cmd, root)
			if err != nil {
				return exit{exitUsage, err}
			}
			w := cmd.OutOrStdout()
			if asJSON {
				err = json.NewEncoder(w).Encode(report)
			} else {
				err = report.Print(w, columns(w), func(s doctor.State, text string) string { return paint(w, stateColours[s], text) })
			}
			if err != nil {
				return exit{exitUsage, err} // 1 would say that there are problems
			}
			if report.State() == doctor.Problem {
				return exit{code: exitFailed}
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&root, "root", "", "look at the image that is unpacked or mounted at this directory")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the checks as JSON")
	_ = cmd.MarkFlagDirname("root") // fails only without such a flag
	return cmd
}

// diagnose looks at an image, or without one at the system that we are in. What it
// has when it is interrupted would be wrong: whoever had no time looks silent.
func diagnose(cmd *cobra.Command, root string) (doctor.Report, error) {
	if cmd.Flags().Changed("root") {
		return doctor.Image(root)
	}
	report := doctor.System(cmd.Context(), doctor.Here())
	if err := context.Cause(cmd.Context()); err != nil {
		return report, fmt.Errorf("cannot examine the system: %w", err)
	}
	return report, nil
}

var stateColours = map[doctor.State]string{doctor.OK: green, doctor.Warning: yellow, doctor.Problem: red}
