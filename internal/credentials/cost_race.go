//go:build race

package credentials

// With the race detector, which only tests use, hashes take twenty times as long.
const (
	scryptLog   = 10
	cryptRounds = 10_000
)
