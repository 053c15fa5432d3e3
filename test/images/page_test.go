package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParsePage(t *testing.T) {
	const text = "# A page\n\n" +
		"```sh every\ncp a b\n```\n" +
		"```sh\nnot run\n```\n" +
		"```\nnor this\n```\n" +
		"```sh needs\napt-get install --no-install-recommends mkosi jq\n```\n" +
		"```ini mkosi/mkosi.conf\n[Content]\n\nPackages=x\n```\n" +
		"```sh mkosi\nmkosi build\n```\n" +
		"```sh needs\napt-get install jq qemu-utils\n```\n" +
		"```yaml every/90.cfg\na: b\n```\n" +
		"```sh mkosi\nls\n```\n"
	p, err := parse(text)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.complete([]way{{name: "mkosi"}}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"mkosi", "jq", "qemu-utils"}, p.needs); diff != "" {
		t.Errorf("needs (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff("cp a b\nmkosi build\nls\n", p.commands["mkosi"]); diff != "" {
		t.Errorf("commands (-want +got):\n%s", diff)
	}
	files := map[string]string{"mkosi/mkosi.conf": "[Content]\n\nPackages=x\n", "90.cfg": "a: b\n"}
	if diff := cmp.Diff(files, p.files["mkosi"]); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
}

func TestParsePageRefusesMistakes(t *testing.T) {
	for name, tt := range map[string]struct{ text, want string }{
		"no end":           {"```sh mkosi\nls\n", "has no end"},
		"three words":      {"```sh mkosi now\n```\n", "more than a language and a name"},
		"outside":          {"```ini mkosi/../../etc/passwd\n```\n", "not below"},
		"outside for all":  {"```ini every/../x\n```\n", "not below"},
		"not apt-get":      {"```sh needs\nyum install x\n```\n", "not installed by apt-get"},
		"unknown commands": {"```sh mkosi\nls\n```\n```sh mksoi\nls\n```\n", `commands for "mksoi"`},
		"unknown files":    {"```sh mkosi\nls\n```\n```ini mksoi/a\n```\n", `files for "mksoi"`},
		"no command":       {"```sh every\nls\n```\n", "no command for mkosi"},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := parse(tt.text)
			if err == nil {
				err = p.complete([]way{{name: "mkosi"}})
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want an error with %q", err, tt.want)
			}
		})
	}
}

func TestChooseWays(t *testing.T) {
	all := []way{{name: "quick"}, {name: "slow", slow: "an hour"}}
	for name, tt := range map[string]struct {
		names        []string
		chosen, left string
		wrong        bool
	}{
		"default":    {nil, "quick", "slow", false},
		"all":        {[]string{"all"}, "quick slow", "", false},
		"one":        {[]string{"slow"}, "slow", "", false},
		"unknown":    {[]string{"quick", "quikc"}, "", "", true},
		"twice":      {[]string{"quick", "quick"}, "", "", true},
		"all others": {[]string{"all", "quikc"}, "", "", true},
	} {
		t.Run(name, func(t *testing.T) {
			chosen, left, err := choose(all, tt.names)
			if (err != nil) != tt.wrong || names(chosen) != tt.chosen || names(left) != tt.left {
				t.Errorf("got chosen %q, left %q, error %v; want %q, %q, %v", names(chosen), names(left), err, tt.chosen, tt.left, tt.wrong)
			}
		})
	}
}

func names(ways []way) string {
	var all []string
	for _, w := range ways {
		all = append(all, w.name)
	}
	return strings.Join(all, " ")
}
