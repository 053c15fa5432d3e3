package daemon

import (
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nm-cloud-seed/nm-cloud-seed/datasource"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/cloudinit"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/config"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/lastboot"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/seed"
)

const (
	begun = `{"v1": {"init": {"finished": null, "start": 3.0}, "init-local": {"finished": 2.0, "start": 1.0}}}`

	noLease = "no lease on eth0"
)

// instanceOf returns what a virtual router said of an instance.
func instanceOf(id string) *datasource.Instance {
	server := netip.MustParseAddr("10.1.1.1")
	return &datasource.Instance{
		ID: id, Metadata: map[string]string{"instance-id": id, "local-hostname": "web-1"},
		Origin: datasource.Origin{Server: server, Role: "DHCP server", Device: "eth0", Index: 2, Router: server},
	}
}

// endedProcess returns a process that has ended.
func endedProcess(t *testing.T) process {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "true")
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	return process{cmd.ProcessState.Pid(), "1"}
}

// TestFallback leaves what a run may leave, and looks at what cloud-init finds then.
func TestFallback(t *testing.T) {
	ended := time.Now()
	killed := func(d *Daemon, phase Phase) {
		d.tell(func(s *State) { s.Phase, s.Text, s.Process = phase, "at it", endedProcess(t) })
	}
	seeded := func(d *Daemon, id string) { // by the virtual router
		unlock, err := lock(d.Root)
		if err != nil {
			t.Fatal(err)
		}
		defer unlock()
		from := fromVR(instanceOf(id))
		d.tell(func(s *State) { s.Instance = from.inState() })
		name := seed.Name{Local: "web-1", FQDN: "web-1", Lease: "localdomain"}
		if err := d.seed(from.Instance, name); err != nil {
			t.Fatal(err)
		}
		// The handover has not come to it.
		if text, err := os.ReadFile(filepath.Join(d.Root, RunDir, "private/cloud.cfg")); err != nil || !strings.Contains(string(text), `fqdn: "web-1"`) {
			t.Errorf("got %q, %v, want the FQDN with the seed", text, err)
		}
	}
	never := func(*Daemon) {}
	noSearch := func(d *Daemon) { // as before cloud-init's local stage
		if err := cloudinit.NoSearch(filepath.Join(d.Root, RunDir)); err != nil {
			t.Fatal(err)
		}
	}
	const stanza, ifup, nmConf, note = "etc/network/interfaces", "usr/sbin/ifup", "etc/NetworkManager/NetworkManager.conf", "run/NetworkManager/devices/2"
	const dhcpcd, dhcpcdOn, index = "usr/lib/systemd/system/dhcpcd.service", "etc/systemd/system/multi-user.target.wants/dhcpcd.service", "sys/class/net/eth0/ifindex"
	for _, tt := range []struct {
		name   string
		cached string // the machine of the cached data: "this", "other", "none", "damaged"
		files  map[string]string
		left   func(d *Daemon)
		seed   string // the instance of the seed; empty: none
		source string
		phase  Phase
		why    string // a part of the state's error
		wants  bool   // the virtual router is waited for
		told   bool   // on the console and above the login prompt
		looks  bool   // cloud-init looks for the virtual router itself although the run has failed
	}{
		{name: "never started", cached: "this", left: never, seed: "cached", source: LastBoot, phase: Ready, why: "nm-cloud-seed.service did not start", wants: true, told: true},
		{name: "never started, a first boot", cached: "none", left: never, phase: Failed, why: "nm-cloud-seed.service did not start", wants: true, told: true},
		{name: "never started, damaged data", cached: "damaged", left: never, phase: Failed, why: "nm-cloud-seed.service did not start", wants: true, told: true},
		{name: "never started, another machine's disk", cached: "other", left: never, phase: Failed, why: "this disk was another machine's", wants: true, told: true},
		{name: "killed while searching", cached: "this", left: func(d *Daemon) { killed(d, Searching) }, seed: "cached", source: LastBoot, phase: Ready, why: "the run was killed while it was searching: at it", wants: true, told: true},
		{name: "killed while searching, a first boot", cached: "none", left: func(d *Daemon) { killed(d, Searching) }, phase: Failed, why: "the run was killed while it was searching: at it", wants: true, told: true},
		{name: "killed with the seed in place", cached: "none", left: func(d *Daemon) {
			seeded(d, "served")
			killed(d, Fetching)
		}, seed: "served", source: VirtualRouter, phase: Ready, why: "the run was killed while it was fetching", wants: true, told: true},
		{name: "killed with the seed in place, and cached data", cached: "this", left: func(d *Daemon) {
			seeded(d, "served")
			killed(d, Fetching)
		}, seed: "served", source: VirtualRouter, phase: Ready, why: "the run was killed while it was fetching", wants: true, told: true},
		{name: "killed after READY", cached: "this", left: func(d *Daemon) {
			seeded(d, "served")
			killed(d, Ready)
		}, seed: "served", source: VirtualRouter, phase: Ready, wants: true},
		{name: "killed before the seed was in place", cached: "this", left: func(d *Daemon) {
			d.tell(func(s *State) { s.Instance = fromVR(instanceOf("served")).inState() })
			killed(d, Fetching)
		}, seed: "cached", source: LastBoot, phase: Ready, why: "the run was killed while it was fetching", wants: true, told: true},
		{name: "stopped, as by a start timeout", cached: "this", left: func(d *Daemon) {
			d.tell(func(s *State) { s.step(string(Stopped)); s.Phase, s.Text = Stopped, "stopped"; s.Ended = &ended })
		}, seed: "cached", source: LastBoot, phase: Ready, why: "the run was stopped", wants: true, told: true},
		{name: "the state is damaged", cached: "this", left: func(d *Daemon) {
			if err := os.WriteFile(filepath.Join(d.Root, StatePath), []byte("{"), 0o644); err != nil {
				t.Fatal(err)
			}
		}, seed: "cached", source: LastBoot, phase: Ready, why: "did not finish", wants: true, told: true},
		{name: "it could not write the seed", cached: "this", left: func(d *Daemon) {
			d.state.Ended = &ended
			_ = d.fail(errors.New("cannot write the seed"))
		}, seed: "cached", source: LastBoot, phase: Ready, why: "cannot write the seed", wants: true, told: true},

		// Another service runs the wired devices.
		{name: "never started, ifupdown has eth0", cached: "none", files: map[string]string{stanza: "iface eth0 inet dhcp\n", ifup: ""}, left: noSearch, phase: Idle},
		{name: "killed, ifupdown has eth0", cached: "none", files: map[string]string{stanza: "iface eth0 inet dhcp\n", ifup: ""}, left: func(d *Daemon) {
			noSearch(d)
			killed(d, Leasing)
		}, phase: Idle},
		{name: "never started, ifupdown has another", cached: "none", files: map[string]string{stanza: "iface eth1 inet dhcp\n", ifup: ""}, left: noSearch, phase: Failed, why: "nm-cloud-seed.service did not start", wants: true, told: true},
		{name: "never started, a stanza that NetworkManager manages", cached: "none", files: map[string]string{stanza: "iface eth0 inet dhcp\n", ifup: "", nmConf: "[ifupdown]\nmanaged=true\n"}, left: noSearch, phase: Failed, why: "nm-cloud-seed.service did not start", wants: true, told: true},
		{name: "never started, dhcpcd has all", cached: "none", files: map[string]string{dhcpcd: "[Unit]\n", dhcpcdOn: ""}, left: noSearch, phase: Idle},
		{name: "never started, NetworkManager has eth0, and dhcpcd is enabled", cached: "none", files: map[string]string{dhcpcd: "[Unit]\n", dhcpcdOn: "", index: "2\n", note: "[device]\nmanaged=true\n"}, left: noSearch, phase: Failed, why: "nm-cloud-seed.service did not start", wants: true, told: true},
		{name: "never started, systemd-networkd has eth0, and cached data", cached: "this", files: map[string]string{index: "2\n", "run/systemd/netif/links/2": "ADMIN_STATE=configured\n"}, left: noSearch, phase: Idle},
		{name: "never started, ifupdown has eth0, and cached data", cached: "this", files: map[string]string{stanza: "iface eth0 inet dhcp\n", ifup: ""}, left: noSearch, phase: Idle},
		{name: "never started, NetworkManager has eth0, dhcpcd is enabled, and cached data", cached: "this", files: map[string]string{dhcpcd: "[Unit]\n", dhcpcdOn: "", index: "2\n", note: "[device]\nmanaged=true\n"}, left: noSearch, seed: "cached", source: LastBoot, phase: Ready, why: "nm-cloud-seed.service did not start", wants: true, told: true},
		{name: "killed with the seed in place, dhcpcd is enabled as well", cached: "this", files: map[string]string{dhcpcd: "[Unit]\n", dhcpcdOn: ""}, left: func(d *Daemon) {
			seeded(d, "served")
			killed(d, Fetching)
		}, seed: "served", source: VirtualRouter, phase: Ready, why: "the run was killed while it was fetching", wants: true, told: true},
		{name: "never started, systemd-networkd has eth0, nobody eth1", cached: "none", files: map[string]string{
			index: "2\n", "run/systemd/netif/links/2": "ADMIN_STATE=configured\n", "sys/class/net/eth1/type": "1\n", "sys/class/net/eth1/ifindex": "3\n",
		}, left: noSearch, phase: Failed, why: "nm-cloud-seed.service did not start", wants: true, told: true, looks: true},

		// Nothing is left to do.
		{name: "it failed by itself", cached: "none", left: func(d *Daemon) {
			d.state.Ended = &ended
			_ = d.want()
			_ = d.fail(errors.New(noLease))
			_ = d.removeIssue() // so that a second one shows
		}, phase: Failed, why: noLease, wants: true},
		{name: "it went well", cached: "this", left: func(d *Daemon) {
			seeded(d, "served")
			d.seeded(fromVR(instanceOf("served")))
			d.ended()
		}, seed: "served", source: VirtualRouter, phase: Ready},
		{name: "it went well, and goes on", cached: "this", left: func(d *Daemon) {
			d.state.Process = thisProcess()
			seeded(d, "served")
			d.seeded(fromVR(instanceOf("served")))
			unlock, err := lock(d.Root)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(unlock)
		}, seed: "served", source: VirtualRouter, phase: Ready},
		{name: "it is still searching", cached: "this", left: func(d *Daemon) {
			d.tell(func(s *State) { s.Phase, s.Process = Searching, thisProcess() })
			unlock, err := lock(d.Root)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(unlock)
		}, phase: Searching},
		{name: "there was nothing to do", cached: "this", left: func(d *Daemon) {
			d.state.Ended = &ended
			_ = d.want()
			d.say(Idle, "nothing to do")
		}, phase: Idle},
		{name: "there is nothing to do", cached: "this", files: map[string]string{"run/cloud-init/disabled": ""}, left: func(d *Daemon) {
			_ = d.want()
			killed(d, Starting)
		}, phase: Idle},
		{name: "cloud-init has its datasource", cached: "this", files: map[string]string{status: local}, left: never, phase: Idle},
		{name: "the stage has begun", cached: "this", files: map[string]string{status: begun}, left: never},
		{name: "cloud-init is done", cached: "this", files: map[string]string{"run/cloud-init/result.json": ""}, left: never},
	} {
		t.Run(tt.name, func(t *testing.T) {
			files := map[string]string{
				"sys/class/net/eth0/type": "1\n", "sys/class/net/eth0/address": "02:00:00:00:00:01\n",
				"dev/console": "", dmi: kvm,
			}
			for name, text := range tt.files {
				files[name] = text
			}
			root := machine(t, files)
			t.Setenv("INVOCATION_ID", "0123456789abcdef")
			cached := lastboot.Copy{Machine: lastboot.This(root, "eth0"), Fetched: ended, Instance: instanceOf("cached")}
			switch tt.cached {
			case "other":
				cached.Machine.MAC = "02:00:00:00:00:02"
			case "damaged":
				cached.Instance.ID = ""
			}
			if tt.cached != "none" {
				if err := os.MkdirAll(filepath.Join(root, stateDir, ".."), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := lastboot.Save(filepath.Join(root, stateDir), cached); err != nil {
					t.Fatal(err)
				}
			}
			run, _ := newDaemon(root, config.Default())
			if tt.name != "never started" {
				if err := os.MkdirAll(filepath.Join(root, RunDir), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			run.state.Started = ended
			tt.left(run)

			d, _ := newDaemon(root, config.Default())
			err := d.Fallback(t.Context())
			if (err != nil) != (tt.phase == Failed && tt.told) {
				t.Errorf("got the error %v, the state should be %s", err, tt.phase)
			}
			s, err := ReadState(root)
			if tt.phase == "" {
				if !errors.Is(err, os.ErrNotExist) {
					t.Errorf("got a state: %+v, %v", s, err)
				}
			} else if err != nil || s.Phase != tt.phase || !strings.Contains(s.Error, tt.why) || (s.Error == "") != (tt.why == "") {
				t.Errorf("got the state %s, error %q, %v; want %s with %q", s.Phase, s.Error, err, tt.phase, tt.why)
			}
			if tt.phase.end() && tt.name != "it went well, and goes on" && s.Ended == nil {
				t.Error("the state does not say that the run has ended")
			}
			if got := s.Instance; (got == nil) != (tt.seed == "") || got != nil && (got.ID != tt.seed || got.Source != tt.source) {
				t.Errorf("the state has the instance %+v, want %s from %s", got, tt.seed, tt.source)
			}
			var ends int
			for _, step := range s.Steps {
				if step.Name == string(Failed) || step.Name == string(Stopped) {
					ends++
				}
			}
			if failed := tt.phase == Failed; failed != (ends == 1) || ends > 1 {
				t.Errorf("got the steps %+v of a run that is %s", s.Steps, s.Phase)
			}
			text, _ := os.ReadFile(filepath.Join(root, SeedLink, "meta-data"))
			if got := string(text); (got == "") != (tt.seed == "") || !strings.Contains(got, tt.seed) {
				t.Errorf("the seed is %q, want that of %q", got, tt.seed)
			}
			if _, err := os.Stat(filepath.Join(root, "run/systemd/netif/leases/2")); (err == nil) != (tt.seed != "") {
				t.Errorf("the compatibility lease: %v; want one with a seed only", err)
			}
			if Wants(root) != tt.wants {
				t.Errorf("the virtual router is waited for: %t, want %t", !tt.wants, tt.wants)
			}
			console, _ := os.ReadFile(filepath.Join(root, "dev/console"))
			issue, _ := os.ReadFile(filepath.Join(root, issuePath))
			if says := strings.Contains(string(console), tt.why) && strings.Contains(string(issue), tt.why); tt.told && !says {
				t.Errorf("the console and the login prompt do not say %q: %q, %q", tt.why, console, issue)
			} else if !tt.told && len(issue) > 0 {
				t.Errorf("the login prompt says %q", issue)
			}
			if tt.phase == Idle && tt.cached == "this" { // NetworkManager may have the devices again
				if _, err := os.Stat(filepath.Join(root, stateDir, lastboot.File)); err != nil {
					t.Errorf("the cached data is gone: %v", err)
				}
			}
			noSearch, _ := os.ReadFile(filepath.Join(root, RunDir, "private/cloud.cfg"))
			if is := strings.Contains(string(noSearch), "max_wait: 0"); is != (tt.phase == Failed && !tt.looks) {
				t.Errorf("cloud-init is told not to search: %t, the run is %s", is, tt.phase)
			}
			for name, want := range map[string]os.FileMode{RunDir: 0o755, RunDir + "/private": 0o700} {
				if info, err := os.Stat(filepath.Join(root, name)); tt.seed != "" && (err != nil || info.Mode().Perm() != want) {
					t.Errorf("%s: got %v, error %v; want %v", name, info, err, want)
				}
			}
		})
	}
}
