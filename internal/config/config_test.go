package config

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// world is a file system from paths and contents; "-> x" is a link to x.
func world(files map[string]string) fstest.MapFS {
	fsys := fstest.MapFS{}
	for name, data := range files {
		f := &fstest.MapFile{Data: []byte(data), Mode: 0o644}
		if target, ok := strings.CutPrefix(data, "-> "); ok {
			f = &fstest.MapFile{Data: []byte(target), Mode: fs.ModeSymlink | 0o777}
		}
		fsys[name] = f
	}
	return fsys
}

// lines gives an error's lines without their common beginning.
func lines(t *testing.T, err error) []string {
	t.Helper()
	if err == nil {
		return nil
	}
	var got []string
	for line := range strings.SplitSeq(err.Error(), "\n") {
		text, ok := strings.CutPrefix(line, "cannot read configuration: ")
		if !ok {
			t.Errorf("got the error line %q, want: cannot read configuration: ...", line)
		}
		got = append(got, text)
	}
	return got
}

const (
	usr  = "usr/lib/nm-cloud-seed/conf.d/"
	etc  = "etc/nm-cloud-seed.conf"
	etcD = "etc/nm-cloud-seed.conf.d/"
)

func TestLoad(t *testing.T) {
	config := func(platform Platform, seconds int, level LogLevel) Config {
		return Config{Platform: platform, Deadline: time.Duration(seconds) * time.Second, LogLevel: level, Ordering: OrderingLate, Password: true, SSHKeys: true, Heal: true, CheckID: true}
	}
	defaults := config("auto", 120, "info")
	for _, tt := range []struct {
		name  string
		files map[string]string
		want  Config
		errs  []string
	}{
		{"nothing", nil, defaults, nil},
		{"one file", map[string]string{etc: "[main]\nplatform=cloudstack\ndeadline=60\nlog-level=debug\n"}, config("cloudstack", 60, "debug"), nil},
		{"later files override single keys", map[string]string{
			usr + "a.conf": "[main]\nplatform=none\ndeadline=10\nlog-level=error\n", usr + "b.conf": "[main]\ndeadline=11\n",
			etc: "[main]\nlog-level=warning\n", etcD + "x.conf": "[main]\nplatform=cloudstack\n",
		}, config("cloudstack", 11, "warning"), nil},
		{"lexical order", map[string]string{
			etcD + "9.conf": "[main]\ndeadline=19\n", etcD + "10.conf": "[main]\ndeadline=20\n",
		}, config("auto", 19, "info"), nil},
		{"the administrator's file masks the vendor's", map[string]string{
			usr + "a.conf": "[main]\nplatform=none\ndeadline=10\n", etcD + "a.conf": "[main]\ndeadline=30\n",
		}, config("auto", 30, "info"), nil},
		{"an empty file masks", map[string]string{usr + "a.conf": "[main]\nplatform=none\n", etcD + "a.conf": ""}, defaults, nil},
		{"a link to /dev/null masks", map[string]string{usr + "a.conf": "[main]\nplatform=none\n", etcD + "a.conf": "-> /dev/null"}, defaults, nil},
		{"a masked file may be broken", map[string]string{usr + "a.conf": "\x00", etcD + "a.conf": ""}, defaults, nil},
		{"other files do not count", map[string]string{
			etcD + "a.conf.rpmsave": "x", etcD + "README": "x", etcD + ".#a.conf": "x", etcD + "a.conf~": "x",
		}, defaults, nil},
		{"dangling link", map[string]string{etcD + "a.conf": "-> nowhere"}, defaults, nil},
		{"directory instead of a file", map[string]string{etc + "/x": ""}, defaults, []string{"/etc/nm-cloud-seed.conf: not a regular file"}},
		{"file instead of a directory", map[string]string{"etc/nm-cloud-seed.conf.d": ""}, defaults, []string{"/etc/nm-cloud-seed.conf.d: not a directory"}},
		{"too big", map[string]string{etc: "[main]\nplatform=none\n" + strings.Repeat("#", 64<<10)}, defaults,
			[]string{"/etc/nm-cloud-seed.conf: too big, more than 65536 bytes"}},
		{"just not too big", map[string]string{etc: "[main]\nplatform=none\n" + strings.Repeat("#", 64<<10-21)}, config("none", 120, "info"), nil},
		{"typing error: the rest counts", map[string]string{etc: "[main]\n\ndeadlin=60\nplatform=none\n"}, config("none", 120, "info"),
			[]string{`/etc/nm-cloud-seed.conf:3: unknown key "deadlin" in [main] (known: check-instance-id, deadline, heal, log-level, ordering, password, platform, ssh-keys)`}},
		{"syntax error: the file does not count, others do", map[string]string{etc: "[main]\nplatform=none\ndeadline\n", etcD + "a.conf": "[main]\ndeadline=60\n"},
			config("auto", 60, "info"), []string{`/etc/nm-cloud-seed.conf:3: no "=" (want [section], key=value or # comment)`}},
		{"wrong although overridden", map[string]string{etc: "[main]\ndeadline=1\n", etcD + "a.conf": "[main]\ndeadline=60\n"}, config("auto", 60, "info"),
			[]string{`/etc/nm-cloud-seed.conf:2: bad value "1" of deadline in [main] (want whole seconds from 10 to 3600)`}},
		{"several", map[string]string{etc: "[main]\nx=1\nplatform=aws\n[network]\ny=1\nz=2\n", usr + "a.conf": "[main]\nlog-level=loud\n"}, defaults, []string{
			`/usr/lib/nm-cloud-seed/conf.d/a.conf:2: bad value "loud" of log-level in [main] (want error, warning, info or debug)`,
			`/etc/nm-cloud-seed.conf:2: unknown key "x" in [main] (known: check-instance-id, deadline, heal, log-level, ordering, password, platform, ssh-keys)`,
			`/etc/nm-cloud-seed.conf:3: bad value "aws" of platform in [main] (want auto, cloudstack or none)`,
			`/etc/nm-cloud-seed.conf:4: unknown section "network" (known: main)`,
		}},
		{"very many", map[string]string{etc: strings.Repeat("x\n", 500)}, defaults, append(func() (s []string) {
			for i := range 10 {
				s = append(s, fmt.Sprintf(`/etc/nm-cloud-seed.conf:%d: no "=" (want [section], key=value or # comment)`, i+1))
			}
			return s
		}(), "490 more problems")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := load(world(tt.files), "")
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("configuration (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.errs, lines(t, err)); diff != "" {
				t.Errorf("errors (-want +got):\n%s", diff)
			}
		})
	}
}

