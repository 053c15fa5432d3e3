package cloudinit

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestLocalDatasourceSamples: those of 22.4.2 were written by its own
// status_wrapper; those of 25.1.4 are made by hand after
// them, with that version's further fields.
func TestLocalDatasourceSamples(t *testing.T) {
	want := map[string]string{
		"22.4.2-local-running":     "",
		"22.4.2-local-nothing":     "",
		"22.4.2-local-configdrive": "DataSourceConfigDrive",
		"22.4.2-network-done":      "",
		"25.1.4-local-nothing":     "",
		"25.1.4-local-nocloud":     "DataSourceNoCloud",
		"25.1.4-network-running":   "",
	}
	samples, err := filepath.Glob("testdata/*.json")
	if err != nil || len(samples) != len(want) {
		t.Fatalf("got %d samples, want %d (%v)", len(samples), len(want), err)
	}
	for _, sample := range samples {
		name := strings.TrimSuffix(filepath.Base(sample), ".json")
		t.Run(name, func(t *testing.T) {
			data, err := os.ReadFile(sample)
			if err != nil {
				t.Fatal(err)
			}
			// As on a real system, behind a relative link.
			root := t.TempDir()
			put(t, root, "var/lib/cloud/data/status.json", string(data))
			put(t, root, "run/cloud-init/x", "")
			if err := os.Symlink("../../var/lib/cloud/data/status.json", filepath.Join(root, statusFile)); err != nil {
				t.Fatal(err)
			}
			if got := (Files{Root: root}).LocalDatasource(); got != want[name] {
				t.Errorf("got %q, want %q", got, want[name])
			}
		})
	}
}

func TestLocalDatasource(t *testing.T) {
	found := func(datasource string) string {
		return `{"v1":{"datasource":"` + datasource + `","init-local":{"start":1,"finished":2}}}`
	}
	for _, tt := range []struct{ name, data, want string }{
		{"no word of the network stage", found("DataSourceNoCloud"), "DataSourceNoCloud"},
		{"finished at 0", `{"v1":{"datasource":"DataSourceX","init-local":{"start":0,"finished":0},"init":{"start":null}}}`, "DataSourceX"},
		{"network stage begun at 0", `{"v1":{"datasource":"DataSourceX","init-local":{"start":0,"finished":0},"init":{"start":0}}}`, ""},
		{"local stage not finished", `{"v1":{"datasource":"DataSourceX","init-local":{"start":1,"finished":null}}}`, ""},
		{"no local stage", `{"v1":{"datasource":"DataSourceX"}}`, ""},
		{"empty name", found(""), ""},
		{"blank name", found(" "), ""},
		{"control characters", found(`Data\u001b[2J\nSourceä`), "Data?[2J?Source?"},
		{"long name", found(strings.Repeat("x", 1000)), strings.Repeat("x", 64)},
		{"empty", "", ""},
		{"cut off", found("DataSourceX")[:60], ""},
		{"no object", `[]`, ""},
		{"null", `null`, ""},
		{"another version", `{"v2":{}}`, ""},
		{"times are no numbers", `{"v1":{"datasource":"DataSourceX","init-local":{"finished":"yes"}}}`, ""},
		{"datasource is no string", `{"v1":{"datasource":["DataSourceX"],"init-local":{"finished":1}}}`, ""},
		{"deep", strings.Repeat("[", 100000), ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := localDatasource([]byte(tt.data)); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestLocalDatasourceFile(t *testing.T) {
	root := t.TempDir()
	files := Files{Root: root}
	if got := files.LocalDatasource(); got != "" {
		t.Errorf("missing: got %q, want nothing", got)
	}
	data := `{"v1":{"datasource":"DataSourceX","init-local":{"finished":1}}}`
	put(t, root, statusFile, data+strings.Repeat(" ", 1<<20-len(data)))
	if got := files.LocalDatasource(); got != "DataSourceX" {
		t.Errorf("1 MiB: got %q, want DataSourceX", got)
	}
	put(t, root, statusFile, data+strings.Repeat(" ", 1<<20-len(data)+1))
	if got := files.LocalDatasource(); got != "" {
		t.Errorf("more than 1 MiB: got %q, want nothing", got)
	}
	if got := (Files{Root: root + "/missing"}).LocalDatasource(); got != "" {
		t.Errorf("no root: got %q, want nothing", got)
	}
}

func FuzzLocalDatasource(f *testing.F) {
	f.Add([]byte(`{"v1":{"datasource":"DataSourceX [a]","init-local":{"finished":1}}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		got := localDatasource(data)
		if len(got) > maxName || strings.ContainsAny(got, "\n\x1b ") {
			t.Errorf("got name %q, want a short one without control characters", got)
		}
	})
}
