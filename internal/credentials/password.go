package credentials

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/go-crypt/crypt/algorithm/shacrypt"
	"golang.org/x/crypto/scrypt"
)

// CloudStack's own passwords are short: a fast hash of one falls in seconds. This
// scrypt takes 70 ms and 32 MiB, the rounds of [Crypt] take 50 ms.
// See cost.go.
const (
	scryptR  = 8
	scryptP  = 1
	saltSize = 16
	hashSize = 32
)

// maxPassword is what crypt(3) takes: CRYPT_MAX_PASSPHRASE_SIZE without the NUL.
const maxPassword = 511 // bytes

// passwordRecord is what is on disk. A record of earlier versions has Hash alone.
type passwordRecord struct {
	Instance string      `json:"instance-id"`
	Hash     *scryptHash `json:"scrypt,omitempty"`      // of the last one that was applied
	Given    *handedOver `json:"handed-over,omitempty"` // since then; it is not known whether it was applied
	Damaged  bool        `json:"damaged,omitempty"`     // in the place of one that could not be read
}

// handedOver is a password that was handed to cloud-init.
type handedOver struct {
	Hash   scryptHash  `json:"scrypt"`
	User   string      `json:"user"`   // who was to get it
	Before Fingerprint `json:"before"` // of that user's, before it was handed over
	After  Fingerprint `json:"after"`  // of that user's, once it is applied

	First bool `json:"first,omitempty"` // no other one can have been applied before
}

func (s Store) write(r passwordRecord) error { return write(filepath.Join(s.Dir, passwordFile), r) }

func newHash(instance, password string) (*scryptHash, error) {
	h := scryptHash{log: scryptLog, r: scryptR, p: scryptP}
	_, _ = rand.Read(h.salt[:]) // never fails
	hash, err := h.of(instance, password)
	if err != nil {
		return nil, fmt.Errorf("cannot record the password: %w", err)
	}
	copy(h.hash[:], hash)
	return &h, nil
}

// errDamaged is returned for a record that has no password, neither applied nor handed
// over.
var errDamaged = errors.New("it is damaged (it may be removed)")

func (s Store) password(instance string) (r passwordRecord, found bool, err error) {
	path := filepath.Join(s.Dir, passwordFile)
	found, err = read(path, &r)
	if !found || instance == "" || r.Instance != instance {
		return r, false, err
	}
	if err == nil && r.Hash == nil && r.Given == nil {
		err = fmt.Errorf("cannot read %s: %w", path, errDamaged)
	}
	return r, err == nil, err
}

// scryptHash is a hash of an instance and its password, with all that it takes
// to make it again: "$scrypt$ln=15,r=8,p=1$SALT$HASH".
type scryptHash struct {
	log, r, p int
	salt      [saltSize]byte
	hash      [hashSize]byte
}

const scryptForm = "$scrypt$ln=%d,r=%d,p=%d$"

func (h scryptHash) of(instance, password string) ([]byte, error) {
	// The salt has a fixed size, so that one cannot be taken for the other.
	return scrypt.Key([]byte(password), append(h.salt[:], instance...), 1<<h.log, h.r, h.p, hashSize)
}

func (h scryptHash) matches(instance, password string) (bool, error) {
	hash, err := h.of(instance, password)
	if err != nil {
		return false, fmt.Errorf("cannot compare the password: %w", err)
	}
	return subtle.ConstantTimeCompare(hash, h.hash[:]) == 1, nil
}

// MarshalText gives the stored form.
func (h scryptHash) MarshalText() ([]byte, error) {
	return fmt.Appendf(nil, scryptForm+"%s$%s", h.log, h.r, h.p,
		base64.RawStdEncoding.EncodeToString(h.salt[:]), base64.RawStdEncoding.EncodeToString(h.hash[:])), nil
}

var errHash = errors.New("not a hash of ours")

// UnmarshalText takes the stored form only as MarshalText gives it, and only
// with parameters that cost at most 64 MiB and some tenths of a second.
func (h *scryptHash) UnmarshalText(text []byte) error {
	if _, err := fmt.Sscanf(string(text), scryptForm, &h.log, &h.r, &h.p); err != nil {
		return errHash
	}
	if h.log < 10 || h.log > 16 || h.r < 1 || h.r > 8 || h.p < 1 || h.p > 2 {
		return errHash
	}
	parts := strings.Split(string(text), "$")
	if len(parts) != 5 || !decode(h.salt[:], parts[3]) || !decode(h.hash[:], parts[4]) {
		return errHash
	}
	if again, _ := h.MarshalText(); string(again) != string(text) {
		return errHash
	}
	return nil
}

func decode(into []byte, text string) bool {
	data, err := base64.RawStdEncoding.DecodeString(text)
	return err == nil && copy(into, data) == len(into) && len(data) == len(into)
}

// Crypt hashes a password as crypt(5) has it, with SHA-512. cloud-init hands such
// a hash to chpasswd -e as it is. A plain password would stay in its files, and
// those that look like a hash, or are "R", mean something else to it.
func Crypt(password string) (string, error) {
	if password == "" || len(password) > maxPassword || strings.ContainsRune(password, 0) {
		return "", fmt.Errorf("cannot hash the password: it must have 1 to %d bytes, and no NUL", maxPassword)
	}
	hasher, err := shacrypt.New(shacrypt.WithSHA512(), shacrypt.WithIterations(cryptRounds), shacrypt.WithSaltLength(shacrypt.SaltLengthMax))
	if err != nil {
		return "", fmt.Errorf("cannot hash the password: %w", err)
	}
	digest, err := hasher.Hash(password)
	if err != nil {
		return "", fmt.Errorf("cannot hash the password: %w", err)
	}
	return digest.Encode(), nil
}
