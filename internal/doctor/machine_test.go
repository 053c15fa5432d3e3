package doctor

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nm-cloud-seed/nm-cloud-seed/datasource/cloudstack"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/lease"
)

// Who there is in these worlds.
const (
	id    = "7d4f1f9a-58c1-4f5e-9a3c-3f0c5d9a1b2e"
	other = "11111111-2222-4333-8444-555555555555"
)

// scene is a machine with the world around it. It begins as a CloudStack VM on KVM
// in which all is well, two hours after it was booted.
type scene struct {
	files    map[string]string
	modes    map[string]os.FileMode
	view     lease.View
	version  string
	err      error // of NetworkManager
	routers  []cloudstack.Finding
	password []cloudstack.Finding
	root     bool
	new      bool          // the package came after the start of the system
	late     time.Duration // after which the seed was written
	idle     bool          // the generator wrote nothing
	up       time.Duration // since the system started; 0: two hours
	units    []string      // that have failed
	asked    int           // how often somebody was asked over the network
}

func address(text string) netip.Addr { return netip.MustParseAddr(text) }

// answer is a finding on eth0 after 3 ms.
func answer(role, server string, err error) cloudstack.Finding {
	f := cloudstack.Finding{Device: "eth0", Role: role, Err: err, Took: 3 * time.Millisecond}
	if server != "" {
		f.Server = address(server)
	}
	if err == nil {
		f.ID, f.Taken = id, true
	}
	return f
}

var errSilent = errors.New("no answer in time")

func status(rest string) string {
	return `{"started":"2026-11-01T10:00:00Z","ended":"2026-11-01T10:00:01Z","steps":[],` + rest + `}`
}

const seeded = `"instance":{"instance-id":"` + id + `","source":"virtual router","fetched":"FETCHED","virtual-router":"10.1.1.1","found-as":"DHCP server","device":"eth0","keys":11,"user-data-bytes":32,"seed":"/var/lib/cloud/seed/cs"}`

// healthy is the scene to begin with.
func healthy() *scene {
	s := &scene{
		files: good(), modes: map[string]os.FileMode{"run/nm-cloud-seed/seed.d": 0o700, "run/nm-cloud-seed/seed.d/1": 0o700, "run/nm-cloud-seed/seed.d/1/meta-data": 0o600, "run/nm-cloud-seed/seed.d/1/user-data": 0o600},
		view: lease.View{Running: true, Devices: []lease.Device{{Name: "eth0", State: lease.Leased, Detail: `10.1.1.100/24 on "cloud-init eth0"`}}, Leases: []lease.Lease{{
			Device: "eth0", Index: 2, Address: netip.MustParsePrefix("10.1.1.100/24"), Server: address("10.1.1.1"),
			Routers: []netip.Addr{address("10.1.1.1")}, DNS: []netip.Addr{address("10.1.1.1"), address("8.8.8.8")}, Domain: "cs2cloud.internal",
		}}},
		version:  "1.52.1",
		routers:  []cloudstack.Finding{answer("DHCP server", "10.1.1.1", nil), answer("data-server", "", errors.New("cannot resolve data-server: no such host"))},
		password: []cloudstack.Finding{answer("DHCP server", "10.1.1.1", nil), answer("data-server", "", errors.New("cannot resolve data-server: no such host"))},
		root:     true,
	}
	maps.Copy(s.files, map[string]string{
		"sys/class/dmi/id/product_name":        "CloudStack KVM Hypervisor\n",
		"sys/class/dmi/id/product_uuid":        strings.ToUpper(id) + "\n",
		"proc/cmdline":                         "BOOT_IMAGE=/vmlinuz root=/dev/vda1 ro quiet\n",
		"run/nm-cloud-seed/status.json":        status(`"phase":"ready","text":"seeded instance ` + id + ` from 10.1.1.1 (DHCP server on eth0)",` + seeded),
		"run/nm-cloud-seed/seed":               link + "seed.d/1",
		"run/nm-cloud-seed/seed.d/1/meta-data": `{"instance-id": "` + id + `", "token": "SECRET"}`,
		"run/nm-cloud-seed/seed.d/1/user-data": "SECRET",
		"var/lib/cloud/seed/cs":                link + "/run/nm-cloud-seed/seed",
		"var/lib/cloud/data/instance-id":       id + "\n",
		"var/lib/cloud/data/set-hostname":      `{"fqdn": "web-1", "hostname": "web-1"}`,
		"run/cloud-init/status.json":           `{"v1":{"stage":null,"datasource":"DataSourceCloudStack","init-local":{"errors":[]},"init":{"errors":[]}}}`,
		"run/cloud-init/result.json":           "{}",
		"run/cloud-init/cloud-id":              "cloudstack\n",
	})
	return s
}

