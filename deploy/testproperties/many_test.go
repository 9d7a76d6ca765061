//go:build slow

package testproperties

import (
	"fmt"
	"testing"
)

// sequences are how many are played, over so many policies in each shard.
const (
	sequences = 1_000_000
	policies  = 512
)

// say tells whoever waits, too.
func say(t *testing.T, format string, args ...any) {
	t.Logf(format, args...)
	fmt.Printf(format+"\n", args...)
}
