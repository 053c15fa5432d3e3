package cloudinit

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestBootSamples: of real ones, see TestLocalDatasourceSamples.
func TestBootSamples(t *testing.T) {
	for name, want := range map[string]Boot{
		"22.4.2-local-running":     {Stage: "local"},
		"22.4.2-local-nothing":     {},
		"22.4.2-local-configdrive": {Datasource: "DataSourceConfigDrive"},
		"22.4.2-network-done":      {Datasource: "DataSourceCloudStack"},
		"25.1.4-local-nothing":     {},
		"25.1.4-local-nocloud":     {Datasource: "DataSourceNoCloud"},
		"25.1.4-network-running":   {Datasource: "DataSourceNoCloud", Stage: "network"},
	} {
		data, err := os.ReadFile("testdata/" + name + ".json")
		if err != nil {
			t.Fatal(err)
		}
		got, err := parseBoot(data)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: -want +got:\n%s", name, diff)
		}
	}
}

func TestBootOfStatusFile(t *testing.T) {
	const damaged = "cannot read /run/cloud-init/status.json: it is damaged"
	for _, tt := range []struct {
		name, data string
		want       Boot
		err        string
	}{
		{"done", `{"v1":{"stage":null,"datasource":"DataSourceCloudStack [x]","init":{"errors":[]}}}`, Boot{Datasource: "DataSourceCloudStack", Done: true}, ""},
		{"run again", `{"v1":{"stage":"modules-final","datasource":"DataSourceNone"}}`, Boot{Datasource: "DataSourceNone", Stage: "final"}, ""},
		{"failed", `{"v1":{"stage":null,"init-local":{"errors":["SECRET"]},"init":{"errors":["('set_passwords', E('SECRET'))", "('s\u001b[2Jh', X())"]},"modules-final":{"errors":[7]}}}`,
			Boot{Done: true, Broken: []string{"local", "final"}, Failed: []string{"set_passwords in the network stage", "s?[2Jh in the network stage"}}, ""},
		{"complaints", `{"v1":{"init-local":{"recoverable_errors":{"DEPRECATED":["x"]}},"init":{"recoverable_errors":{"WARNING":["SECRET",7],"ERROR":["SECRET"]}},"modules-final":{"recoverable_errors":{"CRITICAL":["SECRET"]}}}}`,
			Boot{Done: true, Complaints: []string{"3 of the network stage", "1 of the final stage"}}, ""},
		{"odd", `{"v1":{"stage":7,"datasource":["x"],"init":"x","modules-config":{"errors":{}}}}`, Boot{Done: true}, ""},
		{"empty", "", Boot{}, damaged},
		{"cut off", `{"v1":{"stage":`, Boot{}, damaged},
		{"no v1", `{}`, Boot{}, damaged},
		{"a list", `[]`, Boot{}, damaged},
		{"deep", `{"v1":{"init":{"errors":` + strings.Repeat("[", 100000), Boot{}, damaged},
	} {
		t.Run(tt.name, func(t *testing.T) {
			root := t.TempDir()
			put(t, root, statusFile, tt.data)
			put(t, root, resultFile, "{}")
			got, err := Files{Root: root}.Boot()
			if text(err) != tt.err {
				t.Errorf("got error %v, want %q", err, tt.err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestBootNamesInstanceAndCloud(t *testing.T) {
	root := t.TempDir()
	if _, err := (Files{Root: root}).Boot(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without anything: got %v, want that it does not exist", err)
	}
	put(t, root, statusFile, `{"v1":{}}`)
	put(t, root, instanceFile, "i-1\n")
	put(t, root, "run/cloud-init/cloud-id-cloudstack", "cloudstack\x1b\n")
	if err := os.Symlink("cloud-id-cloudstack", filepath.Join(root, cloudIDFile)); err != nil {
		t.Fatal(err)
	}
	got, err := Files{Root: root}.Boot()
	if diff := cmp.Diff(Boot{CloudID: "cloudstack?", Instance: "i-1"}, got); err != nil || diff != "" {
		t.Errorf("got %v, -want +got:\n%s", err, diff)
	}
}
