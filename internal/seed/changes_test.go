package seed

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nm-cloud-seed/nm-cloud-seed/datasource"
)

func TestChangesNamesKeys(t *testing.T) {
	before := func() *datasource.Instance {
		return &datasource.Instance{
			ID: "i-1", UserData: []byte("user"), Origin: datasource.Origin{Domain: "example.org"},
			Metadata: map[string]string{"instance-id": "i-1", "local-hostname": "web", "public-keys": "ssh-a A\nssh-b B", "empty": "", "ü\u2028": "1"},
		}
	}
	for name, test := range map[string]struct {
		change func(*datasource.Instance)
		want   []string
	}{
		"nothing":         {func(*datasource.Instance) {}, []string{}},
		"a value":         {func(i *datasource.Instance) { i.Metadata["empty"] = "no more" }, []string{"empty"}},
		"a list":          {func(i *datasource.Instance) { i.Metadata["public-keys"] = "ssh-a A" }, []string{"public-keys"}},
		"a key more":      {func(i *datasource.Instance) { i.Metadata["new"] = "" }, []string{"new"}},
		"a key less":      {func(i *datasource.Instance) { delete(i.Metadata, "ü\u2028") }, []string{"ü\u2028"}},
		"several":         {func(i *datasource.Instance) { i.Metadata["z"], i.Metadata["a"], i.UserData = "1", "2", nil }, []string{"a", "z", "user-data"}},
		"the domain":      {func(i *datasource.Instance) { i.Origin.Domain = "" }, []string{"local-hostname"}},
		"not the origin":  {func(i *datasource.Instance) { i.Origin.Device, i.Warnings = "eth1", []string{"x"} }, []string{}},
		"empty user-data": {func(i *datasource.Instance) { i.UserData = []byte{} }, []string{"user-data"}},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := newStore(t)
			if _, err := s.Write(before()); err != nil {
				t.Fatal(err)
			}
			after := before()
			test.change(after)
			if diff := cmp.Diff(test.want, s.Changes(after)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// Without a seed that can be read, all is new.
func TestChangesWithoutASeed(t *testing.T) {
	inst := &datasource.Instance{ID: "i-1", Metadata: map[string]string{"a": "1"}}
	want := []string{"a", "instance-id", "user-data"}
	s, _ := newStore(t)
	if diff := cmp.Diff(want, s.Changes(inst)); diff != "" {
		t.Errorf("no seed (-want +got):\n%s", diff)
	}
	for name, spoil := range map[string]func(dir string) error{
		"damaged":      func(dir string) error { return os.WriteFile(filepath.Join(dir, metaDataFile), []byte("{\x00"), 0o600) },
		"no user-data": func(dir string) error { return os.Remove(filepath.Join(dir, userDataFile)) },
		"a directory": func(dir string) error {
			return os.Rename(filepath.Join(dir, metaDataFile), filepath.Join(dir, userDataFile+"/x"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := newStore(t)
			if _, err := s.Write(inst); err != nil {
				t.Fatal(err)
			}
			dir := s.current()
			if name == "a directory" {
				if err := os.Remove(filepath.Join(dir, userDataFile)); err != nil {
					t.Fatal(err)
				}
				if err := os.Mkdir(filepath.Join(dir, userDataFile), 0o700); err != nil {
					t.Fatal(err)
				}
			}
			if err := spoil(dir); err != nil {
				t.Fatal(err)
			}
			got := s.Changes(inst)
			if name == "damaged" { // the user-data is what it was
				got = append(got, "user-data")
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
