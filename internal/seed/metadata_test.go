package seed

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nm-cloud-seed/nm-cloud-seed/datasource"
)

func TestMetaDataText(t *testing.T) {
	for _, tt := range []struct {
		name string
		inst datasource.Instance
		want string
	}{
		{"sorted, one key per line", datasource.Instance{ID: "i-1", Metadata: map[string]string{"vm-id": "7", "instance-id": "i-1"}},
			"{\n  \"instance-id\": \"i-1\",\n  \"vm-id\": \"7\"\n}\n"},
		{"empty", datasource.Instance{}, "{\n}\n"},
		{"instance-id from the instance", datasource.Instance{ID: "i-1"}, "{\n  \"instance-id\": \"i-1\"\n}\n"},
		{"instance-id as served wins", datasource.Instance{ID: "i-1", Metadata: map[string]string{"instance-id": "I-1"}},
			"{\n  \"instance-id\": \"I-1\"\n}\n"},
		{"FQDN", datasource.Instance{Metadata: map[string]string{"local-hostname": "vm"}, Origin: datasource.Origin{Domain: "example.org"}},
			"{\n  \"local-hostname\": \"vm.example.org\"\n}\n"},
		{"no hostname, no FQDN", datasource.Instance{Origin: datasource.Origin{Domain: "example.org"}}, "{\n}\n"},
		{"invalid UTF-8", datasource.Instance{Metadata: map[string]string{"k\xff\xfe": "a\xc3(\xed\xa0\x80"}},
			"{\n  \"k\\ufffd\\ufffd\": \"a\\ufffd(\\ufffd\\ufffd\\ufffd\"\n}\n"},
		{"keys that become equal: the last one, not both", datasource.Instance{Metadata: map[string]string{"k\x80": "1", "k\x81": "2", "k\x82": "3", "k\xfd": "4", "k\xfe": "5", "k\xff": "6"}},
			"{\n  \"k\\ufffd\": \"6\"\n}\n"},
		{"several lines", datasource.Instance{Metadata: map[string]string{"k": "a\r\nb\u2028\nc\n", "n": "\n", "r": "a\rb", "z": "{\n}"}},
			"{\n  \"k\": [\"a\", \"b\", \"\", \"c\"],\n  \"n\": [\"\"],\n  \"r\": \"a\\rb\",\n  \"z\": \"{\\n}\"\n}\n"},
		{"escapes", datasource.Instance{Metadata: map[string]string{"k": "\"\\\r\t\x00\x7fä\u0085\U0001f600</"}},
			"{\n  \"k\": \"\\\"\\\\\\r\\t\\u0000\\u007f\\u00e4\\u0085\\U0001f600</\"\n}\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, string(MetaData(&tt.inst))); diff != "" {
				t.Errorf("meta-data (-want +got):\n%s", diff)
			}
		})
	}
}

func TestMetaDataDoesNotChangeTheInstance(t *testing.T) {
	inst := &datasource.Instance{ID: "i-1", Metadata: map[string]string{"local-hostname": "vm"}, Origin: datasource.Origin{Domain: "example.org"}}
	MetaData(inst)
	if diff := cmp.Diff(map[string]string{"local-hostname": "vm"}, inst.Metadata); diff != "" {
		t.Errorf("metadata (-want +got):\n%s", diff)
	}
}
