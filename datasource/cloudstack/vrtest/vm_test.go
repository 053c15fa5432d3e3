package vrtest

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestIndexListsKeysAsTheVRDoes(t *testing.T) {
	keys := func(names ...string) (keys []Key) {
		for _, name := range names {
			keys = append(keys, Key{Name: name})
		}
		return keys
	}
	for _, test := range []struct {
		name string
		vm   VM
		want string
	}{
		{"nothing", VM{UserData: []byte("x")}, ""},
		{"in order", VM{Metadata: keys("b", "a")}, "b\na\n"},
		{"part of an earlier line", VM{Metadata: keys("cloud-name", "name", "cloud", "d-n")}, "cloud-name\n"},
		{"part of a later line", VM{Metadata: keys("name", "cloud-name")}, "name\ncloud-name\n"},
		{"twice", VM{Metadata: keys("a", "a")}, "a\n"},
		{"stale", VM{Metadata: keys("a"), Stale: []string{"gone", "one"}}, "a\ngone\n"},
		{"unindexed", VM{Metadata: keys("a"), Unindexed: keys("b")}, "a\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, test.vm.index()); diff != "" {
				t.Errorf("index (-want +got):\n%s", diff)
			}
		})
	}
}

func TestExample(t *testing.T) {
	vm := Example(exampleID, clientA)
	values := make(map[string]string)
	for _, key := range vm.Metadata {
		values[key.Name] = key.Value
	}
	if len(values) != 11 {
		t.Errorf("got %d keys, want the 11 standard ones", len(values))
	}
	want := map[string]string{"instance-id": exampleID, "vm-id": exampleID, "local-hostname": "web-1", "local-ipv4": clientA.String()}
	for name, value := range want {
		if values[name] != value {
			t.Errorf("%s: got %q, want %q", name, values[name], value)
		}
	}
	fields := strings.Fields(values["public-keys"])
	blob, err := base64.StdEncoding.DecodeString(fields[1])
	if err != nil || fields[0] != "ssh-ed25519" || !strings.HasPrefix(string(blob), "\x00\x00\x00\x0bssh-ed25519\x00\x00\x00\x20") || len(blob) != 51 {
		t.Errorf("got public-keys %q, want an ssh-ed25519 key", values["public-keys"])
	}
	if !strings.HasPrefix(string(vm.UserData), "#cloud-config\n") {
		t.Errorf("got user-data %q, want a #cloud-config", vm.UserData)
	}
}

func TestSetVMCopies(t *testing.T) {
	l := newLab(t)
	vm := Example(exampleID, clientA)
	l.SetVM(clientA, vm)
	vm.Set("instance-id", "changed")
	if got := l.get(t, "/latest/instance-id"); !strings.HasSuffix(got, exampleID) {
		t.Errorf("got %q, want the ID as it was at SetVM", got)
	}
}