// withTimes completes a status of cloud-init that says nothing of when its stages ran: of
// one without a stage under way, all have.
func withTimes(text string) string {
	var status map[string]map[string]any
	if json.Unmarshal([]byte(text), &status) != nil || status["v1"] == nil || status["v1"]["stage"] != nil {
		return text
	}
	for _, name := range []string{"init-local", "init", "modules-config", "modules-final"} {
		stage, _ := status["v1"][name].(map[string]any)
		if stage == nil {
			stage = make(map[string]any)
			status["v1"][name] = stage
		}
		if _, ok := stage["start"]; !ok {
			stage["start"], stage["finished"] = 1, 2
		}
	}
	data, err := json.Marshal(status)
	if err != nil {
		return text
	}
	return string(data)
}

// examine looks at a scene, and makes the files of its generator's if need be.
func (s *scene) examine(t *testing.T, generated bool) Report {
	t.Helper()
	// The package's files are from now, so it is the system's start that moves.
	now := time.Now()
	booted := now.Add(time.Hour)
	if s.new {
		booted = now.Add(-time.Hour)
	}
	for name, text := range s.files {
		s.files[name] = strings.ReplaceAll(text, "FETCHED", booted.Add(-72*time.Hour).Format(time.RFC3339))
	}
	const cloudStatus = "run/cloud-init/status.json"
	s.files[cloudStatus] = withTimes(s.files[cloudStatus])
	if s.files[cloudStatus] == "" {
		delete(s.files, cloudStatus)
	}
	root := write(t, s.files)
	if generated && !s.idle {
		i, done, err := load(root, "")
		if err != nil {
			t.Fatal(err)
		}
		defer done()
		if _, err := i.plan.Write(root+"/run/systemd/generator", root+"/run/systemd/generator.early"); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chtimes(filepath.Join(root, "run/nm-cloud-seed/seed.d/1/meta-data"), booted.Add(s.late), booted.Add(s.late)); err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	// What is in a directory comes before it: only root gets past one without a mode.
	for _, name := range slices.Backward(slices.Sorted(maps.Keys(s.modes))) {
		path := filepath.Join(root, name)
		if err := os.Chmod(path, s.modes[name]); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.Chmod(path, 0o755) }) // so that the test's user can remove it
	}
	w := World{
		NetworkManager: func(context.Context) (lease.View, string, error) { s.asked++; return s.view, s.version, s.err },
		Routers: func(_ context.Context, _ lease.View, o cloudstack.Options) []cloudstack.Finding {
			s.asked++
			if s.root && o.UUID != id && strings.Contains(s.files["sys/class/dmi/id/product_name"], "KVM") {
				t.Errorf("the machine's UUID: got %q, want %q", o.UUID, id)
			}
			return s.routers
		},
		Passwords: func(context.Context, lease.Lease) []cloudstack.Finding {
			if strings.Contains(s.files["etc/nm-cloud-seed.conf"], "password=no") {
				t.Error("the password server is asked, against password=no")
			}
			return s.password
		},
		FailedUnits: func(context.Context, []string) ([]string, error) { return s.units, nil },
		Now:         func() time.Time { return booted.Add(cmp.Or(s.up, 2*time.Hour)) }, Booted: booted, Root: s.root,
	}
	var r Report
	look := func() { r = examineSystem(t.Context(), root, w) }
	if s.root {
		look()
	} else {
		asNobody(t, root, look)
	}
	var b strings.Builder
	if err := r.Print(&b, 0, plain); err != nil {
		t.Fatal(err)
	}
	for _, never := range []string{"SECRET", root, " in the image", "chroot"} {
		if strings.Contains(b.String(), never) {
			t.Errorf("%q is in what is said:\n%s", never, b.String())
		}
	}
	return r
}

