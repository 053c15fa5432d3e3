package lastboot

import (
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/nm-cloud-seed/nm-cloud-seed/datasource"
)

// secret is in every copy, and never in an error.
const secret = "MARKER-OF-A-SECRET"

var byValue = cmpopts.EquateComparable(netip.Addr{})

// example is a copy with all that may be in one.
func example() Copy {
	return Copy{
		Machine: Machine{UUID: idA},
		Fetched: time.Date(2026, 2, 3, 4, 5, 6, 7, time.UTC),
		Instance: &datasource.Instance{
			ID:       "i-2-34-VM",
			Metadata: map[string]string{"local-hostname": "web-1", "empty": "", "awkward": "ü\u2028\x00<&>\n" + secret},
			UserData: []byte("\x1f\x8b\x00\xff\xfe\r\n" + secret),
			Origin: datasource.Origin{
				Server: netip.MustParseAddr("10.1.0.1"), Role: "router", Device: "eth0", Index: 2,
				Router: netip.MustParseAddr("10.1.0.254"), Domain: "cs1.example",
			},
			Warnings: []string{"a key is left out"},
		},
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func save(t testing.TB, dir string, c Copy) {
	t.Helper()
	must(t, Save(dir, c))
}

func mode(t *testing.T, path string, want fs.FileMode) {
	t.Helper()
	if info, err := os.Lstat(path); err != nil || info.Mode() != want {
		t.Errorf("%s: got %v, %v; want %v", path, info.Mode(), err, want)
	}
}

func TestLoadReturnsWhatWasSaved(t *testing.T) {
	bare := Copy{Machine: Machine{MAC: macA}, Instance: &datasource.Instance{ID: "i"}}
	big := example()
	big.Instance.UserData = make([]byte, 768<<10) // the most that CloudStack takes
	for name, c := range map[string]Copy{"all there is": example(), "hardly anything": bare, "big user-data": big} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "nm-cloud-seed")
			old := syscall.Umask(0)
			err := Save(dir, c)
			syscall.Umask(old)
			must(t, err)
			mode(t, dir, fs.ModeDir|0o700)
			mode(t, filepath.Join(dir, File), 0o600)
			got, err := Load(dir)
			if diff := cmp.Diff(&c, got, byValue); err != nil || diff != "" {
				t.Errorf("got %v (-want +got):\n%s", err, diff)
			}
		})
	}
}

// JSON has no other text. The datasource replaces such bytes already.
func TestSaveKeepsWhatIsNotUTF8(t *testing.T) {
	dir, c := t.TempDir(), example()
	c.Instance.Metadata = map[string]string{"k\xff": "M\xfcller", "fine": "ü"}
	save(t, dir, c)
	got, err := Load(dir)
	must(t, err)
	if diff := cmp.Diff(map[string]string{"k\uFFFD": "M\uFFFDller", "fine": "ü"}, got.Instance.Metadata); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// Whatever was there is replaced as a whole, and a link is not followed.
func TestSaveReplaces(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "outside")
	must(t, os.WriteFile(outside, []byte("theirs"), 0o644))
	for name, before := range map[string]func(dir, path string) error{
		"a longer copy": func(dir, _ string) error {
			c := example()
			c.Instance.UserData = make([]byte, 100_000)
			return Save(dir, c)
		},
		"a file for everyone": func(_, path string) error { return os.WriteFile(path, []byte("{}"), 0o644) },
		"a link":              func(_, path string) error { return os.Symlink(outside, path) },
		"a FIFO":              func(_, path string) error { return syscall.Mkfifo(path, 0o644) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			must(t, os.Chmod(dir, 0o755))
			path := filepath.Join(dir, File)
			must(t, before(dir, path))
			want := example()
			save(t, dir, want)
			mode(t, dir, fs.ModeDir|0o700)
			mode(t, path, 0o600)
			got, err := Load(dir)
			if diff := cmp.Diff(&want, got, byValue); err != nil || diff != "" {
				t.Errorf("got %v (-want +got):\n%s", err, diff)
			}
			if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
				t.Errorf("got %v, %v, want the copy alone", entries, err)
			}
		})
	}
	if text, err := os.ReadFile(outside); err != nil || string(text) != "theirs" {
		t.Errorf("got %q, %v, want the file outside as it was", text, err)
	}
}

