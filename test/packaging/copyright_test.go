package packaging

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Each module that is linked in is named in the copyright file, with its notices
// and the text of its license, and no other one.
func TestCopyrightNamesEachLinkedModule(t *testing.T) {
	data, err := os.ReadFile(top + "/packaging/copyright")
	if err != nil {
		t.Fatal(err)
	}
	named := map[string]string{} // module -> its paragraph
	for paragraph := range strings.SplitSeq(string(data), "\n\n") {
		if files, rest, ok := strings.Cut(strings.TrimPrefix(paragraph, "Files:"), "Copyright:"); ok && files != paragraph {
			for _, pattern := range strings.Fields(files) {
				named[strings.TrimSuffix(pattern, "/*")] = words(rest)
			}
		}
	}
	all := words(strings.ReplaceAll(string(data), "\n .\n", "\n"))
	for path, dir := range linked(t) {
		paragraph, ok := named[path]
		if !ok {
			t.Errorf("%s: got no paragraph, want one, as it is linked in", path)
			continue
		}
		delete(named, path)
		licenses, _ := filepath.Glob(dir + "/LICENSE*")
		if len(licenses) != 1 {
			t.Errorf("%s: got the licenses %q, want one", path, licenses)
			continue
		}
		text, err := os.ReadFile(licenses[0])
		if err != nil {
			t.Fatal(err)
		}
		if notice, err := os.ReadFile(dir + "/NOTICE"); err == nil && !strings.Contains(all, words(string(notice))) {
			t.Errorf("%s: got no NOTICE in packaging/copyright, want its text", path)
		}
		if strings.Contains(string(text), "Apache License") {
			if !strings.Contains(paragraph, "License: Apache-2.0") {
				t.Errorf("%s: got %q, want License: Apache-2.0 in it", path, paragraph)
			}
			continue
		}
		checkLicense(t, path, string(text), paragraph, all)
	}
	delete(named, "*") // ours
	for path := range named {
		t.Errorf("%s: got a paragraph, want none, as it is not linked in", path)
	}
}

// checkLicense looks for each notice of a license in the paragraph on it, and
// for the rest anywhere.
func checkLicense(t *testing.T, path, license, paragraph, all string) {
	t.Helper()
	var text []string
	for line := range strings.Lines(license + "\n---\n") {
		notice, isNotice := strings.CutPrefix(line, "Copyright ")
		switch {
		case isNotice:
			notice = words(strings.ReplaceAll(strings.TrimPrefix(notice, "(c) "), "All rights reserved.", ""))
			if !strings.Contains(paragraph, strings.TrimRight(notice, ".")) {
				t.Errorf("%s: got %q, want %q in it", path, paragraph, notice)
			}
		case strings.HasPrefix(line, "---"): // gonetworkmanager has two
			if !strings.Contains(all, words(strings.Join(text, " "))) {
				t.Errorf("%s: got no license text in packaging/copyright, want\n%s", path, strings.Join(text, ""))
			}
			text = nil
		case strings.HasPrefix(line, "All rights reserved."), strings.HasPrefix(line, "The MIT License"), strings.HasPrefix(line, "MIT License"):
		default:
			text = append(text, line)
		}
	}
}

// words is a text without its line breaks.
func words(s string) string { return strings.Join(strings.Fields(s), " ") }

// linked is each module in the program, with its directory; std is Go's.
func linked(t *testing.T) map[string]string {
	t.Helper()
	modules := map[string]string{}
	for _, arch := range []string{"amd64", "arm64"} {
		t.Setenv("GOARCH", arch)
		t.Setenv("CGO_ENABLED", "0")
		out, err := run(t, "golang-go", "go", "list", "-deps", "-json=Module", top+"/cmd/nm-cloud-seed")
		if err != nil {
			t.Fatal(out, err)
		}
		for d := json.NewDecoder(strings.NewReader(out)); d.More(); {
			var p struct{ Module *struct{ Path, Dir string } }
			if err := d.Decode(&p); err != nil {
				t.Fatal(err)
			}
			if p.Module != nil {
				modules[p.Module.Path] = p.Module.Dir
			}
		}
	}
	delete(modules, "github.com/nm-cloud-seed/nm-cloud-seed")
	root, err := run(t, "golang-go", "go", "env", "GOROOT")
	if err != nil {
		t.Fatal(root, err)
	}
	modules["std"] = strings.TrimSpace(root)
	return modules
}
