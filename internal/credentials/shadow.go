package credentials

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"regexp"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/nm-cloud-seed/nm-cloud-seed/internal/atomicfile"
)

const (
	shadowFile = "etc/shadow"

	// noteFile is relative to our runtime directory. Its directory is private.
	noteFile = "private/shadow.json"
)

// Fingerprint stands for a user's password field in /etc/shadow. It tells whether the
// field has changed since. The empty one is not known, and is equal to no field.
//
// It is a SHA-256 hash of the field. That adds nothing to what the field gives away to
// whoever reads it: a field of crypt(5) has a salt, and the modern ones many rounds. It
// is kept as the shadow file is, for root only, and only until it is known whether a
// password was applied.
type Fingerprint string

// noPassword is the fingerprint of all fields that no password matches, and of a user that
// does not exist: cloud-init makes its default user with a locked field, and each
// distribution has its own text for that.
const noPassword Fingerprint = "none"

var (
	locked      = regexp.MustCompile(`^[!*]+$`)
	fingerprint = regexp.MustCompile(`^(none|sha256:[0-9a-f]{64})?$`)
)

// FingerprintOf returns that of a field. A password that is locked, "!$6$…", is
// another one than without the "!".
func FingerprintOf(field string) Fingerprint {
	if locked.MatchString(field) {
		return noPassword
	}
	sum := sha256.Sum256([]byte("nm-cloud-seed shadow field\x00" + field))
	return Fingerprint("sha256:" + hex.EncodeToString(sum[:]))
}

// UnmarshalJSON takes only what FingerprintOf returns, or none.
func (f *Fingerprint) UnmarshalJSON(data []byte) error {
	var text string
	if err := json.Unmarshal(data, &text); err != nil {
		return err
	}
	if !fingerprint.MatchString(text) {
		return errors.New("not a fingerprint of ours")
	}
	*f = Fingerprint(text)
	return nil
}

// Shadow has the fingerprints of all users with a password. The zero value knows
// none, and Of returns "" then.
type Shadow struct {
	users map[string]Fingerprint
}

// Of returns the fingerprint of a user's field.
func (s Shadow) Of(user string) Fingerprint {
	switch f, found := s.users[user]; {
	case s.users == nil || user == "":
		return ""
	case found:
		return f
	}
	return noPassword
}

// ReadShadow reads /etc/shadow below root. Where its mode keeps a root without
// capabilities out (0000 in the RHEL family), it reads what NoteShadow has left in
// runDir, our runtime directory below root. No error repeats a part of either file.
func ReadShadow(root, runDir string) (Shadow, error) {
	s, err := readShadow(root)
	if !errors.Is(err, fs.ErrPermission) {
		return s, err
	}
	var note struct {
		Users map[string]Fingerprint `json:"users"`
	}
	switch found, e := read(filepath.Join(runDir, noteFile), &note); {
	case e != nil:
		return Shadow{}, errors.Join(err, e)
	case !found || note.Users == nil:
		return Shadow{}, err
	}
	return Shadow{note.Users}, nil
}

// NoteShadow leaves the fingerprints of /etc/shadow below root in runDir, for a process
// that may not read that file. It leaves nothing where the file's owner may.
func NoteShadow(root, runDir string) error {
	path := filepath.Join(runDir, noteFile)
	if err := atomicfile.Remove(path); err != nil { // of an earlier time
		return err
	}
	var stat unix.Stat_t
	if err := unix.Stat(filepath.Join(root, "/", shadowFile), &stat); err != nil {
		return fmt.Errorf("cannot read /etc/shadow: %w", err)
	}
	if stat.Mode&unix.S_IRUSR != 0 {
		return nil
	}
	s, err := readShadow(root)
	if err != nil {
		return err
	}
	return write(path, struct {
		Users map[string]Fingerprint `json:"users"`
	}{s.users})
}

func readShadow(root string) (Shadow, error) {
	data, _, err := readRegular(unix.AT_FDCWD, filepath.Join(root, "/", shadowFile))
	if err != nil {
		return Shadow{}, fmt.Errorf("cannot read /etc/shadow: %w", err)
	}
	return parseShadow(data), nil
}

// parseShadow leaves out the users without a password, and a second line of a user's,
// which counts for nothing (getspnam(3)).
func parseShadow(data []byte) Shadow {
	s := Shadow{map[string]Fingerprint{}}
	seen := map[string]bool{}
	for line := range bytes.Lines(data) {
		name, rest, ok := strings.Cut(strings.TrimSuffix(string(line), "\n"), ":")
		if !ok || name == "" || seen[name] {
			continue
		}
		seen[name] = true
		field, _, _ := strings.Cut(rest, ":")
		if f := FingerprintOf(field); f != noPassword {
			s.users[name] = f
		}
	}
	return s
}
