package issuer

import (
	"context"
	"time"
)

// Keys is where signing keys are kept, sealed. The store implements it.
type Keys interface {
	// ListKeys returns every key row, of all purposes, oldest first.
	ListKeys(ctx context.Context) ([]SealedKey, error)
	// AddKey inserts a key if the newest key of its purpose is still the one named
	// after (empty: none); false means that another replica was first.
	AddKey(ctx context.Context, k SealedKey, after string) (bool, error)
	// RetireKey deletes a key that has expired.
	RetireKey(ctx context.Context, purpose, kid string) error
}

// SealedKey is a row of the keys table. Both halves of the key are inside Sealed,
// under (purpose, kid) (S4): a row that someone else wrote does not open.
type SealedKey struct {
	Purpose   string // access or federation
	KeyID     string
	Algorithm string
	Sealed    []byte
	PublishAt time.Time // in the JWKS from here
	SignAt    time.Time // signs from here, until a newer one does
	RetireAt  time.Time // out of the JWKS; zero until a newer key signs
}
