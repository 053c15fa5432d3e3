//go:build integration

package packaging

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// rpmContents is what is in the rpm. Directories that are not listed are those of
// other packages.
const rpmContents = `-rwxr-xr-x 0:0 /etc/cloud/clean.d/50-nm-cloud-seed
Lrwxrwxrwx 0:0 /etc/cloud/cloud.cfg.d/99-nm-cloud-seed.cfg -> /run/nm-cloud-seed/private/cloud.cfg
-rw-r--r-- 0:0 /etc/nm-cloud-seed.conf
drwxr-xr-x 0:0 /etc/nm-cloud-seed.conf.d
-rwxr-xr-x 0:0 /usr/bin/nm-cloud-seed
-rwxr-xr-x 0:0 /usr/lib/NetworkManager/dispatcher.d/50-nm-cloud-seed
drwxr-xr-x 0:0 /usr/lib/nm-cloud-seed
drwxr-xr-x 0:0 /usr/lib/nm-cloud-seed/conf.d
Lrwxrwxrwx 0:0 /usr/lib/systemd/system-generators/nm-cloud-seed-generator -> ../../../bin/nm-cloud-seed
-rw-r--r-- 0:0 /usr/lib/systemd/system/nm-cloud-seed-bus.service
-rw-r--r-- 0:0 /usr/lib/systemd/system/nm-cloud-seed-cleanup.service
-rw-r--r-- 0:0 /usr/lib/systemd/system/nm-cloud-seed-heal.service
-rw-r--r-- 0:0 /usr/lib/systemd/system/nm-cloud-seed-ssh-keys.service
-rw-r--r-- 0:0 /usr/lib/systemd/system/nm-cloud-seed-stages.service
-rw-r--r-- 0:0 /usr/lib/systemd/system/nm-cloud-seed.service
drwxr-xr-x 0:0 /usr/share/bash-completion
drwxr-xr-x 0:0 /usr/share/bash-completion/completions
-rw-r--r-- 0:0 /usr/share/bash-completion/completions/nm-cloud-seed
drwxr-xr-x 0:0 /usr/share/dbus-1/interfaces
-rw-r--r-- 0:0 /usr/share/dbus-1/interfaces/org.nmcloudseed1.xml
-rw-r--r-- 0:0 /usr/share/dbus-1/system-services/org.nmcloudseed1.service
-rw-r--r-- 0:0 /usr/share/dbus-1/system.d/org.nmcloudseed1.conf
drwxr-xr-x 0:0 /usr/share/fish
drwxr-xr-x 0:0 /usr/share/fish/vendor_completions.d
-rw-r--r-- 0:0 /usr/share/fish/vendor_completions.d/nm-cloud-seed.fish
drwxr-xr-x 0:0 /usr/share/licenses/nm-cloud-seed
-rw-r--r-- 0:0 /usr/share/licenses/nm-cloud-seed/LICENSE
-rw-r--r-- 0:0 /usr/share/licenses/nm-cloud-seed/NOTICE
-rw-r--r-- 0:0 /usr/share/man/man5/nm-cloud-seed.conf.5.gz
-rw-r--r-- 0:0 /usr/share/man/man8/nm-cloud-seed-generator.8.gz
-rw-r--r-- 0:0 /usr/share/man/man8/nm-cloud-seed.8.gz
drwxr-xr-x 0:0 /usr/share/zsh
drwxr-xr-x 0:0 /usr/share/zsh/site-functions
-rw-r--r-- 0:0 /usr/share/zsh/site-functions/_nm-cloud-seed
`

// rpmOn is the arguments of rpm at work on a system's files, with its books in
// there. Debian would rather have it done by alien.
func rpmOn(root string, args ...string) []string {
	return append([]string{"--root", root, "--dbpath", "/var/lib/rpm", "--force-debian"}, args...)
}

func TestRPMHasExpectedMetadata(t *testing.T) {
	pkg := rpm(t, runtime.GOARCH)
	for _, tt := range []struct{ query, want string }{
		{"--requires", "/bin/sh\nsystemd >= 252\n(dbus or dbus-1)\nNetworkManager\ncloud-init >= 22.4\n"},
		{"--provides", "nm-cloud-seed = " + version + "-1\n"},
		{"--conflicts", ""},
		{"--obsoletes", ""},
		{"--recommends", ""},
		{"--configfiles", "/etc/cloud/clean.d/50-nm-cloud-seed\n/etc/nm-cloud-seed.conf\n"},
		{"--licensefiles", "/usr/share/licenses/nm-cloud-seed/LICENSE\n/usr/share/licenses/nm-cloud-seed/NOTICE\n"},
		{"--qf=[%{FILENAMES} %{FILEFLAGS:fflags}\n]", rpmFlags()},
		{"--qf=%{SUMMARY}\n", "Seed cloud-init from CloudStack's virtual router over NetworkManager\n"},
		{"--qf=%{LICENSE}\n", licenses(t)},
		{"--qf=%{PAYLOADCOMPRESSOR} %{BUILDHOST}\n", "xz localhost\n"},
		{"--scripts", "postinstall scriptlet (using /bin/sh):\n" + packagingFile(t, "postinst") + "\n" +
			"postuninstall scriptlet (using /bin/sh):\n" + packagingFile(t, "postrm") + "\n"},
	} {
		out, err := run(t, "rpm", "rpm", "-qp", tt.query, pkg)
		if diff := cmp.Diff(tt.want, out); err != nil || diff != "" {
			t.Errorf("rpm -qp %q: %v (-want +got):\n%s", tt.query, err, diff)
		}
	}
	// What has a time has that of the commit.
	out, err := run(t, "rpm", "rpm", "-qp", "--qf=[%{FILEMTIMES} %{=BUILDTIME}\n]", pkg)
	for line := range strings.Lines(out) {
		if times := strings.Fields(line); len(times) != 2 || times[0] != times[1] {
			t.Errorf("a file's time and the build's: got %q, want the same time twice", line)
		}
	}
	if err != nil || out == "" {
		t.Errorf("the times of the files: got %q, %v, want some", out, err)
	}
	if out, err := run(t, "rpm", "rpm", "-K", "--nosignature", pkg); err != nil || !strings.HasSuffix(out, ": digests OK\n") {
		t.Errorf("rpm -K: got %q, %v, want digests OK", out, err)
	}
}

