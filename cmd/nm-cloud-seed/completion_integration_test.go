//go:build integration

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// shell is a real one, which says what it offers for a line.
type shell struct {
	script string         // the name of the file with the script of `completion`: zsh goes by it
	args   []string       // followed by that file and the line
	offer  *regexp.Regexp // finds an offer in the output, in a group
	packs  string
}

var shells = map[string]shell{
	"bash": {"nm-cloud-seed", []string{"--norc", "-c", `
		source /usr/share/bash-completion/bash_completion
		source "$0"
		compopt() { :; } # works in a completion only
		COMP_LINE=$1 COMP_POINT=${#1} COMP_TYPE=9
		read -ra COMP_WORDS <<<"$1"
		[[ $1 != *" " ]] || COMP_WORDS+=("")
		COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
		$(complete -p nm-cloud-seed | sed 's/.*-F \([^ ]*\).*/\1/')
		printf '[%s]\n' "${COMPREPLY[@]}"`},
		regexp.MustCompile(`(?m)^\[([^ \]]+)`), "bash and bash-completion"},
	// In zsh only a line editor completes: an inner zsh has one, and says what each
	// call of compadd lets through.
	"zsh": {"_nm-cloud-seed", []string{"-f", "-c", `
		zmodload zsh/zpty
		zpty inner zsh -f -i
		zpty -w inner "PS1= PROMPT_EOL_MARK= fpath=(${(q)0:h} \$fpath); autoload -Uz compinit; compinit -u -D"
		zpty -w inner 'compadd() {
			if [[ ${@[1,(i)(-|--)]} != *-(O|A|D)\ * ]]; then
				local each; local -a all
				builtin compadd -O all "$@"
				for each in $all; do print -r -- "[$each]"; done
			fi
			builtin compadd "$@"
		}'
		zpty -w inner 'quit() { print "<"end">"; exit }; zle -N quit; bindkey "^X" quit; print "<"begin">"'
		zpty -r inner said '*<begin>*' && zpty -n -w inner "$1"$'\t\030'
		zpty -r inner said '*<end>*'
		print -r -- "$said"`},
		regexp.MustCompile(`\[([^\[\]\r]+)\]\r`), "zsh"},
	"fish": {"nm-cloud-seed.fish", []string{"--no-config", "-c", `source $argv[1]; complete -C $argv[2]`},
		regexp.MustCompile(`(?m)^([^\t\n]+)`), "fish"},
}

// offers returns what a shell offers at the end of a line.
func offers(t *testing.T, name, line, dir string) []string {
	t.Helper()
	sh := shells[name]
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("this test needs %s: install the Debian package %s", name, sh.packs)
	}
	scripts, home := t.TempDir(), t.TempDir()
	text, err := exec.CommandContext(t.Context(), "nm-cloud-seed", "completion", name).Output()
	if err == nil {
		err = os.WriteFile(filepath.Join(scripts, sh.script), text, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), path, append(sh.args, filepath.Join(scripts, sh.script), line)...)
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.Env = append(os.Environ(), "HOME="+home, "XDG_CONFIG_HOME="+home, "XDG_DATA_HOME="+home, "TERM=xterm", "LC_ALL=C.UTF-8")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v:\n%s", name, err, out)
	}
	var all []string
	for _, match := range sh.offer.FindAllStringSubmatch(string(out), -1) {
		all = append(all, match[1])
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// The real shells offer the commands, those that are no secret, and what goes
// with each.
func TestShellsCompleteCommands(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"sub", "other"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	commands := []string{"help"}
	for _, cmd := range rootCommand().Commands() {
		if !cmd.Hidden {
			commands = append(commands, cmd.Name())
		}
	}
	slices.Sort(commands)
	directories := []string{"other", "sub"}
	filesToo := []string{"file", "other", "sub"} // in fish, cobra's script tells no directories from files
	for _, tt := range []struct {
		line string
		want []string
	}{
		{"nm-cloud-seed ", commands},
		{"nm-cloud-seed fe", []string{"fetch"}},
		{"nm-cloud-seed status --w", []string{"--watch"}},
		{"nm-cloud-seed status ", nil},
		{"nm-cloud-seed fetch ", directories},
		{"nm-cloud-seed fetch sub ", nil},
		{"nm-cloud-seed doctor --root ", directories},
		{"nm-cloud-seed plot ", filesToo},
		{"nm-cloud-seed plot a ", nil},
		{"nm-cloud-seed keep ", devicesIn("/sys/class/net")},
		{"nm-cloud-seed ssh-keys ", nil},
	} {
		for name := range shells {
			t.Run(name+"/"+tt.line, func(t *testing.T) {
				t.Parallel()
				got := offers(t, name, tt.line, dir)
				for i := range got {
					got[i] = strings.TrimSuffix(got[i], "/")
				}
				want := tt.want
				switch {
				case name == "fish" && slices.Equal(want, directories):
					want = filesToo
				case name == "bash" && slices.Equal(want, filesToo):
					want = nil // the function leaves files to bash (complete -o default)
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("%s (-want +got):\n%s", tt.line, diff)
				}
			})
		}
	}
}
