package credentials

import (
	"errors"
	"path/filepath"

	"github.com/nm-cloud-seed/nm-cloud-seed/internal/atomicfile"
)

// jobFile is relative to our runtime directory. Its directory is private.
const jobFile = "private/ssh-keys.json"

// Job is what the service, which cannot act as other users, leaves to do once
// cloud-init has applied a new set of SSH keys.
type Job struct {
	Instance string `json:"instance-id"`
	User     string `json:"user"`   // the default user's name
	Remove   Keys   `json:"remove"` // what was replaced
	Keys     Keys   `json:"keys"`   // the whole new set
}

// WriteJob leaves a job in dir, our runtime directory /run/nm-cloud-seed.
func WriteJob(dir string, job Job) error {
	return write(filepath.Join(dir, jobFile), job)
}

// ReadJob gives the job, if there is one.
func ReadJob(dir string) (job Job, found bool, err error) {
	path := filepath.Join(dir, jobFile)
	found, err = read(path, &job)
	if found && job.Instance == "" {
		return Job{}, false, errors.New("cannot use " + path + ": it names no instance")
	}
	return job, found, err
}

// RemoveJob removes it. It is no error if there is none.
func RemoveJob(dir string) error {
	return atomicfile.Remove(filepath.Join(dir, jobFile))
}