// rpmFlags is the files with what rpm has to know of them: c is a configuration
// file, n that the administrator's stays in its place, l a license.
func rpmFlags() string {
	var b strings.Builder
	for line := range strings.Lines(rpmContents) {
		name, flags := strings.Fields(line)[2], ""
		switch {
		case name == conf || name == cleanPart:
			flags = "cn"
		case strings.HasPrefix(name, "/usr/share/licenses/nm-cloud-seed/"):
			flags = "l"
		}
		fmt.Fprintln(&b, name, flags)
	}
	return b.String()
}

// licenses is those of the copyright file, as rpm writes them: by their SPDX names.
func licenses(t *testing.T) string {
	t.Helper()
	var names []string
	for line := range strings.Lines(packagingFile(t, "copyright")) {
		if list, ok := strings.CutPrefix(strings.TrimSpace(line), "License: "); ok {
			for name := range strings.SplitSeq(list, " and ") {
				name, _, _ = strings.Cut(name, "-Google-")
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	return strings.Join(slices.Compact(names), " AND ") + "\n"
}

func packagingFile(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(top, "packaging", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// What there is in RHEL 9 and in openSUSE Leap 15.6.
var (
	rhel = []string{"/bin/sh", "systemd = 252-46", "dbus = 1:1.12.20-8", "NetworkManager = 1:1.48.10-2", "cloud-init = 23.4-19"}
	suse = []string{"/bin/sh", "systemd = 254.13-1", "dbus-1 = 1.14.10-1", "NetworkManager = 1.38.6-1", "cloud-init = 23.3-1"}
)

// nfpm returns the path of the program that packaging/build uses. `go run` would
// take a second for each of the rpms below.
var nfpm = sync.OnceValues(func() (path string, err error) {
	dir, err := os.MkdirTemp("", "nfpm-") // TestMain removes it
	if err != nil {
		return "", err
	}
	cmd := exec.Command("go", "install", "github.com/goreleaser/nfpm/v2/cmd/nfpm@v2.45.2")
	cmd.Env = append(os.Environ(), "GOBIN="+dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("cannot build nfpm: %w: %s", err, out)
	}
	return filepath.Join(dir, "nfpm"), nil
})

// provides makes an rpm that has no files and provides what is listed.
func provides(t *testing.T, what []string) string {
	t.Helper()
	program, err := nfpm()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	text := "name: provides\narch: all\nversion: 1\nprovides:\n  - " + strings.Join(what, "\n  - ") + "\n"
	if err := os.WriteFile(dir+"/nfpm.yaml", []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := run(t, "", program, "package", "--config", dir+"/nfpm.yaml", "--packager", "rpm", "--target", dir+"/provides.rpm")
	if err != nil {
		t.Fatal(out, err)
	}
	return dir + "/provides.rpm"
}

func TestRPMInstallsOnlyWithItsDependencies(t *testing.T) {
	t.Parallel()
	const needed = " is needed by nm-cloud-seed-" + version
	for _, tt := range []struct {
		what    string
		there   []string
		missing string
	}{
		{"RHEL 9", rhel, ""},
		{"Leap 15.6", suse, ""},
		{"no shell", rhel[1:], "/bin/sh"},
		{"no systemd", append([]string{"/bin/sh"}, rhel[2:]...), "systemd >= 252"},
		{"systemd of RHEL 8", append([]string{"systemd = 239-82", "/bin/sh"}, rhel[2:]...), "systemd >= 252"},
		{"no D-Bus", append([]string{"/bin/sh", "systemd = 252-46"}, rhel[3:]...), "(dbus or dbus-1)"},
		{"no NetworkManager", append([]string{"cloud-init = 23.4-19"}, rhel[:3]...), "NetworkManager"},
		{"no cloud-init", rhel[:4], "cloud-init >= 22.4"},
		{"cloud-init of RHEL 9.2", append([]string{"cloud-init = 22.1-10"}, rhel[:4]...), "cloud-init >= 22.4"},
	} {
		out, err := run(t, "rpm", "rpm", rpmOn(t.TempDir(), "--install", "--test", provides(t, tt.there), rpm(t, runtime.GOARCH))...)
		if tt.missing == "" && (err != nil || out != "") {
			t.Errorf("%s: got %q, %v, want nothing", tt.what, out, err)
		}
		if tt.missing != "" && (err == nil || strings.Count(out, " is needed by ") != 1 || !strings.Contains(out, "\t"+tt.missing+needed)) {
			t.Errorf("%s: got %q, %v, want that %s is needed, and nothing else", tt.what, out, err, tt.missing)
		}
	}
}