// configDrive makes it a VM whose data cloud-init's local stage has from a config drive.
func (s *scene) configDrive() {
	s.files["run/cloud-init/status.json"] = `{"v1":{"stage":null,"datasource":"DataSourceConfigDrive"}}`
	s.files["run/nm-cloud-seed/status.json"] = status(`"phase":"idle","text":"nothing to do"`)
	delete(s.files, "run/nm-cloud-seed/seed")
}

// cloudInitFailed makes the network stage one that died although there is a seed.
func (s *scene) cloudInitFailed() {
	s.files["run/cloud-init/status.json"] = `{"v1":{"stage":null,"datasource":"DataSourceCloudStack","init":{"errors":["SECRET"]},"modules-final":{"errors":["('runcmd', E('SECRET'))"]}}}`
}

// scenes are the worlds of the golden files.
var scenes = map[string]func(s *scene) (generated bool){
	"healthy": func(*scene) bool { return true },
	"cloud-init failed": func(s *scene) bool {
		s.cloudInitFailed()
		s.units = []string{"cloud-init.service"}
		return true
	},
	"installed and not rebooted": func(s *scene) bool {
		s.new = true
		s.nothingRun()
		return true
	},
	"installed with cloud-init": func(s *scene) bool {
		s.new = true
		s.nothingRun()
		s.nothingOfCloudInit()
		return true
	},
	"installed after a failed boot": func(s *scene) bool {
		s.new = true
		s.nothingRun()
		s.files["run/cloud-init/status.json"] = `{"v1":{"stage":null,"datasource":null,"init-local":{"errors":[]},"init":{"errors":["SECRET"]}}}`
		delete(s.files, "run/cloud-init/cloud-id")
		return true
	},
	"installed on VMware": func(s *scene) bool {
		s.new = true
		s.files["sys/class/dmi/id/product_name"] = "VMware Virtual Platform\n"
		s.files["run/cloud-init/disabled"] = ""
		s.nothingRun()
		s.nothingOfCloudInit()
		return true
	},
	"NetworkManager is not running": func(s *scene) bool {
		s.view, s.version = lease.View{}, ""
		s.failed("no instance metadata before the deadline: NetworkManager is not on the bus")
		return true
	},
	"no lease": func(s *scene) bool {
		s.view.Leases = nil
		s.view.Devices = []lease.Device{{Name: "eth0", State: lease.Waiting, Detail: `"cloud-init eth0" is being activated`}, {Name: "eth1", Detail: "no carrier"}}
		s.failed("no instance metadata before the deadline: eth0: asking for a lease (temporary connection); eth1: no carrier")
		return true
	},
	"the virtual router is silent": func(s *scene) bool {
		s.routers = []cloudstack.Finding{answer("DHCP server", "10.1.1.1", errSilent), answer("data-server", "", errors.New("cannot resolve data-server: i/o timeout"))}
		s.password = []cloudstack.Finding{answer("DHCP server", "10.1.1.1", errSilent)}
		s.failed("no instance metadata before the deadline: eth0: DHCP server 10.1.1.1: no answer in time")
		return true
	},
	"the data of another VM": func(s *scene) bool {
		s.routers = []cloudstack.Finding{answer("DHCP server", "10.1.1.1", cloudstack.ErrOtherVM)}
		s.routers[0].ID = other
		s.failed("no instance metadata before the deadline: eth0: DHCP server 10.1.1.1: it has the data of instance " + other)
		return true
	},
	"not CloudStack": func(s *scene) bool {
		s.files["sys/class/dmi/id/product_name"] = "Standard PC (Q35 + ICH9, 2009)\n"
		return false
	},
	"seeded from the last boot": func(s *scene) bool {
		s.routers = []cloudstack.Finding{answer("DHCP server", "10.1.1.1", errSilent)}
		s.files["run/nm-cloud-seed/status.json"] = status(`"phase":"ready","text":"seeded instance ` + id + ` from the copy of the last boot","error":"no instance metadata before the deadline: eth0: DHCP server 10.1.1.1: no answer in time",` +
			`"healing":{"text":"waiting for the virtual router","process":{"pid":0}},` + strings.Replace(seeded, `"source":"virtual router"`, `"source":"copy of the last boot"`, 1))
		return true
	},
	"a config drive": func(s *scene) bool {
		s.view.Leases, s.routers, s.password = nil, nil, nil
		s.view.Devices = []lease.Device{{Name: "eth0", State: lease.Waiting, Detail: `"cloud-init eth0" is being activated`}}
		s.nothingRun()
		s.files["etc/cloud/cloud.cfg"] = "datasource_list: [ ConfigDrive, CloudStack ]\n"
		s.files["run/nm-cloud-seed/status.json"] = status(`"phase":"idle","text":"nothing to do: cloud-init already has its datasource: DataSourceConfigDrive"`)
		s.files["run/cloud-init/status.json"] = `{"v1":{"stage":null,"datasource":"DataSourceConfigDrive [net,ver=2][source=/dev/vdb]"}}`
		s.files["run/cloud-init/cloud-id"] = "configdrive\n"
		return true
	},
	"an ordinary user": func(s *scene) bool {
		s.root = false
		s.modes["sys/class/dmi/id/product_uuid"], s.modes["run/nm-cloud-seed/seed.d"] = 0, 0
		return true
	},
}

