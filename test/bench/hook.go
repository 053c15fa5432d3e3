package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"
)

const (
	hookRuns  = 50
	hookFile  = benchDir + "/50-nm-cloud-seed"
	installed = "/usr/bin/nm-cloud-seed" // by which the hook knows the program
	maxHook   = 10 * time.Millisecond
)

// hookCase is a script in NetworkManager's dispatcher.d at one event.
type hookCase struct {
	name    string
	command []string
	events  []string // the environment that NetworkManager-dispatcher(8) adds
}

// hooks are measured in turn. The first does nothing at all, the last is what asks
// the virtual router each time.
func (w *world) hooks() []hookCase {
	server := w.VRAddr(0).String()
	lease := []string{
		"DEVICE_IP_IFACE=eth0", "DHCP4_IP_ADDRESS=" + w.ClientAddr(0).String(), "DHCP4_SUBNET_MASK=255.255.255.0",
		"DHCP4_ROUTERS=" + server, "DHCP4_DHCP_SERVER_IDENTIFIER=" + server, "DHCP4_DOMAIN_NAME_SERVERS=" + server,
	}
	return []hookCase{
		{"a script that does nothing", []string{"/bin/sh", "-c", "exit 0"}, nil},
		{"the hook, at another event", []string{hookFile, "eth0", "down"}, nil},
		{nothingToDo, []string{hookFile, "eth0", "up"}, lease},
		{"a script that asks with curl", []string{"/bin/sh", "-c", "exec curl --silent --fail http://" + server + "/latest/meta-data/instance-id >/dev/null"}, lease},
	}
}

const nothingToDo = "the hook, at up, with nothing to do"

// measureHook measures the hook after a boot, where nothing has changed.
func (r *results) measureHook(ctx context.Context, w *world, script string) error {
	fmt.Fprintln(os.Stderr, "bench: the dispatcher's hook")
	w.set(keys, 0)
	if _, err := ours.once(ctx, w, false, false); err != nil { // which leaves its state
		return err
	}
	if err := os.WriteFile(hookFile, []byte(strings.ReplaceAll(script, installed, w.binary)), 0o755); err != nil {
		return err
	}
	r.hook = make(map[string][]time.Duration)
	for range hookRuns {
		for _, c := range w.hooks() {
			cmd := w.Command(ctx, c.command[0], c.command[1:]...)
			cmd.Env = append(cmd.Env, c.events...)
			p, err := launch(cmd, false)
			if err != nil {
				return err
			}
			if _, err := p.wait(); err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			r.hook[c.name] = append(r.hook[c.name], p.ended.Sub(p.started))
		}
	}
	return nil
}

func (r *results) hookTable(w *world) *table {
	t := &table{title: "The dispatcher's hook", text: "From fork to exit, medians: what each event of NetworkManager's costs after a boot, where nothing is to be done."}
	t.add("ms", "", "times the one that does nothing")
	all := w.hooks()
	base := newSpread(r.hook[all[0].name])
	for _, c := range all {
		s := newSpread(r.hook[c.name])
		t.add(c.name, s.String(), fmt.Sprintf("%.1f", ratio(s, base)))
	}
	return t
}
