package cloudstack

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/nm-cloud-seed/nm-cloud-seed/datasource"
	"github.com/nm-cloud-seed/nm-cloud-seed/datasource/cloudstack/vrtest"
)

// Index and user-data are asked for along with the instance-id, so they may be
// of a moment when the VR did not have the instance yet.
func TestEarlyAnswersAreAskedAgain(t *testing.T) {
	t.Parallel()
	for name, early := range map[string][]vrtest.Fault{
		"404":                  {{Match: vrtest.Path(indexPath), Times: 1, Status: 404}, {Match: vrtest.Path(userDataPath), Times: 1, Status: 404}},
		"empty":                {{Match: vrtest.Path(indexPath), Times: 1, Empty: true}, {Match: vrtest.Path(userDataPath), Times: 1, Empty: true}},
		"index without the id": {{Match: vrtest.Path(indexPath), Times: 1, Body: []byte("service-offering\n")}},
	} {
		inFakeTime(t, name, func(t *testing.T) {
			l, vm := newPipeLab(t, 1), example()
			l.vr(0, vm, early...)
			inst, err := l.crawl()
			if err != nil || string(inst.UserData) != string(vm.UserData) {
				t.Fatalf("got %v, %v, want all of the VM's data", inst, err)
			}
			if diff := cmp.Diff(values(vm), inst.Metadata); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestCrawlKeys(t *testing.T) {
	t.Parallel()
	hider := "x-public-keys-vm-id"
	for _, test := range []struct {
		name     string
		change   func(vm *vrtest.VM)
		faults   []vrtest.Fault
		extra    map[string]string // besides the eleven standard keys
		without  []string
		warnings []string // regular expressions
	}{
		{name: "CloudStack 4.20"},
		{
			name:   "user's keys",
			change: func(vm *vrtest.VM) { vm.Set("role", "db "+secret); vm.Set("cloud-name", "acme") },
			extra:  map[string]string{"role": "db " + secret, "cloud-name": "acme"},
		},
		{
			name: "key of the user hides standard ones",
			change: func(vm *vrtest.VM) {
				vm.Metadata = append([]vrtest.Key{{Name: hider, Value: "v"}}, vm.Metadata...)
			},
			extra: map[string]string{hider: "v"},
		},
		{
			name: "refused key hides standard ones",
			change: func(vm *vrtest.VM) {
				vm.Metadata = append([]vrtest.Key{{Name: "x/public-keys", Value: "v"}}, vm.Metadata...)
			},
			warnings: []string{`^key "x/public-keys" is left out: not a plain name$`},
		},
		{
			name: "only keys of the index",
			change: func(vm *vrtest.VM) {
				vm.Unindexed = []vrtest.Key{{Name: "cloud-domain", Value: "d"}, {Name: "other", Value: "o"}}
			},
		},
		{name: "stale key", change: func(vm *vrtest.VM) { vm.Stale = []string{"gone"} }},
		{
			name:   "key that is not set",
			change: func(vm *vrtest.VM) { vm.Set("public-keys", ""); vm.Set("role", "") },
			extra:  map[string]string{"public-keys": "", "role": ""},
		},
		{
			name: "plain, if strange names",
			change: func(vm *vrtest.VM) {
				for i, name := range strangeNames {
					vm.Set(name, fmt.Sprint(secret, i))
				}
			},
			extra: func() map[string]string {
				all := map[string]string{}
				for i, name := range strangeNames {
					all[name] = fmt.Sprint(secret, i)
				}
				return all
			}(),
		},
		{
			name: "names that are no plain ones",
			change: func(vm *vrtest.VM) {
				for _, name := range []string{"a/b", "..", "esc\x1b[2J", strings.Repeat("n", 200), "\xff\xfe", "cr\r", "c1\u0085"} {
					vm.Metadata = append([]vrtest.Key{{Name: name, Value: secret}}, vm.Metadata...)
				}
			},
			warnings: []string{
				`^key "\.\."`, `^key "\\xff\\xfe"`, `^key "a/b"`,
				`^key "c1\\u0085"`, `^key "cr\\r"`, `^key "esc\\x1b\[2J"`, `^key "n{40}" is left out: not a plain name$`,
			},
		},
		{
			name:     "value over the limit",
			faults:   []vrtest.Fault{{Match: vrtest.Path(indexPath + "public-keys"), Oversize: maxLeaf + 1}},
			without:  []string{"public-keys"},
			warnings: []string{`^key "public-keys" is left out: refused: .* over the limit of 65536`},
		},
		{
			name:     "value that Apache does not serve",
			faults:   []vrtest.Fault{{Match: vrtest.Path(indexPath + "public-keys"), Status: 403}, {Match: vrtest.Path(indexPath + "vm-id"), RedirectTo: userDataPath}},
			without:  []string{"public-keys", "vm-id"},
			warnings: []string{`^key "public-keys" is left out: the answer is HTTP status 403$`, `^key "vm-id" is left out: the answer is HTTP status 302$`},
		},
		{
			name:   "value at the limit",
			change: func(vm *vrtest.VM) { vm.Set("big", strings.Repeat("x", maxLeaf)) },
			extra:  map[string]string{"big": strings.Repeat("x", maxLeaf)},
		},
		{
			name:     "value that is not UTF-8",
			change:   func(vm *vrtest.VM) { vm.Set("latin1", secret+"\xfc\xe4.") },
			extra:    map[string]string{"latin1": secret + "\uFFFD."},
			warnings: []string{`^key "latin1" is not UTF-8`},
		},
	} {
		inFakeTime(t, test.name, func(t *testing.T) {
			l, vm := newPipeLab(t, 1), example()
			want := values(vm)
			if test.change != nil {
				test.change(vm)
			}
			maps.Copy(want, test.extra)
			for _, key := range test.without {
				delete(want, key)
			}
			l.vr(0, vm, test.faults...)
			inst, err := l.crawl()
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, inst.Metadata); diff != "" {
				t.Errorf("metadata (-want +got):\n%s", diff)
			}
			if inst.ID != vmID || string(inst.UserData) != string(vm.UserData) {
				t.Errorf("got ID %q and %d bytes of user-data, want %q and %d", inst.ID, len(inst.UserData), vmID, len(vm.UserData))
			}
			matchAll(t, inst.Warnings, test.warnings)
		})
	}
}

var strangeNames = []string{
	"two words", " space ", "50%", "%2e%2e", "%2F", "why?", "a?b=c", "#1", "a#b", "clé", "日本", "a\\b", "a&b;c", "...", "..a", "a:b", "@", "[::1]", "\u202egnp",
}

func matchAll(t *testing.T, got, want []string) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("got %d warnings, want %d: %q", len(got), len(want), got)
	}
	for i, expression := range want {
		if !regexp.MustCompile(expression).MatchString(got[i]) {
			t.Errorf("warning %q does not match %s", got[i], expression)
		}
	}
}

func TestCrawlTakesALimitedNumberOfKeys(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newPipeLab(t, 1)
		vm := &vrtest.VM{Metadata: []vrtest.Key{{Name: "vm-id-of-mine", Value: "x"}}}
		for i := range 300 {
			vm.Set(fmt.Sprintf("key-%03d", i), fmt.Sprint(i))
		}
		vm.Set("vm-id", vmID)
		vm.Set("instance-id", vmID)
		l.vr(0, vm)
		inst, err := l.crawl()
		if err != nil {
			t.Fatal(err)
		}
		want := values(&vrtest.VM{Metadata: vm.Metadata[:maxKeys]})
		want["instance-id"], want["vm-id"] = vmID, vmID
		if diff := cmp.Diff(want, inst.Metadata); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
		matchAll(t, inst.Warnings, []string{"^keys after the first 256 are left out$"})
	})
}

