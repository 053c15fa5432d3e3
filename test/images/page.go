package main

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
)

// page is what a Markdown page has for its test. A block counts if its fence
// has a second word:
//
//	```sh mkosi              commands of the way mkosi
//	```ini mkosi/mkosi.conf  a file of that way, by its name from where the commands run
//	```sh every              commands of all ways, before their own; every/NAME is a file of all
//	```sh needs              apt-get install [OPTION...] PACKAGE..., on the machine that builds
type page struct {
	commands map[string]string
	files    map[string]map[string]string
	needs    []string // Debian packages
}

const every = "every"

func parse(text string) (page, error) {
	p := page{map[string]string{}, map[string]map[string]string{}, nil}
	var info []string
	var block strings.Builder
	inside := false
	for line := range strings.Lines(text) {
		fence, found := strings.CutPrefix(line, "```")
		switch {
		case found && inside:
			if err := p.add(info, block.String()); err != nil {
				return page{}, err
			}
			inside = false
		case found:
			inside, info = true, strings.Fields(fence)
			block.Reset()
		case inside:
			block.WriteString(line)
		}
	}
	if inside {
		return page{}, fmt.Errorf("the block %q has no end", info)
	}
	return p, nil
}

func (p *page) add(info []string, text string) error {
	if len(info) < 2 {
		return nil
	}
	if len(info) > 2 {
		return fmt.Errorf("the block %q has more than a language and a name", info)
	}
	name := info[1]
	if way, file, found := strings.Cut(name, "/"); found {
		if way != every {
			file = name
		}
		if path.IsAbs(file) || path.Clean(file) != file || strings.HasPrefix(file, "..") {
			return fmt.Errorf("the file %q is not below where the commands run", name)
		}
		if p.files[way] == nil {
			p.files[way] = map[string]string{}
		}
		p.files[way][file] = text
		return nil
	}
	if name != "needs" {
		p.commands[name] += text
		return nil
	}
	words := strings.Fields(text)
	if len(words) < 3 || words[0] != "apt-get" || words[1] != "install" {
		return fmt.Errorf("what is needed is not installed by apt-get: %q", text)
	}
	for _, w := range words[2:] {
		if !strings.HasPrefix(w, "-") && !slices.Contains(p.needs, w) {
			p.needs = append(p.needs, w)
		}
	}
	return nil
}

// complete gives all ways what is for all, and says what the page has for none
// or lacks for one.
func (p *page) complete(all []way) error {
	var wrong []error
	known := []string{every}
	for _, w := range all {
		known = append(known, w.name)
		if p.commands[w.name] == "" {
			wrong = append(wrong, fmt.Errorf("there is no command for %s", w.name))
		}
		p.commands[w.name] = p.commands[every] + p.commands[w.name]
		if p.files[w.name] == nil {
			p.files[w.name] = map[string]string{}
		}
		for name, text := range p.files[every] {
			p.files[w.name][name] = text
		}
	}
	for name := range p.commands {
		if !slices.Contains(known, name) {
			wrong = append(wrong, fmt.Errorf("there are commands for %q, which is no way to an image", name))
		}
	}
	for name := range p.files {
		if !slices.Contains(known, name) {
			wrong = append(wrong, fmt.Errorf("there are files for %q, which is no way to an image", name))
		}
	}
	return errors.Join(wrong...)
}
