package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/nm-cloud-seed/nm-cloud-seed/internal/doctor"
)

// The doctor examines every image before it is booted: what it says there has to
// agree with what becomes of it.

const (
	doctorJSON = "doctor.json"
	doctorText = "doctor.txt" // for a person who looks into it
)

// examine leaves the doctor's report on the image.
func (w *world) examine() error {
	r, err := doctor.Image(w.image.root)
	if err != nil {
		return err
	}
	data, err := json.Marshal(r)
	if err != nil {
		return err
	}
	var text bytes.Buffer
	if err := r.Print(&text, 0, func(_ doctor.State, text string) string { return text }); err != nil {
		return err
	}
	return errors.Join(w.artifacts.WriteFile(doctorJSON, data, 0o644), w.artifacts.WriteFile(doctorText, text.Bytes(), 0o644))
}

// examined compares a report with what is expected of it: the problems and
// warnings, as "problem ordering.deadlock".
func examined(dir string, want []string) error {
	data, err := os.ReadFile(filepath.Join(dir, doctorJSON))
	if err != nil {
		return err
	}
	return agrees(string(data), want)
}

// agrees compares the JSON of a report with what is expected of it.
func agrees(report string, want []string) error {
	checks, err := doctorChecks(report)
	if err != nil {
		return err
	}
	var got []string
	for _, c := range checks {
		if c.State == doctor.Warning || c.State == doctor.Problem {
			got = append(got, string(c.State)+" "+c.Name)
		}
	}
	if len(checks) == 0 || !slices.Equal(got, want) {
		return fmt.Errorf("doctor: it finds %q, want %q", strings.Join(got, ", "), strings.Join(want, ", "))
	}
	return nil
}

func doctorChecks(report string) ([]doctor.Check, error) {
	var r doctor.Report
	err := json.Unmarshal([]byte(report), &r)
	return r.Checks, err
}

// healthyHere: in the booted system, too, the doctor finds nothing wrong, neither
// as root nor as somebody who may not read everything.
var healthyHere = check{"doctor", func(r *report) error {
	var errs []error
	names := []string{doctorJSON, "doctor-nobody.json"}
	if r.outcome.Virtual {
		names = names[:1]
	}
	for _, name := range names {
		if err := agrees(r.text(name), nil); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}}