func TestCrawlUserData(t *testing.T) {
	t.Parallel()
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	_, _ = z.Write([]byte("#!/bin/sh\n"))
	_ = z.Close()
	binary := make([]byte, 700<<10)
	rand.NewChaCha8([32]byte{1}).Read(binary)
	binary[0] = 0
	for _, test := range []struct {
		name string
		data []byte
		vm   func(*vrtest.VR)
	}{
		{name: "plain", data: []byte("#!/bin/sh\r\necho " + secret)},
		{name: "empty"},
		{name: "gzip", data: zipped.Bytes()},
		{name: "binary", data: binary},
		{name: "at the limit", data: bytes.Repeat([]byte("u"), maxUserData)},
		{name: "404", vm: func(vr *vrtest.VR) { vr.SetFaults(vrtest.Fault{Match: vrtest.Path(userDataPath), Status: 404}) }},
	} {
		inFakeTime(t, test.name, func(t *testing.T) {
			l, vm := newPipeLab(t, 1), example()
			vm.UserData = test.data
			vr := l.vr(0, vm)
			if test.vm != nil {
				test.vm(vr)
			}
			inst, err := l.crawl()
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(inst.UserData, test.data) {
				t.Errorf("got %d bytes, want %d, or others", len(inst.UserData), len(test.data))
			}
			if len(inst.Metadata) != 11 {
				t.Errorf("got %d keys, want 11", len(inst.Metadata))
			}
		})
	}
}

