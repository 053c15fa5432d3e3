//go:build integration

package credentials

import (
	"errors"
	"os/exec"
	"strings"
	"testing"
)

// TestCryptAgreesWithLibrary checks that crypt(3) makes the same hash of the same
// password.
func TestCryptAgreesWithLibrary(t *testing.T) {
	t.Parallel()
	for _, password := range cryptPasswords() {
		want, err := Crypt(password)
		must(t, err)
		cmd := exec.CommandContext(t.Context(), "perl", "-e", `local $/; print crypt(<STDIN>, $ARGV[0])`, want)
		cmd.Stdin = strings.NewReader(password)
		got, err := cmd.Output()
		if errors.Is(err, exec.ErrNotFound) {
			t.Fatal("perl is missing: install the package perl-base")
		}
		if err != nil || string(got) != want {
			t.Errorf("%q: crypt(3) makes %q, error %v, want %q", password, got, err, want)
		}
	}
}
