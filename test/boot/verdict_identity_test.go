package main

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/nm-cloud-seed/nm-cloud-seed/datasource/cloudstack/vrtest"
)

const (
	early = "2026-11-23T04:00:00Z"
	late  = "2026-11-23T04:00:20Z"
)

func copyAt(fetched, id string) string {
	return `{"machine":{"mac":"02:00:00:00:01:00"},"fetched":"` + fetched + `","instance":{"ID":"` + id + `"}}`
}

func statusAt(fetched, source string) string {
	return `{"phase":"ready","instance":{"instance-id":"` + instance + `","source":"` + source + `","fetched":"` + fetched + `"},"outcome":{"state":"good","instance-id":"` + instance + `"}}`
}

func healUnitIs(properties ...string) string {
	return "Id=nm-cloud-seed-heal.service\n" + strings.Join(properties, "\n") + "\n"
}

func TestVerdictsOnIdentityFindEachDefect(t *testing.T) {
	t.Parallel()
	const (
		vr   = "virtual router"
		last = "copy of the last boot"
		word = "nm-cloud-seed: going on with the data of the last boot\n"
		nics = "NAME  TYPE  DEVICE\ncloud-init eth0  ethernet  eth0  activated  /x\nlo  loopback  lo  activated  /y\n"
	)
	readyAfter := func(microseconds string) string {
		return "Id=nm-cloud-seed.service\nExecMainStartTimestampMonotonic=1000000\nActiveEnterTimestampMonotonic=" + microseconds + "\n"
	}
	ran := []string{"LoadState=loaded", "ActiveState=inactive", "Result=success", "InactiveExitTimestampMonotonic=1"}
	both := `{"phase":"failed","error":"` + instance + ` is not ` + otherInstance + `","instance":{"warnings":["` + instance + `","` + otherInstance + `"]}}`
	for name, c := range map[string]struct {
		check check
		right map[string]string
		wrong []map[string]string
	}{
		"fresh": {fresh, map[string]string{"status.json": statusAt(late, vr), "ours/last-boot.json": copyAt(late, instance), "seed": "status.json\n", "cs/meta-data": instance},
			[]map[string]string{
				{"status.json": statusAt(late, last)}, {"status.json": `{"phase":"failed"}`}, {"status.json": absent},
				{"ours/last-boot.json": copyAt(early, instance)}, {"ours/last-boot.json": copyAt(late, otherInstance)},
				{"ours/last-boot.json": "{}"}, {"ours/last-boot.json": absent},
				{"cs/meta-data": otherInstance}, {"cs/meta-data": absent}, {"seed": "status.json\nwanting\n"}, {"issue.d/nm-cloud-seed.issue": word},
			}},
		"copy": {fromCopy, map[string]string{
			"before/status.json": statusAt(early, last), "before/status": "from the copy of the last boot\n", "before/wanting": "/run/x\n",
			"before/issue.d/nm-cloud-seed.issue": word, journalFile: word, consoleFile: word, "units": readyAfter("16000000"),
		}, []map[string]string{
			{"before/status.json": statusAt(early, vr)}, {"before/status.json": absent},
			{"before/status.json": strings.Replace(statusAt(early, last), `"good"`, `"running"`, 1)}, {"before/status": "ready\n"}, {"before/wanting": absent},
			{"before/issue.d/nm-cloud-seed.issue": absent}, {journalFile: "x\n"}, {consoleFile: "x\n"}, {"units": readyAfter("62000000")}, {"units": readyAfter("15900000")}, {"units": readyAfter("0")},
		}},
		"heal": {healUnit(true), map[string]string{"units": healUnitIs(ran...)}, []map[string]string{
			{"units": healUnitIs(ran[:3]...)}, {"units": healUnitIs(append(ran, "Result=exit-code")...)},
			{"units": healUnitIs(append(ran, "ActiveState=active")...)}, {"units": "Id=x.service\n"},
		}},
		"nothing to heal": {nothingToHeal, map[string]string{"units": healUnitIs(ran[:3]...)}, []map[string]string{{"units": healUnitIs(ran...)}}},
		"stages": {stages(true), map[string]string{journalFile: "[1.0] systemd[1]: Finished nm-cloud-seed-stages.service - x\n"},
			[]map[string]string{{journalFile: "[1.0] nm-cloud-seed[9]: nm-cloud-seed-stages.service\n"}}},
		"no stages":  {stages(false), nil, []map[string]string{{journalFile: "[1.0] systemd[1]: Starting nm-cloud-seed-stages.service - x\n"}}},
		"no process": {nothingResident, map[string]string{"resident": "\n"}, []map[string]string{{"resident": "/usr/bin/nm-cloud-seed heal\n"}, {"resident": absent}}},
		"sshd": {sshdKey, map[string]string{"sshd-key": "127.0.0.1 ssh-ed25519 AAAA\n", "host-keys": "ssh-ed25519 AAAA root@web-1\n"},
			[]map[string]string{{"sshd-key": "127.0.0.1 ssh-ed25519 BBBB\n"}, {"sshd-key": absent}, {"host-keys": absent}}},
		"traced": {traced(true), map[string]string{"traces": "/x\n", "ours/password.json": "{}", dhcpFile: "DHCPREQUEST(vr0) 10.1.1.100\n"},
			[]map[string]string{{"traces": ""}, {"ours/password.json": absent}, {dhcpFile: absent}}},
		"untraced": {traced(false), map[string]string{"traces": "", dhcpFile: "DHCPDISCOVER(vr0)\n"},
			[]map[string]string{{"traces": "/x\n"}, {"traces": absent}, {"traces.stderr": "x"}, {"ours/password.json": "{}"}, {dhcpFile: "DHCPREQUEST(vr0) 10.1.1.100\n"}}},
		"profile": {usualProfile, map[string]string{"nmcli": nics}, []map[string]string{
			{"nmcli": nics + "nm-cloud-seed eth0  ethernet  eth0  activated  /z\n"}, {"nmcli": absent},
			{"nmcli": strings.Replace(nics, "eth0  activated", "--  --", 1)},
		}},
		"refused": {namesBoth, map[string]string{"status.json": both}, []map[string]string{{"status.json": `{"error":"` + instance + `"}`}, {"status.json": absent}}},
		"accepted": {warnsOfBoth, map[string]string{"status.json": both, journalFile: instance + "\n" + otherInstance + "\n"}, []map[string]string{
			{journalFile: instance + "\n"},
			{"status.json": `{"error":"` + instance + otherInstance + `"}`}, {"status.json": statusAt(early, vr)}}},
	} {
		finds(t, name, c.check, c.right, c.wrong)
	}
}

