package main

import (
	"maps"
	"os"
	"path/filepath"
	"testing"
)

// Each verdict on a variant passes what is right, and nothing of what is wrong.
func TestVerdictsOnVariantsFindEachDefect(t *testing.T) {
	t.Parallel()
	units := sample(t, "good", nil).text("units") + "\n\n"
	for name, c := range map[string]struct {
		check check
		right map[string]string
		wrong []map[string]string // changed once more
	}{
		"active": {isActive("x.service"), map[string]string{"units": units + "Id=x.service\nActiveState=active\n"},
			[]map[string]string{{"units": units + "Id=x.service\nActiveState=inactive\n"}, {"units": units}}},
		"before": {before("x.service", "y.target"), map[string]string{"units": units + "Id=x.service\nActiveEnterTimestampMonotonic=2\n\nId=y.target\nInactiveExitTimestampMonotonic=2\n"},
			[]map[string]string{
				{"units": units + "Id=x.service\nActiveEnterTimestampMonotonic=3\n\nId=y.target\nInactiveExitTimestampMonotonic=2\n"},
				{"units": units + "Id=x.service\n\nId=y.target\nInactiveExitTimestampMonotonic=2\n"},
				{"units": units + "Id=x.service\nActiveEnterTimestampMonotonic=3\n"},
			}},
		"profile": {connectedBy("static"), map[string]string{"nmcli": "NAME TYPE\nstatic  ethernet  eth0  activated  /x\n"},
			[]map[string]string{{"nmcli": "static  ethernet  eth1  activated  /x\n"}, {"nmcli": "static  ethernet  --  --  /x\n"}, {"nmcli": "not-static  ethernet  eth0  activated  /x\n"}}},
		"journal": {saidBy(`using a b`), map[string]string{journalFile: "[1.0] x[9]: using a b\n"}, []map[string]string{{journalFile: "[1.0] x[9]: using c\n"}}},
		"generated": {generated("generator/x.service"), map[string]string{"generator/x.service": "# Made by nm-cloud-seed-generator(8).\n"},
			[]map[string]string{{"generator/x.service": "# Made by another.\n"}, {"generator/x.service": absent}}},
		"device": {from("eth0"), nil, []map[string]string{
			{"status.json": `{"phase":"ready","instance":{"device":"eth1"}}`}, {"status.json": `{"phase":"ready"}`}, {"status.json": absent}}},
		"firewall": {firewalled, map[string]string{"firewall": "running\n"}, []map[string]string{{"firewall": "not running\n"}, {"firewall": absent}}},
		"resolved": {resolvedAnswers, map[string]string{"resolved": "Global:\nLink 2 (eth0): 10.1.1.1 8.8.8.8\n", "resolv.conf": "nameserver 127.0.0.53\n"},
			[]map[string]string{{"resolved": "Global:\nLink 2 (eth0):\n"}, {"resolved": "Global:\nLink 2 (eth0): 10.1.1.11\n"}, {"resolv.conf": "nameserver 10.1.1.1\n"}}},
		"only links": {onlyLinks, map[string]string{"generator/cloud-init.target.wants/nm-cloud-seed.service": "-> /x\n"},
			[]map[string]string{{"generator/cloud-init.service": "[Unit]\n"}, {"generator.early/cloud-init-network.service": "[Unit]\n"}, {"generator/cloud-init.target.wants/nm-cloud-seed.service": absent}}},
		"mount": {mounted, map[string]string{"data": "/dev/vda ext4\n", "data-marker": "kept\n"},
			[]map[string]string{{"data": "/dev/vda tmpfs\n"}, {"data": absent}, {"data-marker": absent}}},
		"clean": {nothingLeft, map[string]string{"cleaned": "/var/lib/cloud\n/var/lib/cloud/seed\n", "nm-state": "==> internal-1-eth0.lease <==\n"},
			[]map[string]string{{"cleaned": "/var/lib/cloud\n/var/lib/cloud/seed\n/var/lib/cloud/seed/cs\n"}, {"cleaned": "/var/lib/cloud\n/var/lib/nm-cloud-seed\n"}, {"cleaned": absent}, {"clean.stderr": "exit status 1\n"},
				{"nm-state": "==> timestamps <==\n"}, {"cleaned": "/var/lib/cloud\n/var/lib/NetworkManager/internal-1-eth0.lease\n"}}},
		"name alone": {nameOnly, map[string]string{"drop-in": "# x\nfqdn: \"web-1\"\n"},
			[]map[string]string{{"drop-in": "fqdn: \"web-1\"\npassword: x\n"}, {"drop-in": "password: x\n"}, {"drop-in": absent}}},
		"no domain": {noDomain, map[string]string{"fqdn": "web-1\n"}, []map[string]string{{"fqdn": fqdn + "\n"}, {"fqdn": absent}}},
		"unborn":    {unborn, map[string]string{"instance-id": "iid-datasource-none\n"}, []map[string]string{{"instance-id": instance}, {"instance-id": absent}}},
	} {
		finds(t, name, c.check, c.right, c.wrong)
	}
}

// finds has a check find nothing in a good boot with changes, and something with
// each one of more.
func finds(t *testing.T, name string, c check, right map[string]string, wrong []map[string]string) {
	t.Helper()
	if err := c.judge(sample(t, "good", right)); err != nil {
		t.Errorf("%s: %v", name, err)
	}
	for _, change := range wrong {
		changes := maps.Clone(right)
		if changes == nil {
			changes = make(map[string]string)
		}
		maps.Copy(changes, change)
		if c.judge(sample(t, "good", changes)) == nil {
			t.Errorf("%s: nothing found with %q", name, change)
		}
	}
}

func TestRenewedFindsDataOfTheFirstVM(t *testing.T) {
	t.Parallel()
	changes := map[string]string{
		"instance-id": otherInstance, "hostname": otherHostname, "fqdn": otherHostname + "." + domain,
		"authorized-keys": publicKey() + "\n" + otherKey, "runcmd": "executed\nexecuted\n", "host-keys": "new\n",
	}
	for name := range changes {
		some := maps.Clone(changes)
		delete(some, name)
		r := sample(t, "good", some)
		r.previous = sample(t, "good", nil)
		if got := wrong(r, renewed); len(got) == 0 {
			t.Errorf("%s is as before, and nothing found", name)
		}
	}
	r := sample(t, "good", changes)
	if got := wrong(r, renewed); len(got) != 1 || got[0] != "another machine" {
		t.Errorf("without a boot before, %q found something", got)
	}
	r.previous = sample(t, "good", nil)
	if got := wrong(r, renewed); len(got) > 0 {
		t.Errorf("%q found something", got)
	}
}

func TestExaminedComparesProblemsAndWarnings(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][]string{
		`{"checks":[{"name":"a","state":"ok"},{"name":"b.c","state":"info"}]}`:                                          nil,
		`{"checks":[{"name":"a","state":"warning"},{"name":"b.c","state":"skipped"},{"name":"d.e","state":"problem"}]}`: {"warning a", "problem d.e"},
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, doctorJSON), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := examined(dir, want); err != nil {
			t.Error(err)
		}
		if examined(dir, append(want, "problem x")) == nil {
			t.Errorf("%s: what is missing is not missed", text)
		}
		if len(want) > 0 && examined(dir, want[1:]) == nil {
			t.Errorf("%s: what is more is not noticed", text)
		}
	}
	if examined(t.TempDir(), nil) == nil {
		t.Error("there was no examination, and no complaint")
	}
}
