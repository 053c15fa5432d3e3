package cloudinit

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Outcome is what cloud-init made of a seed in this boot. It names stages and
// modules only: cloud-init's errors repeat what modules were given, and that may be
// secret.
type Outcome struct {
	State    OutcomeState `json:"state"`
	Instance string       `json:"instance-id"`        // of the seed
	Failures []string     `json:"failures,omitempty"` // of stages, and of modules that apply our data
	// Earlier are failures of modules at an earlier boot of the instance, which have not
	// run again: Conclude of package daemon knows them.
	Earlier []string `json:"earlier-failures,omitempty"`
	// Identity is what is wrong with the datasource or the instance that cloud-init
	// uses; empty if they are the seed's.
	Identity   string   `json:"identity,omitempty"`
	Complaints []string `json:"complaints,omitempty"` // other modules that failed: "runcmd in the final stage"
	// Modules are those of the failures, by their canonical names.
	Modules []string `json:"-"`
}

// OutcomeState is a word for an Outcome.
type OutcomeState string

// The states of an outcome. OutcomeRunning is no verdict yet.
const (
	OutcomeRunning OutcomeState = "running" // cloud-init is at work
	OutcomeGood    OutcomeState = "good"
	OutcomeFailed  OutcomeState = "failed"
)

// Good reports whether the VM is what the seed says. Without an outcome it is false, as
// the next two are.
func (o *Outcome) Good() bool { return o != nil && o.State == OutcomeGood }

// Failed reports whether cloud-init failed with the seed.
func (o *Outcome) Failed() bool { return o != nil && o.State == OutcomeFailed }

// Running reports whether cloud-init is still at work.
func (o *Outcome) Running() bool { return o != nil && o.State == OutcomeRunning }

// Reason says what is wrong and where to look, empty if nothing is.
func (o *Outcome) Reason() string {
	if !o.Failed() {
		return ""
	}
	all := slices.Concat(o.Failures, o.Earlier)
	if o.Identity != "" {
		all = append(all, o.Identity)
	}
	return strings.Join(all, ", ") + seeLog
}

// ourModules are the modules that apply CloudStack's data, by their canonical names.
var ourModules = []string{"users_groups", "ssh", "set_passwords", "set_hostname", "update_hostname", "update_etc_hosts"}

// maxComplaints bounds a list whose length user-data decides.
const maxComplaints = 20

// Outcome judges what cloud-init has made of the seed of an instance. ended says that
// no stage will begin or go on, as systemd has it: a stage that has not ended by then
// failed. Without, it has ended when cloud-init says so itself. Errors are those of
// Boot.
func (f Files) Outcome(instance string, ended bool) (Outcome, error) {
	b, data, err := f.boot()
	if err != nil {
		return Outcome{State: OutcomeRunning, Instance: instance}, err
	}
	return judgeSeed(b, data, instance, ended, f.needed), nil
}

// needed reports whether a stage, by its key in status.json, applies any of our data. Where
// there is no telling, it does.
func (f Files) needed(stage string) bool {
	config, err := f.Config()
	return err != nil || stage == "init" || slices.ContainsFunc(ourModules, func(module string) bool {
		in, _ := config.Stage(module)
		return in == stage
	})
}

// judgeSeed does for what was read what Outcome does.
func judgeSeed(b Boot, data []byte, instance string, ended bool, needed func(stage string) bool) Outcome {
	o := Outcome{State: OutcomeRunning, Instance: instance}
	over := ended || b.Done
	begun := false // a later stage has
	networkEnded := false
	for _, stage := range slices.Backward(named) {
		got, running := parseOutcome(data, stage.key)
		failures, complaints, modules := got.verdict(stage.name)
		switch {
		case running && !over, got.Finished != nil:
		case got.Start != nil && (over || begun):
			failures = append(failures, fmt.Sprintf("cloud-init's %s stage did not come to its end", stage.name))
		case got.Start == nil && (over || begun) && stage.name != "local": // which healing leaves out
			if text := fmt.Sprintf("cloud-init's %s stage did not run", stage.name); needed(stage.key) {
				failures = append(failures, text)
			} else { // an image may mask it
				complaints = append(complaints, text)
			}
		}
		begun = begun || got.Start != nil
		if died := slices.Contains(failures, stageFailed(stage.name)); stage.name == "network" {
			networkEnded = got.Finished != nil && !running && !died // what follows from its death is no news
		}
		o.Failures = append(failures, o.Failures...)
		o.Complaints = append(complaints, o.Complaints...)
		o.Modules = unique(append(modules, o.Modules...))
	}
	// Later versions, one process for all stages, list a warning in each stage after it.
	o.Failures = unique(o.Failures)
	o.Complaints = o.Complaints[:min(len(o.Complaints), maxComplaints)]
	if networkEnded {
		o.Identity = identity(b, instance)
	}
	switch {
	case len(o.Failures) > 0 || o.Identity != "":
		o.State = OutcomeFailed
	case over:
		o.State = OutcomeGood
	}
	return o
}

// unique keeps the first of each text.
func unique(texts []string) (first []string) {
	for _, text := range texts {
		if !slices.Contains(first, text) {
			first = append(first, text)
		}
	}
	return first
}

// identity says what is wrong with what cloud-init takes the VM for, after its network
// stage.
func identity(b Boot, instance string) string {
	switch name := strings.TrimPrefix(b.Datasource, "DataSource"); {
	case name == "" || name == "None":
		return "cloud-init found no datasource"
	case !strings.HasPrefix(name, "CloudStack"):
		return "cloud-init has its data from " + b.Datasource
	case b.Instance == "":
		return "cloud-init has no instance"
	case b.Instance != clean(instance):
		return "cloud-init set the VM up as instance " + b.Instance
	}
	return ""
}

func stageFailed(stage string) string { return "cloud-init's " + stage + " stage failed" }

// verdict tells the failures that matter to our data from those that do not, which are
// the image's or the user's affair.
func (o outcome) verdict(stage string) (failures, complaints, modules []string) {
	add := func(list *[]string, text string) {
		if !slices.Contains(*list, text) {
			*list = append(*list, text)
		}
	}
	for _, e := range o.Errors {
		text, _ := e.(string)
		name := moduleError.FindStringSubmatch(text)
		switch {
		case name == nil:
			add(&failures, stageFailed(stage))
		case slices.Contains(ourModules, canonical(name[1])):
			add(&modules, canonical(name[1]))
			add(&failures, fmt.Sprintf("cloud-init's %s failed in its %s stage", canonical(name[1]), stage))
		default:
			add(&complaints, clean(name[1])+" in the "+stage+" stage")
		}
	}
	for _, w := range warnings {
		if o.warned(w.text) {
			add(&failures, strings.TrimSuffix(w.reason, seeLog))
			add(&modules, w.module)
		}
	}
	return failures, complaints, modules
}

// warned reports whether the stage has logged a warning or an error with this text.
func (o outcome) warned(text string) bool {
	for _, level := range o.Warnings {
		for _, e := range level {
			if entry, _ := e.(string); strings.Contains(entry, text) {
				return true
			}
		}
	}
	return false
}

// ReadOutcome takes what was recorded of an outcome.
func ReadOutcome(data []byte) (o Outcome, ok bool) {
	err := json.Unmarshal(data, &o)
	return o, err == nil && (o.State == OutcomeGood || o.State == OutcomeFailed)
}