func TestLoadReadsALimitedNumberOfFiles(t *testing.T) {
	files := map[string]string{}
	for i := range 70 {
		files[fmt.Sprintf("%s%02d.conf", etcD, i)] = fmt.Sprintf("[main]\ndeadline=%d\n", 100+i)
	}
	got, err := load(world(files), "")
	if got.Deadline != 162*time.Second { // the main file is the first of 64
		t.Errorf("got deadline %v, want %v", got.Deadline, 162*time.Second)
	}
	if diff := cmp.Diff([]string{"71 files, at most 64 are read (merge some)"}, lines(t, err)); diff != "" {
		t.Errorf("errors (-want +got):\n%s", diff)
	}
}

// TestLoadBelowARoot reads a real directory, with paths that name it.
func TestLoadBelowARoot(t *testing.T) {
	root := t.TempDir()
	for name, data := range map[string]string{usr + "a.conf": "[main]\ndeadline=5\n", etc: "[main]\nplatform=none\n", etcD + "real": "[main]\nlog-level=debug\n"} {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(data), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for link, target := range map[string]string{"l.conf": "real", "n.conf": "/dev/null", "out.conf": "/etc/passwd"} { // not the host's
		if err := os.Symlink(target, filepath.Join(root, etcD, link)); err != nil {
			t.Fatal(err)
		}
	}
	got, err := Load(root)
	want := Config{Platform: PlatformNone, Deadline: 120 * time.Second, LogLevel: LogDebug, Ordering: OrderingLate, Password: true, SSHKeys: true, Heal: true, CheckID: true}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("configuration (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{
		root + `/usr/lib/nm-cloud-seed/conf.d/a.conf:2: bad value "5" of deadline in [main] (want whole seconds from 10 to 3600)`,
	}, lines(t, err)); diff != "" {
		t.Errorf("errors (-want +got):\n%s", diff)
	}

	got, err = Load(filepath.Join(root, "missing"))
	if got != Default() || len(lines(t, err)) != 1 {
		t.Errorf("missing root: got %v, %v, want the defaults and one error", got, err)
	}
}

func TestOptionsAreDocumented(t *testing.T) {
	for _, o := range Options() {
		var c Config
		if err := o.apply(&c, o.Default); err != nil {
			t.Errorf("default of %s: got %v, want no error", o.Key, err)
		}
		if o.Doc == "" || o.Values == "" || strings.Contains(o.Doc, "\n") {
			t.Errorf("%s: got no documentation in one line, want it", o.Key)
		}
		if err := o.apply(&c, ""); err == nil {
			t.Errorf("%s: got an empty value taken, want it refused", o.Key)
		}
	}
}

// TestReferenceFile: the commented file is what its comments promise.
func TestReferenceFile(t *testing.T) {
	data, err := os.ReadFile("../../packaging/nm-cloud-seed.conf")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := load(world(map[string]string{etc: string(data)}), ""); err != nil || got != Default() {
		t.Errorf("as shipped: got %v, %v, want %v", got, err, Default())
	}

	// A commented key is "#key=", without a blank after the "#".
	var plain []string
	keys := map[string]string{}
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, "#"); ok && rest != "" && rest[0] != ' ' && rest[0] != '\n' {
			line = rest
			key, value, _ := strings.Cut(strings.TrimSpace(rest), "=")
			keys[key] = value
		}
		plain = append(plain, line)
	}
	want := map[string]string{}
	for _, o := range Options() {
		want[o.Key] = o.Default
		text := strings.Join(strings.Fields(strings.ReplaceAll(string(data), "\n#", "")), " ")
		for _, part := range []string{o.Key + ": " + o.Doc, "Values: " + o.Values} {
			if !strings.Contains(text, part) {
				t.Errorf("got no %q in the reference file, want it", part)
			}
		}
	}
	if diff := cmp.Diff(want, keys); diff != "" {
		t.Errorf("keys and defaults (-want +got):\n%s", diff)
	}
	if got, err := load(world(map[string]string{etc: strings.Join(plain, "")}), ""); err != nil || got != Default() {
		t.Errorf("with all keys: got %v, %v, want %v", got, err, Default())
	}
}

// A FIFO in a directory's place would keep us waiting for a program that writes to it.
func TestLoadDoesNotOpenAFIFO(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "etc"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(root, strings.TrimSuffix(etcD, "/")), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(root); err == nil || !strings.Contains(err.Error(), "not a directory") {
		t.Errorf("got %v, want: ... not a directory", err)
	}
}
