//go:build !slow

package testproperties

import "testing"

// sequences are how many are played, over so many policies in each shard.
const (
	sequences = 20_000
	policies  = 64
)

func say(t *testing.T, format string, args ...any) { t.Logf(format, args...) }