func TestSaveFails(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	must(t, os.WriteFile(file, nil, 0o600))
	must(t, os.MkdirAll(filepath.Join(dir, File, "x"), 0o700))
	const inTheWay = ": not a directory (remove what stands in the directory's place)"
	for in, want := range map[string]string{
		dir:         "cannot write " + filepath.Join(dir, File) + ": file exists (move away what stands there)",
		file:        "cannot create directory " + file + inTheWay,
		file + "/x": "cannot create directory " + file + inTheWay,
	} {
		if err := Save(in, example()); err == nil || err.Error() != "cannot keep the data for the next boot: "+want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
}

// damaged are texts that are no copy.
func damaged(t testing.TB) map[string]string {
	dir := t.TempDir()
	save(t, dir, example())
	whole, err := os.ReadFile(filepath.Join(dir, File))
	must(t, err)
	text := string(whole)
	with := func(old, new string) string {
		if strings.Count(text, old) != 1 {
			t.Fatalf("got %q in the copy more or less often than once, want it once", old)
		}
		return strings.Replace(text, old, new, 1)
	}
	const machine = `"machine":{"product-uuid":"` + idA + `"}`
	return map[string]string{
		"empty":               "",
		"zero bytes":          strings.Repeat("\x00", len(text)), // what a power cut can leave
		"truncated":           text[:len(text)/2],
		"truncated by little": text[:len(text)-3],
		"twice":               text + text,
		"no JSON":             secret,
		"null":                "null",
		"a list":              "[" + text + "]",
		"a number":            "7",
		"no object":           "{}",
		"deep":                strings.Repeat("[", 500_000),
		"no machine":          with(machine+",", ""),
		"empty machine":       with(machine, `"machine":{}`),
		"null machine":        with(machine, `"machine":null`),
		"machine is text":     with(machine, `"machine":"`+secret+`"`),
		"UUID is a number":    with(machine, `"machine":{"product-uuid":7}`),
		"MAC is a list":       with(machine, `"machine":{"mac":["`+secret+`"]}`),
		"no time":             with("2026-02-03T", secret),
		"null instance":       `{` + machine + `,"instance":null}`,
		"no instance":         `{` + machine + `}`,
		"instance is a list":  `{` + machine + `,"instance":["` + secret + `"]}`,
		"no id":               with(`"ID":"i-2-34-VM"`, `"ID":""`),
		"id is a number":      with(`"ID":"i-2-34-VM"`, `"ID":7`),
		"no base64":           with(`"UserData":"`, `"UserData":"!`+secret),
		"metadata is text":    with(`"Metadata":{`, `"Metadata":"`+secret+`","x":{`),
		"value is a list":     with(`"empty":""`, `"empty":["`+secret+`"]`),
		"no address":          with(`"10.1.0.1"`, `"`+secret+`"`),
		"index too big":       with(`"Index":2`, `"Index":99999999999999999999`),
	}
}

// check loads in vain. What is wrong names the file, what to do, and no content.
func check(t *testing.T, dir, reason string) {
	t.Helper()
	got, err := Load(dir)
	path := filepath.Join(dir, File)
	switch text := ""; {
	case got != nil || err == nil:
		t.Errorf("got %v, %v, want an error alone", got, err)
	case errors.Is(err, fs.ErrNotExist):
		t.Errorf("got %v, want another error than that there is none", err)
	default:
		text = err.Error()
		if !strings.HasPrefix(text, "cannot read the data of the last boot: "+path) || !strings.Contains(text, reason) {
			t.Errorf("got %q, want it to say that %s is %s", text, path, reason)
		}
		if !strings.Contains(text, "(it may be removed)") {
			t.Errorf("got %q, want it to say what to do", text)
		}
		if strings.Contains(text, secret) || len(text) > 200+len(path) {
			t.Errorf("got %q, want it without what is in the file", text)
		}
	}
}

func TestLoadRefusesADamagedCopy(t *testing.T) {
	dir := t.TempDir()
	for name, text := range damaged(t) {
		t.Run(name, func(t *testing.T) {
			must(t, os.WriteFile(filepath.Join(dir, File), []byte(text), 0o600))
			check(t, dir, "damaged")
		})
	}
}

// Whatever stands in its place, loading neither waits nor goes astray.
func TestLoadRefusesAHostileCopy(t *testing.T) {
	outside := t.TempDir()
	save(t, outside, example())
	sparse := func(size int64) func(string) error {
		return func(path string) error { return errors.Join(os.WriteFile(path, nil, 0o600), os.Truncate(path, size)) }
	}
	for name, tt := range map[string]struct {
		put    func(path string) error
		reason string
	}{
		"directory":      {func(path string) error { return os.Mkdir(path, 0o700) }, "not a regular file"},
		"FIFO":           {func(path string) error { return syscall.Mkfifo(path, 0o600) }, "not a regular file"},
		"socket":         {func(path string) error { return syscall.Mknod(path, syscall.S_IFSOCK|0o600, 0) }, "not a regular file"},
		"link to a copy": {func(path string) error { return os.Symlink(filepath.Join(outside, File), path) }, "escapes"},
		"link to a FIFO": {func(path string) error {
			return errors.Join(syscall.Mkfifo(path+".x", 0o600), os.Symlink(File+".x", path))
		}, "not a regular file"},
		"link to /dev":    {func(path string) error { return os.Symlink("/dev/zero", path) }, "escapes"},
		"link to itself":  {func(path string) error { return os.Symlink(File, path) }, "too many levels"},
		"huge and sparse": {sparse(1 << 40), "too big"},
		"too big by one":  {sparse(maxFile + 1), "too big"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			must(t, tt.put(filepath.Join(dir, File)))
			check(t, dir, tt.reason)
		})
	}
}

