package sandbox

import (
	"io"
	"time"
)

// World is what a stand-in knows of the house that it trusts.
type World struct {
	Issuer string        // the federation issuer, to the letter
	Keys   func() []byte // its JWK Set (RFC 7517 §5) as of now
	Now    func() time.Time
	Random io.Reader
}
