package issuer

import (
	"context"
	"time"

	"github.com/cambio-sts/cambio/exchange"
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

// Custody is what a person may do with the keys besides. The store implements it.
type Custody interface {
	Keys
	// ChangeKeys does all of a change in one transaction, or nothing of it; false
	// means that the newest key of the purpose is another by now.
	ChangeKeys(ctx context.Context, c KeyChange) (bool, error)
	// ReplaceSealed puts sealed in the place of old, if that is what the row still
	// holds; false means that it does not.
	ReplaceSealed(ctx context.Context, purpose, kid string, old, sealed []byte) (bool, error)
}

// KeyChange is a change of one purpose's keys, with the event that tells of it.
type KeyChange struct {
	Add    SealedKey
	After  string   // the newest key of Add's purpose; empty: none
	Remove []string // ids of keys of Add's purpose
	Event  exchange.Event
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
