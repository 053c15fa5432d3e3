package main

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/nm-cloud-seed/nm-cloud-seed/datasource/cloudstack/vrtest"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/daemon"
	"github.com/nm-cloud-seed/nm-cloud-seed/test/judge"
)

// What the demo claims. Each function returns the error of a claim that is wrong.

// checkStock wants the stock order to end without a datasource, and without a
// request to the virtual router.
func checkStock(answer judge.Answer, requests int) error {
	switch {
	case answer.Error == "":
		return fmt.Errorf("cloud-init has found a datasource before there was a network: got instance %v, want an error", answer.Facts["instance-id"])
	case requests != 0:
		return fmt.Errorf("cloud-init has asked the virtual router before there was a network: got %d requests, want none", requests)
	}
	return nil
}

// checkRun wants the run to have seeded the whole VM.
func checkRun(state daemon.State, vm *vrtest.VM, instance string) error {
	seeded := state.Instance
	switch {
	case state.Phase != daemon.Ready || seeded == nil:
		return fmt.Errorf("nm-cloud-seed run did not seed: got phase %q (%s), want %q", state.Phase, state.Text, daemon.Ready)
	case seeded.ID != instance:
		return fmt.Errorf("nm-cloud-seed run: got instance %q, want %q", seeded.ID, instance)
	case seeded.Keys != len(vm.Metadata) || seeded.UserData != len(vm.UserData):
		return fmt.Errorf("nm-cloud-seed run: got %d keys and %d bytes of user-data, want %d and %d",
			seeded.Keys, seeded.UserData, len(vm.Metadata), len(vm.UserData))
	}
	return nil
}

// applied is what cloud-init goes on with.
type applied struct {
	instance, hostname string
	keys, userData     int
}

// read returns what cloud-init's answer says.
func read(answer judge.Answer) (a applied, err error) {
	if answer.Error != "" {
		return a, fmt.Errorf("cloud-init has found no datasource after the run: got %s", answer.Error)
	}
	var bad []error
	fact := func(name string) string {
		value, ok := text(answer.Facts[name])
		if !ok {
			bad = append(bad, fmt.Errorf("cloud-init's %s: got %v", name, answer.Facts[name]))
		}
		return value
	}
	a.instance = fact("instance-id")
	a.hostname = fact("hostname")
	a.userData = len(fact("user-data"))
	keys, ok := answer.Facts["public keys"].(map[string]any)
	list, isList := keys["list"].([]any)
	if !ok || !isList {
		bad = append(bad, fmt.Errorf("cloud-init's public keys: got %v", answer.Facts["public keys"]))
	}
	a.keys = len(list)
	return a, errors.Join(bad...)
}

// text returns the worker's {"str": …} or {"bytes": …}.
func text(v any) (string, bool) {
	m, _ := v.(map[string]any)
	if s, ok := m["str"].(string); ok {
		return s, true
	}
	s, _ := m["bytes"].(string)
	b, err := base64.StdEncoding.DecodeString(s)
	return string(b), err == nil && s != ""
}

// checkSeeded wants cloud-init to have read the seed, and nothing else.
func checkSeeded(a applied, vm *vrtest.VM, instance string, requests int) error {
	var hostname string
	for _, k := range vm.Metadata {
		if k.Name == "local-hostname" {
			hostname, _, _ = strings.Cut(k.Value, ".")
		}
	}
	if want := (applied{instance, hostname, 1, len(vm.UserData)}); a != want {
		return fmt.Errorf("cloud-init has read the seed: got %+v, want %+v", a, want)
	}
	if requests != 0 {
		return fmt.Errorf("cloud-init has asked the virtual router beside the seed: got %d requests, want none", requests)
	}
	return nil
}

// checkLeft wants nothing of the run to be left.
func checkLeft(processes, connections []string) error {
	if len(processes) != 0 {
		return fmt.Errorf("nm-cloud-seed left processes: got %q, want none", processes)
	}
	for _, name := range connections {
		if strings.HasPrefix(name, "nm-cloud-seed") {
			return fmt.Errorf("nm-cloud-seed left a connection: got %q, want none of its own", connections)
		}
	}
	return nil
}
