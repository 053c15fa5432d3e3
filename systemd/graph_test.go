package systemd

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCyclesOfStartedUnits(t *testing.T) {
	service := func(lines string) string {
		return "[Unit]\nDefaultDependencies=no\n" + lines + "[Service]\nExecStart=/bin/true\n"
	}
	files := base()
	for name, text := range map[string]string{
		"a.service": service("Before=b.service\n"), "b.service": service("Before=c.service d.service\n"), "c.service": service("Before=a.service\n"), "d.service": service("Before=c.service\n"),
		"x.service": service("After=y.service\n"), "y.service": service("After=x.service\n"), "lone.service": service("Before=lone.service a.service\n"),
	} {
		files[lib+name] = text
	}
	for _, name := range []string{"a.service", "b.service", "c.service", "d.service", "x.service", "lone.service"} {
		files[enabled(name)] = "-> /x/" + name
	}
	u := loadFiles(t, files) // y.service is not started
	if diff := cmp.Diff([]Cycle{{"a.service", "b.service", "c.service"}}, u.Cycles()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if s := u.Cycles()[0].String(); s != "a.service before b.service before c.service before a.service" {
		t.Errorf("got %s, want a.service before b.service before c.service before a.service", s)
	}
}

func TestWithoutDropsWordsOfBefore(t *testing.T) {
	drop := func(word string) bool { return word == "x" || word == "y" }
	for _, tt := range []struct{ name, in, want string }{
		{"nothing", "[Unit]\nBefore=a\n", "[Unit]\nBefore=a\n"},
		{"one of several", "[Unit]\r\nBefore=x a\ty b\r\nAfter=x\r\n", "[Unit]\r\nBefore=a b\nAfter=x\r\n"},
		{"all of a line", "[Unit]\nBefore=x y\nA=b\n", "[Unit]\nA=b\n"},
		{"another section", "[Install]\nBefore=x\n", "[Install]\nBefore=x\n"},
		{"two sections", "[Unit]\nA=b\n[X]\nBefore=x\n[Unit]\n Before = x\n", "[Unit]\nA=b\n[X]\nBefore=x\n[Unit]\n"},
		{"continued over a comment", "[Unit]\nBefore=x \\\n# why\n a \\\n\n y\n", "[Unit]\n# why\nBefore=a\n y\n"},
		{"at the end", "[Unit]\nBefore=a x", "[Unit]\nBefore=a\n"},
		{"open at the end", "[Unit]\nBefore=a x\\", "[Unit]\nBefore=a\n"},
		{"commented out", "[Unit]\n#Before=x\n;Before=y\n", "[Unit]\n#Before=x\n;Before=y\n"},
	} {
		if got := without(tt.in, drop); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestParseUnitFiles(t *testing.T) {
	long := strings.Repeat("nobody.service ", 1000)
	for _, tt := range []struct {
		name, text, key string
		want            []string
	}{
		{"a list", "[Unit]\nAfter=a b\nAfter=\nAfter=c\n", "Unit.After", []string{"a", "b", "c"}},
		{"reset elsewhere", "[Service]\nStateDirectory=a\nStateDirectory=\nStateDirectory=b\n", "Service.StateDirectory", []string{"b"}},
		{"another section", "[Install]\nAfter=a\n[Unit\nAfter=b\n[X-Unit]\nAfter=c\n", "Unit.After", nil},
		{"nothing before a section", "After=a\n[Unit]\n=\nAfter\nAfter b\n", "Unit.After", nil},
		{"continued", "[Unit]\nAfter=a \\\n;x\\\n  b\\\nc\n", "Unit.After", []string{"a", "b", "c"}},
		{"an escaped backslash", "[Unit]\nAfter=a\\\\\nAfter=b\n", "Unit.After", []string{`a\\`, "b"}},
		{"long", "[Unit]\nAfter=" + long + "last.service\nBefore=x\n", "Unit.After", append(strings.Fields(long), "last.service")},
		{"one long word", "[Unit]\nAfter=" + strings.Repeat("x", 5000) + " last\n", "Unit.Before", nil},
		{"not UTF-8", "[Unit]\nAfter=\xff\nAfter=a\n", "Unit.After", []string{"a"}},
	} {
		var got []string
		for _, line := range parse(tt.text).list(tt.key) {
			got = append(got, strings.Fields(line)...)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

func TestUnitNames(t *testing.T) {
	for name, want := range map[string]kind{
		"a.service": plain, "a@.service": template, "a@b.service": instance, "a@b@c.mount": instance, `a\x2db.mount`: plain, "-.mount": plain, "-.slice": plain,
		"": invalid, "a": invalid, ".service": invalid, "@.service": invalid, "@a.service": invalid, "a.conf": invalid, "a b.service": invalid, "a/b.service": invalid,
		"ä.service": invalid, strings.Repeat("a", 250) + ".service": invalid,
	} {
		if got := parseName(name); got.kind != want || want != invalid && got.String() != name {
			t.Errorf("%s: got %+v, want kind %v", name, got, want)
		}
	}
	for text, want := range map[string]string{
		"%n|%N|%p|%P|%i|%I|%j|%J|%f|%%|%": `a-b@c\x20d.service|a-b@c\x20d|a-b|a/b|c\x20d|c d|b|b|/c d|%|%`,
		"%t%S%C%L%E%T%V":                  "/run/var/lib/var/cache/var/log/etc/tmp/var/tmp",
	} {
		if got, ok := expand(text, `a-b@c\x20d.service`); !ok || got != want {
			t.Errorf("%s: got %s, want %s", text, got, want)
		}
	}
	if _, ok := expand("%H", "a.service"); ok {
		t.Error("got %H expanded, want it unknown")
	}
}

// base returns the units that others depend on without saying so.
func base() map[string]string {
	files := map[string]string{
		"default.target":          "-> multi-user.target",
		"multi-user.target":       "[Unit]\nRequires=basic.target\nAfter=basic.target\n",
		"basic.target":            "[Unit]\nRequires=sysinit.target\nAfter=sysinit.target sockets.target paths.target slices.target\nWants=sockets.target timers.target paths.target\n",
		"sysinit.target":          "[Unit]\nDefaultDependencies=no\nWants=local-fs.target\nAfter=local-fs.target\nConflicts=shutdown.target\n",
		"local-fs.target":         "[Unit]\nDefaultDependencies=no\nAfter=local-fs-pre.target\n",
		"timers.target":           "[Unit]\nDefaultDependencies=no\n",
		"shutdown.target":         "[Unit]\nDefaultDependencies=no\n",
		"dbus.socket":             "[Socket]\nListenStream=/run/dbus/s\n",
		"systemd-journald.socket": "[Unit]\nDefaultDependencies=no\nBefore=sockets.target\n[Socket]\nListenDatagram=/run/log\nService=journald.service\n",
	}
	for _, name := range []string{"sockets", "paths", "remote-fs", "network", "network-online", "cloud-init"} {
		files[name+".target"] = "[Unit]\n"
	}
	all := map[string]string{"etc/systemd/system/multi-user.target.wants/cloud-init.target": "-> /usr/lib/systemd/system/cloud-init.target"}
	for name, text := range files {
		all["usr/lib/systemd/system/"+name] = text
	}
	return all
}
