package main

import (
	"encoding/json"
	"errors"

	"github.com/spf13/cobra"

	"github.com/nm-cloud-seed/nm-cloud-seed/internal/doctor"
)

func doctorCommand() *cobra.Command {
	var root string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "doctor --root DIRECTORY",
		Short: "Say whether an image will work, and what to mend in it",
		Long: `Doctor looks at an image that is unpacked or mounted at a directory, before it
is uploaded: whether cloud-init, NetworkManager and nm-cloud-seed will find
together on CloudStack. Each problem comes with what to do about it. Nothing is
changed, and no program of the image is run.

Exit status: 0 all is well (there may be warnings), 1 there are problems,
2 there is no image to look at.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if root == "" {
				return exit{exitUsage, errors.New("cannot examine the running system yet, only an image (give its directory: doctor --root DIRECTORY)")}
			}
			report, err := doctor.Image(root)
			if err != nil {
				return exit{exitUsage, err}
			}
			w := cmd.OutOrStdout()
			if asJSON {
				err = json.NewEncoder(w).Encode(report)
			} else {
				err = report.Print(w, func(s doctor.State, text string) string { return paint(w, stateColours[s], text) })
			}
			if err != nil {
				return exit{exitUsage, err} // 1 would say that the image has problems
			}
			if report.State() == doctor.Problem {
				return exit{code: exitFailed}
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&root, "root", "", "the directory with the unpacked or mounted image")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the checks as JSON")
	_ = cmd.MarkFlagDirname("root") // fails only without such a flag
	return cmd
}

var stateColours = map[doctor.State]string{doctor.OK: green, doctor.Warning: yellow, doctor.Problem: red}
