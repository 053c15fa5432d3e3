package main

import (
	"errors"
	"io/fs"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

// good is an image as it should be.
func good() fstest.MapFS {
	return fstest.MapFS{
		"var/lib/dpkg/status": {Data: []byte("Package: a\n\nPackage: nm-cloud-seed\nStatus: install ok installed\nVersion: 1\n")},
		"usr/lib/systemd/system-generators/nm-cloud-seed-generator": {},
		"etc/machine-id": {},
	}
}

func TestCheckFindsWhatIsWrong(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(fstest.MapFS)
		want   string
	}{
		"good":          {func(fstest.MapFS) {}, ""},
		"uninitialized": {func(m fstest.MapFS) { m["etc/machine-id"].Data = []byte("uninitialized\n") }, ""},
		"unpacked only": {
			func(m fstest.MapFS) {
				m["var/lib/dpkg/status"].Data = []byte("\nPackage: nm-cloud-seed\nStatus: install ok unpacked\n")
			},
			"dpkg does not say that the package is installed",
		},
		"no generator": {
			func(m fstest.MapFS) { delete(m, "usr/lib/systemd/system-generators/nm-cloud-seed-generator") },
			"there is no generator: open usr/lib/systemd/system-generators/nm-cloud-seed-generator: file does not exist",
		},
		"machine-id": {
			func(m fstest.MapFS) { m["etc/machine-id"].Data = []byte("0123\n") },
			`all VMs would have the machine-id "0123\n"`,
		},
		"no machine-id": {
			func(m fstest.MapFS) { delete(m, "etc/machine-id") },
			"systemd could not boot from a read-only disk: open etc/machine-id: file does not exist",
		},
		"booted": {
			func(m fstest.MapFS) {
				m["var/lib/cloud/instance"] = &fstest.MapFile{Data: []byte("/var/lib/cloud/instances/i"), Mode: fs.ModeSymlink}
			},
			"/var/lib/cloud/instance is there",
		},
		"networkd": {
			func(m fstest.MapFS) {
				m["etc/systemd/system/multi-user.target.wants/systemd-networkd.service"] = &fstest.MapFile{Data: []byte("/nowhere"), Mode: fs.ModeSymlink}
			},
			"/etc/systemd/system/multi-user.target.wants/systemd-networkd.service is there",
		},
	} {
		t.Run(name, func(t *testing.T) {
			root := good()
			tt.change(root)
			got := ""
			if err := errors.Join(check(root)...); err != nil {
				got = err.Error()
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestCheckExplainsFailures(t *testing.T) {
	for name, tt := range map[string]struct{ report, want string }{
		"well":    {`{"checks":[{"name":"image","state":"ok"},{"name":"a.b","state":"info","fix":"none"}]}`, ""},
		"warning": {`{"checks":[{"name":"a.b","state":"warning","detail":"two of them"}]}`, "doctor: warning: a.b: two of them"},
		"problem and what depends on it": {
			`{"checks":[{"name":"a","state":"problem","detail":"gone"},{"name":"b","state":"skipped","detail":"depends on a"}]}`,
			"doctor: problem: a: gone\ndoctor: skipped: b: depends on a",
		},
		"nothing":     {`{}`, "doctor has checked nothing"},
		"not written": {``, "cannot read what doctor says: unexpected end of JSON input"},
	} {
		t.Run(name, func(t *testing.T) {
			got := ""
			if err := diagnosis([]byte(tt.report)); err != nil {
				got = err.Error()
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
