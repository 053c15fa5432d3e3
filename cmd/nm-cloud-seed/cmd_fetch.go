package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/spf13/cobra"

	"github.com/nm-cloud-seed/nm-cloud-seed/datasource"
	"github.com/nm-cloud-seed/nm-cloud-seed/datasource/cloudstack"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/config"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/daemon"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/seed"
)

func fetchCommand() *cobra.Command {
	var f fetch
	cmd := &cobra.Command{
		Use:   "fetch DIRECTORY",
		Short: "Fetch the instance metadata into a directory, touching nothing else",
		Long: `Fetch does once what the service does at boot, but writes meta-data and
user-data into DIRECTORY, for their owner only, and leaves cloud-init alone. It
does not ask whether the machine is on CloudStack, and never asks the password
server. A temporary connection of its own is taken down at the end.

Activating a connection takes root; reading the lease of an active one does not.`,
		Example: "  nm-cloud-seed fetch /root/seed\n  nm-cloud-seed fetch --user-data /root/seed | less",
		Args:    cobra.ExactArgs(1),

		ValidArgsFunction: completeDirectory,
		RunE: func(cmd *cobra.Command, args []string) error {
			f.dir, f.out, f.err = args[0], cmd.OutOrStdout(), cmd.ErrOrStderr()
			return f.run(cmd.Context())
		},
	}
	cmd.Flags().DurationVar(&f.timeout, "timeout", 0, "give up after this time (default: the configuration's deadline)")
	cmd.Flags().BoolVar(&f.userData, "user-data", false, "print the user-data, as it is, instead of a summary")
	cmd.Flags().BoolVar(&f.json, "json", false, "print the summary as JSON")
	cmd.MarkFlagsMutuallyExclusive("user-data", "json")
	return cmd
}

type fetch struct {
	dir      string
	timeout  time.Duration
	userData bool
	json     bool
	out, err io.Writer
}

func (f fetch) run(ctx context.Context) error {
	log := newLogger(f.err)
	log.SetLevel(logrus.WarnLevel) // the progress says the rest
	cfg, err := config.Load("")
	if err != nil {
		return exit{exitUsage, err}
	}
	if f.timeout < 0 {
		return exit{exitUsage, errors.New("cannot fetch with a negative timeout")}
	}
	if f.timeout == 0 {
		f.timeout = cfg.Deadline
	}
	p := newProgress(f.err)
	log.SetOutput(p) // so that a log line does not run into the live one
	job := daemon.Job{
		Log: log, UUID: cloudstack.ReadPlatform("").InstanceUUID(), AnyInstance: !cfg.CheckID,
		Deadline: f.timeout, Report: p.report,
	}
	inst, networks, err := job.Fetch(ctx)
	if err == nil {
		err = seed.WriteDir(f.dir, inst)
	}
	networks.Close()
	p.end()
	if err != nil {
		return exit{exitFailed, err}
	}
	if err := f.print(inst); err != nil {
		return exit{exitFailed, err}
	}
	return nil
}

// summary is what fetch says of an instance: nothing that could be secret.
type summary struct {
	ID       string   `json:"instance-id"`
	Server   string   `json:"virtual-router"`
	Role     string   `json:"found-as"`
	Device   string   `json:"device"`
	Keys     []string `json:"keys"`
	UserData int      `json:"user-data-bytes"`
	Files    []string `json:"files"`
	Warnings []string `json:"warnings,omitempty"`
}

func (f fetch) print(inst *datasource.Instance) error {
	if f.userData {
		_, err := f.out.Write(inst.UserData)
		return err
	}
	s := summary{
		ID: inst.ID, Server: inst.Origin.Server.String(), Role: inst.Origin.Role, Device: inst.Origin.Device,
		Keys: slices.Sorted(maps.Keys(inst.Metadata)), UserData: len(inst.UserData), Warnings: inst.Warnings,
	}
	for _, name := range []string{"meta-data", "user-data"} {
		s.Files = append(s.Files, filepath.Join(f.dir, name))
	}
	if f.json {
		e := json.NewEncoder(f.out)
		e.SetIndent("", "  ")
		return e.Encode(s)
	}
	t := tabwriter.NewWriter(f.out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "instance-id\t%s\n", s.ID)
	fmt.Fprintf(t, "virtual router\t%s (%s on %s)\n", s.Server, s.Role, s.Device)
	fmt.Fprintf(t, "metadata\t%d keys in %s\n", len(s.Keys), s.Files[0])
	fmt.Fprintf(t, "user-data\t%d bytes in %s\n", s.UserData, s.Files[1])
	if err := t.Flush(); err != nil {
		return err
	}
	for _, warning := range s.Warnings {
		fmt.Fprintln(f.err, "warning:", warning)
	}
	return nil
}
