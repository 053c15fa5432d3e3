package main

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// drawn: the picture of the boot is well-formed, for every user the same, and has what
// comes one after the other in this order, our steps among it.
func drawn(r *report) error {
	rows, err := rowsOf(r.text("plot.svg"))
	if err != nil {
		return fmt.Errorf("cannot read the picture: %w (%s)", err, brief(r.text("plot.svg.stderr")))
	}
	if !r.outcome.Virtual && r.text("plot-nobody.svg") != r.text("plot.svg") {
		return fmt.Errorf("an ordinary user gets another picture (%s)", brief(r.text("plot-nobody.svg.stderr")))
	}
	for _, name := range []string{"cloud-init-local.service", "dbus.socket", "NetworkManager.service"} {
		again := name + " (again)" // netplan restarts NetworkManager
		if !slices.Contains(rows, name) && !slices.Contains(rows, again) {
			return fmt.Errorf("the picture has no %s: %q", name, rows)
		}
	}
	s, err := r.state()
	if err != nil {
		return err
	}
	network := networkStage[0]
	if !slices.Contains(rows, network) {
		network = networkStage[1]
	}
	want := []string{ours, network, "cloud-config.service", "cloud-final.service", "start of the process"}
	for _, step := range s.Steps {
		if step.Name != "waiting for the virtual router" { // which is a bar of its own
			want = append(want, step.Name)
		}
	}
	rest := rows
	for _, name := range want {
		i := slices.Index(rest, name)
		if i < 0 {
			return fmt.Errorf("the picture has no %s in its place: %q", name, rows)
		}
		rest = rest[i+1:]
	}
	return nil
}

// rowsOf are the names of the rows of a picture.
func rowsOf(svg string) (names []string, err error) {
	d := xml.NewDecoder(strings.NewReader(svg))
	isName := false
	for {
		token, err := d.Token()
		switch {
		case errors.Is(err, io.EOF) && len(names) == 0:
			return nil, errors.New("there are no rows")
		case errors.Is(err, io.EOF):
			return names, nil
		case err != nil:
			return nil, err
		}
		switch token := token.(type) {
		case xml.StartElement:
			isName = slices.ContainsFunc(token.Attr, func(a xml.Attr) bool { return a.Name.Local == "class" && a.Value == "name" })
		case xml.EndElement:
			isName = false
		case xml.CharData:
			if isName {
				names = append(names, string(token))
			}
		}
	}
}
