//go:build !race

package credentials

const (
	scryptLog   = 15
	cryptRounds = 200_000
)