// An instance is whole or not there at all.
func TestCrawlFails(t *testing.T) {
	t.Parallel()
	const key = indexPath + "public-keys"
	page := []byte(secret + "\x1b[2J")
	for _, test := range []struct {
		name  string
		fault vrtest.Fault
		is    error
		want  string
	}{
		{"no index", vrtest.Fault{Match: vrtest.Path(indexPath), Status: 404}, datasource.ErrNotReady, "the index does not exist yet"},
		{"empty index", vrtest.Fault{Match: vrtest.Path(indexPath), Empty: true}, datasource.ErrNotReady, "the index is empty"},
		{"index without a plain name", vrtest.Fault{Match: vrtest.Path(indexPath), Body: []byte("../x\n\n")}, datasource.ErrNotReady, "the index is empty"},
		{"index over the limit", vrtest.Fault{Match: vrtest.Path(indexPath), Oversize: maxIndex + 1}, datasource.ErrRefused, "index: refused: .* over the limit of 65536$"},
		{"user-data over the limit", vrtest.Fault{Match: vrtest.Path(userDataPath), Oversize: maxUserData + 1}, datasource.ErrRefused, "user-data: refused: .* over the limit of 2097152$"},
		{"user-data 500", vrtest.Fault{Match: vrtest.Path(userDataPath), Status: 500}, datasource.ErrNotReady, "^user-data: not ready: the answer is HTTP status 500$"},
		{"key 503", vrtest.Fault{Match: vrtest.Path(key), Status: 503}, datasource.ErrNotReady, `^key "public-keys": not ready: the answer is HTTP status 503$`},
		{"key truncated", vrtest.Fault{Match: vrtest.Path(key), Truncate: 30}, nil, `^key "public-keys": cannot read the whole answer: unexpected EOF$`},
		{"user-data truncated", vrtest.Fault{Match: vrtest.Path(userDataPath), Truncate: 16}, nil, "^user-data: cannot read the whole answer: unexpected EOF$"},
		{"key reset", vrtest.Fault{Match: vrtest.Path(key), Reset: true}, nil, `^key "public-keys": (connection reset by peer|EOF)$`},
		{"huge header", vrtest.Fault{Match: vrtest.Path(key), HeaderBytes: 40 << 10}, nil, `^key "public-keys": the answer is not valid HTTP$`},
		{"no length", vrtest.Fault{Match: vrtest.Path(key), NoLength: true}, nil, `^key "public-keys": the answer has no length`},
		{"index without length", vrtest.Fault{Match: vrtest.Path(indexPath), NoLength: true}, nil, `^index: the answer has no length`},
		{"page that says 500", vrtest.Fault{Match: vrtest.Path(key), Body: page, ContentType: "text/html", Truncate: 3}, nil, "unexpected EOF$"},
	} {
		inFakeTime(t, test.name, func(t *testing.T) {
			l := newPipeLab(t, 1)
			l.vr(0, example(), test.fault)
			inst, err := l.crawl()
			if inst != nil || err == nil {
				t.Fatalf("got %v, %v, want an error like %s", inst, err, test.want)
			}
			if !regexp.MustCompile(test.want).MatchString(err.Error()) || test.is != nil && !errors.Is(err, test.is) {
				t.Errorf("got %q, want %q", err, test.want)
			}
		})
	}
}

// The pace of a crawl does not matter here: the VR holds its answers back until
// as many requests are there as may be, which has to happen in every round.
func TestCrawlIsParallel(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const keys = 60
		l, vm := newPipeLab(t, 1), example()
		vm.Metadata = []vrtest.Key{{Name: "instance-id", Value: vmID}}
		for i := range keys {
			vm.Set(fmt.Sprintf("key-%03d", i), secret)
		}
		turn := newBarrier(t)
		vr := l.vr(0, vm, vrtest.Fault{Match: func(r vrtest.Request) bool {
			if name, isKey := strings.CutPrefix(r.Path, indexPath); isKey && name != "" {
				turn.wait(maxConnections)
			} else {
				turn.wait(2) // index and user-data
			}
			return false
		}})
		inst, err := l.crawl()
		if err != nil {
			t.Fatal(err)
		}
		if len(inst.Metadata) != keys+1 || len(inst.UserData) == 0 {
			t.Errorf("got %d keys and %d bytes of user-data, want %d and some", len(inst.Metadata), len(inst.UserData), keys+1)
		}
		if got, most := turn.rounds(), 1+(keys+3)/maxConnections; got > most {
			t.Errorf("got %d round trips, want at most %d", got, most)
		}
		if got := vr.Connections(); got > maxConnections {
			t.Errorf("got %d connections, want at most %d", got, maxConnections)
		}
		if got := len(vr.Requests()); got != keys+2 {
			t.Errorf("got %d requests, want %d", got, keys+2)
		}
		for _, r := range vr.Requests() {
			if r.Client != netip.MustParseAddr("127.0.0.1") || r.Method != "GET" {
				t.Errorf("got %+v, want a GET from 127.0.0.1", r)
			}
		}
	})
}