// A copy that is no newer than the boot before's was not made in this one.
func TestFreshDataIsNewerThanThatOfTheBootBefore(t *testing.T) {
	t.Parallel()
	r := sample(t, "good", map[string]string{"status.json": statusAt(late, "virtual router"), "ours/last-boot.json": copyAt(late, instance), "cs/meta-data": instance})
	for fetched, good := range map[string]bool{early: true, late: false} {
		r.previous = sample(t, "good", map[string]string{"ours/last-boot.json": copyAt(fetched, instance)})
		if err := fresh.judge(r); (err == nil) != good {
			t.Errorf("after one of %s: %v", fetched, err)
		}
	}
}

func TestAsAtFirstComparesWithTheBootBeforeTheLast(t *testing.T) {
	t.Parallel()
	r := sample(t, "good", nil)
	if asAtFirst.judge(r) == nil {
		t.Error("there were no boots before, and no complaint")
	}
	r.previous = sample(t, "bug", nil)
	r.previous.previous = sample(t, "good", nil)
	if err := asAtFirst.judge(r); err != nil {
		t.Error(err)
	}
	r.previous.previous = sample(t, "good", map[string]string{"hostname": "db-1\n"})
	if asAtFirst.judge(r) == nil {
		t.Error("it had another host name at first, and no complaint")
	}
}

func TestAwaitEndsAtTheMomentAndNotBefore(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	artifacts, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { artifacts.Close() })
	if err := artifacts.WriteFile(consoleFile, []byte("so far\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	w := &world{artifacts: artifacts, vr: vrtest.New()}
	began := time.Now()
	if err := w.await(t.Context(), ".", moment{console: "far", after: 100 * time.Millisecond}); err != nil || time.Since(began) < 100*time.Millisecond {
		t.Errorf("%v after %v", err, time.Since(began))
	}
	for name, m := range map[string]moment{
		"console": {console: "further"}, "request": {times: 1}, "what follows": {console: "far", after: time.Hour},
	} {
		ctx, cancel := context.WithTimeoutCause(t.Context(), 50*time.Millisecond, errEnded)
		if err := w.await(ctx, ".", m); !errors.Is(err, errEnded) {
			t.Errorf("%s: %v", name, err)
		}
		cancel()
	}
}

var errEnded = errors.New("it has ended")