// nothingRun takes away what the service and its seed leave.
func (s *scene) nothingRun() {
	for name := range s.files {
		if strings.HasPrefix(name, "run/nm-cloud-seed/") || strings.HasPrefix(name, "var/lib/cloud/") {
			delete(s.files, name)
		}
	}
	s.files["run/cloud-init/status.json"] = `{"v1":{"stage":null,"datasource":"DataSourceNone"}}`
	s.files["run/cloud-init/cloud-id"] = "none\n"
}

// disabled is a boot without cloud-init, for which the generator does nothing.
func (s *scene) disabled() {
	s.idle = true
	s.nothingRun()
	s.nothingOfCloudInit()
}

// nothingOfCloudInit takes away what cloud-init's run leaves.
func (s *scene) nothingOfCloudInit() {
	for _, name := range []string{"status.json", "result.json", "cloud-id"} {
		delete(s.files, "run/cloud-init/"+name)
	}
}

// failed is a boot without metadata.
func (s *scene) failed(why string) {
	s.nothingRun()
	s.files["run/nm-cloud-seed/status.json"] = status(`"phase":"failed","text":"` + why + `","error":"` + why + `","healing":{"text":"waiting for the virtual router","process":{"pid":0}}`)
	s.files["var/lib/cloud/seed/cs"] = link + "/run/nm-cloud-seed/seed"
}

func TestMachineReports(t *testing.T) {
	for name, change := range scenes {
		t.Run(name, func(t *testing.T) {
			s := healthy()
			r := s.examine(t, change(s))
			var text bytes.Buffer
			if err := r.Print(&text, 0, plain); err != nil {
				t.Fatal(err)
			}
			golden(t, "testdata/here/"+strings.ReplaceAll(name, " ", "-")+".txt", text.String())
			if name == "not CloudStack" && s.asked > 0 {
				t.Errorf("got %d questions to others, want 0", s.asked)
			}
		})
	}
}
