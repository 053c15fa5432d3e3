package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// Where it has nothing to do, the package must not be there for systemd at all.

// nothingGenerated: systemd has not heard of us.
func nothingGenerated(r *report) error {
	for _, dir := range []string{"generator", "generator.early", "generator.late"} {
		err := fs.WalkDir(r.files, dir, func(name string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return nil // one that is not there is empty
			}
			if strings.Contains(name+r.text(name), "nm-cloud-seed") {
				return fmt.Errorf("%s names us", name)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	for name := range r.units {
		if strings.HasPrefix(name, "nm-cloud-seed") {
			return fmt.Errorf("%s is loaded", name)
		}
	}
	return nil
}

// asWithout: once the package is purged and systemd has read everything anew,
// the units are what they were: the boot had the order that it has without us.
func asWithout(r *report) error {
	without := parseUnits(r.text("units-purged"))
	if len(without) == 0 {
		return errors.New("there is nothing to compare with")
	}
	// systemd forgets units that nobody needs any more, and some come and go.
	both := func(name string) bool { return r.units[name] != nil && without[name] != nil }
	before, after := facts(r.units, both), facts(without, both)
	for _, f := range slices.SortedFunc(maps.Keys(before), compareFacts) {
		if !after[f] {
			return fmt.Errorf("%s has %s=%s only with the package", f.unit, f.property, f.value)
		}
	}
	for _, f := range slices.SortedFunc(maps.Keys(after), compareFacts) {
		if !before[f] {
			return fmt.Errorf("%s has %s=%s only without the package", f.unit, f.property, f.value)
		}
	}
	return nil
}

// fact is one of the things that a unit's place in the boot depends on.
type fact struct{ unit, property, value string }

func compareFacts(a, b fact) int {
	return cmp.Or(strings.Compare(a.unit, b.unit), strings.Compare(a.property, b.property), strings.Compare(a.value, b.value))
}

// ordering are the properties that count. Those that say the same as another
// unit's count as that: units are not all shown at one and the same moment.
var ordering = map[string]string{
	"DefaultDependencies": "", "FragmentPath": "", "DropInPaths": "", "Conflicts": "",
	"Requires": "", "Requisite": "", "Wants": "", "BindsTo": "", "PartOf": "", "Upholds": "", "Before": "", "Triggers": "",
	"After": "Before", "WantedBy": "Wants", "RequiredBy": "Requires", "TriggeredBy": "Triggers",
}

var unitName = regexp.MustCompile(`^[^/]+\.(service|socket|target|mount|automount|swap|timer|path|slice|scope|device)$`)

// facts are those of the units that matter.
func facts(units map[string]unit, matters func(name string) bool) map[fact]bool {
	all := make(map[fact]bool)
	for name, u := range units {
		if !matters(name) {
			continue
		}
		for property, inverse := range ordering {
			for value := range strings.FieldsSeq(u[property]) {
				switch {
				case unitName.MatchString(value) && !matters(value):
				case inverse != "":
					all[fact{value, inverse, name}] = true
				default:
					all[fact{name, property, value}] = true
				}
			}
		}
	}
	return all
}