// The biggest file that is read at all.
func TestLoadTakesTheBiggestCopy(t *testing.T) {
	dir := t.TempDir()
	save(t, dir, example())
	path := filepath.Join(dir, File)
	text, err := os.ReadFile(path)
	must(t, err)
	must(t, os.WriteFile(path, append(text, strings.Repeat(" ", maxFile-len(text))...), 0o600))
	if _, err := Load(dir); err != nil {
		t.Error(err)
	}
}

func TestLoadWithoutACopy(t *testing.T) {
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "."+File+".tmp-1"), []byte("{}"), 0o600)) // of a killed Save
	for _, in := range []string{dir, filepath.Join(dir, "missing")} {
		if got, err := Load(in); got != nil || !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), in) {
			t.Errorf("got %v, %v, want that %s does not exist", got, err, in)
		}
	}
	file := filepath.Join(dir, "file")
	must(t, os.WriteFile(file, nil, 0o600))
	if got, err := Load(file); got != nil || err == nil || errors.Is(err, fs.ErrNotExist) || !strings.HasPrefix(err.Error(), "cannot read the data of the last boot: ") {
		t.Errorf("got %v, %v, want: cannot read the data of the last boot: ...", got, err)
	}
}

// FuzzLoad: what can be loaded can be saved, and is then the same.
func FuzzLoad(f *testing.F) {
	byMAC := example()
	byMAC.Machine = Machine{MAC: macA}
	for _, c := range []Copy{example(), byMAC} {
		dir := f.TempDir()
		save(f, dir, c)
		data, err := os.ReadFile(filepath.Join(dir, File))
		must(f, err)
		f.Add(data)
	}
	for _, text := range damaged(f) {
		if len(text) < 10_000 {
			f.Add([]byte(text))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		dir := t.TempDir()
		path := filepath.Join(dir, File)
		must(t, os.WriteFile(path, data, 0o600))
		c, err := Load(dir)
		if err != nil {
			if want := "cannot read the data of the last boot: " + path + " is damaged (it may be removed)"; c != nil || err.Error() != want {
				t.Errorf("got %v, %v, want %s", c, err, want)
			}
			return
		}
		if c.Machine == (Machine{}) || c.Instance == nil || c.Instance.ID == "" {
			t.Errorf("got %+v, want the machine that it is of", c)
		}
		save(t, dir, *c)
		again, err := Load(dir)
		if diff := cmp.Diff(c, again, byValue); err != nil || diff != "" {
			t.Errorf("got %v (-loaded +again):\n%s", err, diff)
		}
	})
}
