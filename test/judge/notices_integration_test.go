//go:build integration

package judge_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/nm-cloud-seed/nm-cloud-seed/datasource/cloudstack/vrtest"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/daemon"
	"github.com/nm-cloud-seed/nm-cloud-seed/test/judge"
)

// A comparison that never fails proves nothing: it finds each changed byte of the seed.
func TestOneWrongByteInSeedIsADifference(t *testing.T) {
	both := func(fact, key string) []string { return []string{fact, "metadata " + key} }
	wrong := []struct {
		name, file, old, new string
		want                 []string
	}{
		{"instance-id", "meta-data", `"instance-id": "7`, `"instance-id": "8`, both("instance-id", "instance-id")},
		{"hostname", "meta-data", `"web.example`, `"wec.example`, []string{"FQDN", "hostname", "metadata local-hostname"}},
		{"domain", "meta-data", `"web.example.org`, `"web.example.orf`, both("FQDN", "local-hostname")},
		{"key", "meta-data", "a@example.org", "b@example.org", []string{"metadata public-keys", "public keys"}},
		{"zone", "meta-data", `"zone-1"`, `"zone-2"`, both("availability zone", "availability-zone")},
		{"number", "meta-data", `"number": "0123"`, `"number": 0123`, []string{"metadata number"}},
		{"word", "meta-data", `"word": "yes"`, `"word": yes`, []string{"metadata word"}},
		{"empty", "meta-data", `"empty": ""`, `"empty": ~`, []string{"metadata empty"}},
		{"blank at the end", "meta-data", `"blank": "a "`, `"blank": "a"`, []string{"metadata blank"}},
		{"one key less", "meta-data", "\n  \"blank\": \"a \",", "", []string{"metadata blank"}},
		{"one key more", "meta-data", "{\n", "{\n  \"more\": \"\",\n", []string{"metadata more"}},
		{"another line", "meta-data", `["one", "two"]`, `["one", "two", "three"]`, []string{"metadata lines"}},
		{"user-data", "user-data", "\x80", "\x81", []string{"user-data", "user-data parts"}},
		{"user-data's end", "user-data", "\xff", "\xff\n", []string{"user-data", "user-data parts"}},
	}
	releases(t, func(t *testing.T, b *bench) {
		vm := vrtest.Example(instance, b.ClientAddr(0))
		set("local-hostname", "web.example.org", "public-keys", keyA, "number", "0123", "word", "yes", "empty", "",
			"blank", "a ", "lines", "one\ntwo")(vm)
		vm.UserData = everyByte()
		b.vr.SetVM(b.ClientAddr(0), vm)
		crawl := b.crawl(t)
		differing := func() (what []string) {
			for _, d := range judge.Compare(crawl, b.seed(t)) {
				what = append(what, d.What)
			}
			return what
		}
		b.write(t)
		if what := differing(); what != nil {
			t.Fatalf("the right seed: got differences in %q, want none", what)
		}
		for _, w := range wrong {
			b.write(t)
			name := filepath.Join(daemon.SeedLink, w.file)
			data, err := os.ReadFile(name)
			if err != nil || bytes.Count(data, []byte(w.old)) != 1 {
				t.Fatalf("%s: got %d times %q, %v, want it once", w.name, bytes.Count(data, []byte(w.old)), w.old, err)
			}
			data = bytes.Replace(data, []byte(w.old), []byte(w.new), 1)
			if err := os.WriteFile(name, data, 0o600); err != nil {
				t.Fatal(err)
			}
			if what := differing(); !slices.Equal(what, w.want) {
				t.Errorf("%s: got differences in %q, want them in %q", w.name, what, w.want)
			}
		}
		// Without a seed, cloud-init must be seen to crawl: else everything
		// above would be the crawl compared with itself.
		b.write(t)
		if err := os.Remove(filepath.Join(daemon.SeedLink, "user-data")); err != nil {
			t.Fatal(err)
		}
		if _, asked := b.readSeed(t); asked == 0 {
			t.Error("with half of the seed: got no request to the virtual router, want some")
		}
	})
}
