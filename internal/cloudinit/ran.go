package cloudinit

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"

	"github.com/nm-cloud-seed/nm-cloud-seed/internal/rootfs"
)

// outcome is what status.json has of a stage, besides its times. Warnings
// ("recoverable_errors") it has since 23.4.
type outcome struct {
	stage
	Errors   []any            `json:"errors"`
	Warnings map[string][]any `json:"recoverable_errors"`
}

// warnings are those with which a module that says it succeeded has failed.
var warnings = []struct{ module, text, reason string }{
	{"set_passwords", "No default or defined user to change password for.", "cloud-init knows no default user"},
	{"ssh", "Applying SSH credentials failed!", "cloud-init's ssh could not write the keys" + seeLog},
}

const (
	logFile = "/var/log/cloud-init.log"
	seeLog  = " (see " + logFile + ")"
)

// Begun says whether a stage has begun in this boot: then it is too late to hand
// anything over.
func (f Files) Begun(stage string) bool {
	got, _ := f.outcome(stage)
	return got.Start != nil
}

// Ran says whether a stage has ended in this boot, and why a module that it runs
// has failed, if so. That is no proof that the module has run: for that see HasRun.
// Versions without warnings do not tell that there is no default user: look at
// DefaultUser before. The error repeats nothing of cloud-init's, which may hold
// secrets.
func (f Files) Ran(stage, module string) (ended bool, err error) {
	got, running := f.outcome(stage)
	if got.Finished == nil || running {
		return false, nil
	}
	return true, got.failure(stage, module)
}

// outcome is nothing where there is no telling. A stage that is run again has the
// times of the first time, too, but is running.
func (f Files) outcome(stage string) (o outcome, running bool) {
	fsys, done, err := rootfs.Open(f.Root)
	if err != nil {
		return outcome{}, false
	}
	defer done()
	data, err := rootfs.Read(fsys, statusFile, maxStatusFile)
	if err != nil {
		return outcome{}, false
	}
	return parseOutcome(data, stage)
}

func parseOutcome(data []byte, stage string) (o outcome, running bool) {
	var s struct {
		V1 map[string]json.RawMessage `json:"v1"`
	}
	var now *string
	err := json.Unmarshal(data, &s)
	for key, to := range map[string]any{stage: &o, "stage": &now} {
		if raw, ok := s.V1[key]; ok {
			err = errors.Join(err, json.Unmarshal(raw, to))
		}
	}
	if err != nil {
		return outcome{}, false
	}
	return o, now != nil && *now == stage
}

// moduleError is a module's entry among the errors, Python's repr of a tuple:
// "('set-passwords', ProcessExecutionError(...))" (status_wrapper in
// cloudinit/cmd/main.py, 22.4.2 to 26.2). Others are of the stage itself, which
// then has not come as far as its modules.
var moduleError = regexp.MustCompile(`^\(['"]([^'"]{1,100})['"], `)

func (o outcome) failure(stage, module string) error {
	for _, e := range o.Errors {
		text, _ := e.(string)
		name := moduleError.FindStringSubmatch(text)
		switch {
		case name == nil:
			return fmt.Errorf("cloud-init's %s stage failed (see %s)", stage, logFile)
		case canonical(name[1]) == canonical(module):
			return fmt.Errorf("cloud-init's %s failed in its %s stage (see %s)", module, stage, logFile)
		}
	}
	for _, w := range warnings {
		if canonical(module) == w.module && o.warned(w.text) {
			return errors.New(w.reason)
		}
	}
	return nil
}
