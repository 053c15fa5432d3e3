package main

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"

	"github.com/sirupsen/logrus"
	"github.com/spf13/cobra"

	"github.com/nm-cloud-seed/nm-cloud-seed/internal/credentials"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/daemon"
)

// sshKeysCommand is what a unit of its own runs once cloud-init has applied a new
// set of SSH keys: the service itself may not act as other users.
func sshKeysCommand() *cobra.Command {
	keys := &cobra.Command{
		Use:    "ssh-keys",
		Short:  "Remove the SSH keys that CloudStack has replaced",
		Hidden: true, // for our units
		Args:   cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			log := newLogger(cmd.ErrOrStderr())
			if err := removeReplaced(log); err != nil {
				log.Error(err)
				return exit{code: exitFailed}
			}
			return nil
		},
	}
	keys.AddCommand(&cobra.Command{
		Use:    "remove",
		Short:  "Remove what standard input says from this user's authorized_keys",
		Hidden: true, // for the command above
		Args:   cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := credentials.RunTask(cmd.InOrStdin(), cmd.OutOrStdout()); err != nil {
				return exit{exitFailed, err}
			}
			return nil
		},
	})
	return keys
}

// removeReplaced does the service's job. Unless all of it is done, the record of
// what was applied stays as it is, so that the next boot tries again.
func removeReplaced(log logrus.FieldLogger) error {
	job, found, err := credentials.ReadJob(daemon.RunDir)
	if err != nil {
		return err
	}
	if !found {
		log.Info("there are no SSH keys to remove")
		return nil
	}
	store := credentials.Store{Dir: credentials.DefaultDir}
	old, _, _, err := store.Keys(job.Instance)
	if err != nil {
		log.Warn(err) // it is about to be written anew
	}
	task := credentials.Task{Remove: job.Remove, Present: job.Keys.Without(old)}
	if len(task.Present) == 0 { // no key is new, some have gone
		task.Present = job.Keys
	}
	elsewhere := credentials.Elsewhere(os.DirFS("/"))
	if elsewhere != "" {
		log.Warnf("sshd looks for SSH keys elsewhere (AuthorizedKeysFile in %s): those that were replaced are not removed there", elsewhere)
	}
	// root comes first: the other one could delay what is done in his name.
	users := []string{"root"}
	if job.User != "root" && job.User != "" {
		users = append(users, job.User)
	}
	failed := false
	for _, name := range users {
		err := removeFor(log, name, task)
		if err != nil && elsewhere != "" && errors.Is(err, credentials.ErrNotApplied) {
			log.Info(err)
		} else if err != nil {
			log.Error(err)
			failed = true
		}
	}
	if failed {
		return errors.New("cannot take the new SSH keys for applied: the next boot tries again")
	}
	if err := store.RecordKeys(job.Instance, job.Keys, nil); err != nil {
		return err
	}
	return credentials.RemoveJob(daemon.RunDir)
}

// removeFor removes keys from a local user's files, if there is such a user.
func removeFor(log logrus.FieldLogger, name string, task credentials.Task) error {
	u, err := user.Lookup(name)
	var unknown user.UnknownUserError
	if errors.As(err, &unknown) {
		log.Infof("there is no user %s whose SSH keys could have been replaced", name)
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot find the user %s: %w", name, err)
	}
	removed, err := task.RunAs(u, "ssh-keys", "remove")
	for _, key := range removed {
		log.Infof("removed a replaced SSH key of %s (%s): %s", name, filepath.Join(u.HomeDir, credentials.AuthorizedKeys), key)
	}
	return err
}
