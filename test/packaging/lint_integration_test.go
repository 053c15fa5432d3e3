//go:build integration

package packaging

import (
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// notTold is what only Debian 12's lintian says, of any package with a service
// that sysvinit has no script for. Later ones do not know it, and an override of
// it in the package would be an error to them.
const notTold = "I: nm-cloud-seed: package-supports-alternative-init-but-no-init.d-script "

// Every other exception is in packaging/lintian-overrides, with its reason.
func TestLintianReportsNothing(t *testing.T) {
	t.Parallel()
	out, err := run(t, "lintian", "lintian", "--allow-root", "--no-cfg", "--display-info", deb(t, runtime.GOARCH))
	if err != nil {
		t.Errorf("lintian: got %v, want success", err)
	}
	for line := range strings.Lines(out) {
		if !strings.HasPrefix(line, notTold) {
			t.Errorf("lintian: got %q, want nothing", line)
		}
	}
}

func TestShellcheckAcceptsPackagingScripts(t *testing.T) {
	t.Parallel()
	var scripts []string
	for _, name := range []string{"postinst", "postrm", "clean", "build", "version"} {
		scripts = append(scripts, filepath.Join(top, "packaging", name))
	}
	if out, err := run(t, "shellcheck", "shellcheck", append([]string{"--shell=sh"}, scripts...)...); err != nil {
		t.Errorf("got %v\n%s, want success", err, out)
	}
}

// What has to be in them, cmd/nm-cloud-seed knows.
func TestMandocAcceptsManualPages(t *testing.T) {
	pages, _ := filepath.Glob(top + "/docs/man/*")
	if len(pages) == 0 {
		t.Fatal("got no manual page in docs/man, want some")
	}
	if out, err := run(t, "mandoc", "mandoc", append([]string{"-T", "lint", "-W", "warning"}, pages...)...); err != nil {
		t.Errorf("got %v\n%s, want success", err, out)
	}
}
