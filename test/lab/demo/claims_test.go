package main

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/nm-cloud-seed/nm-cloud-seed/datasource/cloudstack/vrtest"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/daemon"
	"github.com/nm-cloud-seed/nm-cloud-seed/test/judge"
)

var exampleAddr = netip.MustParseAddr("10.1.1.100")

func seededAnswer() judge.Answer {
	str := func(s string) any { return map[string]any{"str": s} }
	return judge.Answer{Facts: map[string]any{
		"instance-id": str(instance),
		"hostname":    str("web-1"),
		"public keys": map[string]any{"list": []any{str("ssh-ed25519 AAAA")}},
		"user-data":   map[string]any{"bytes": "I2Nsb3VkLWNvbmZpZwpwYWNrYWdlczoKLSBuZ2lueAo="},
	}}
}

func seededState() daemon.State {
	return daemon.State{Phase: daemon.Ready, Instance: &daemon.Instance{ID: instance, Keys: 11, UserData: 32}}
}

// checkAnswer is what the demo does with cloud-init's second answer.
func checkAnswer(answer judge.Answer, requests int) error {
	got, err := read(answer)
	if err != nil {
		return err
	}
	return checkSeeded(got, vrtest.Example(instance, exampleAddr), instance, requests)
}

func TestTrueClaimsPass(t *testing.T) {
	for name, err := range map[string]error{
		"stock":  checkStock(judge.Answer{Error: "RuntimeError('No virtual router found!')"}, 0),
		"run":    checkRun(seededState(), vrtest.Example(instance, exampleAddr), instance),
		"seeded": checkAnswer(seededAnswer(), 0),
		"left":   checkLeft(nil, []string{"lo", profile}),
	} {
		if err != nil {
			t.Errorf("%s: got %v, want no error", name, err)
		}
	}
}

func TestWrongClaimsFail(t *testing.T) {
	answer := func(fact string, value any) judge.Answer {
		a := seededAnswer()
		a.Facts[fact] = value
		return a
	}
	state := func(change func(s *daemon.State)) daemon.State {
		s := seededState()
		change(&s)
		return s
	}
	vm := vrtest.Example(instance, exampleAddr)
	for _, tt := range []struct {
		name string
		err  error
		want string
	}{
		{"a datasource before the network", checkStock(seededAnswer(), 0), "before there was a network"},
		{"a request before the network", checkStock(judge.Answer{Error: "x"}, 1), "got 1 requests"},
		{"a failed run", checkRun(state(func(s *daemon.State) { s.Phase = daemon.Failed }), vm, instance), `got phase "failed"`},
		{"a run without an instance", checkRun(state(func(s *daemon.State) { s.Instance = nil }), vm, instance), "did not seed"},
		{"another instance's run", checkRun(state(func(s *daemon.State) { s.Instance.ID = "x" }), vm, instance), `got instance "x"`},
		{"a run that lost a key", checkRun(state(func(s *daemon.State) { s.Instance.Keys = 10 }), vm, instance), "got 10 keys"},
		{"no datasource after the run", checkAnswer(judge.Answer{Error: "nothing"}, 0), "got nothing"},
		{"another instance", checkAnswer(answer("instance-id", map[string]any{"str": "x"}), 0), "instance:x"},
		{"no host name", checkAnswer(answer("hostname", map[string]any{"NoneType": "None"}), 0), "cloud-init's hostname"},
		{"no keys", checkAnswer(answer("public keys", map[string]any{"list": []any{}}), 0), "keys:0"},
		{"failed keys", checkAnswer(answer("public keys", map[string]any{"error": "x"}), 0), "cloud-init's public keys"},
		{"shorter user-data", checkAnswer(answer("user-data", map[string]any{"str": "#!"}), 0), "userData:2"},
		{"a crawl beside the seed", checkAnswer(seededAnswer(), 13), "got 13 requests"},
		{"a process", checkLeft([]string{"/proc/7/exe"}, nil), "/proc/7/exe"},
		{"a connection", checkLeft(nil, []string{"lo", "nm-cloud-seed eth0"}), "nm-cloud-seed eth0"},
	} {
		if tt.err == nil || !strings.Contains(tt.err.Error(), tt.want) {
			t.Errorf("%s: got error %v, want one with %q", tt.name, tt.err, tt.want)
		}
	}
}
