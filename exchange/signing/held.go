package signing

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/cambio-sts/cambio/exchange"
)

// sealPurpose binds what is sealed to its kind of row (S4).
const sealPurpose = "session"

// held is what is sealed, as one piece: no writer of the database can join one
// session's token to another's key.
type held struct {
	TokenHash [sha256.Size]byte `json:"token_hash"` // of the token that callers show
	Subject   string            `json:"subject"`
	Target    string            `json:"target"`
	Snapshot  string            `json:"snapshot"`
	Made      time.Time         `json:"made"` // the snapshot
}

// Hold implements provider.Sessions.
func (d *Desk) Hold(ctx context.Context, s exchange.Session, token, snapshot exchange.Secret) error {
	if token.IsZero() || snapshot.IsZero() || s.ID.IsZero() {
		return errors.New("a session needs an id, a token and what signs")
	}
	err := d.seal(&s, held{
		TokenHash: sha256.Sum256([]byte(token.Reveal())), Subject: s.Subject, Target: s.Target, Snapshot: snapshot.Reveal(), Made: d.o.Now(),
	})
	if err != nil {
		return err
	}
	return d.o.Store.HoldSession(ctx, s)
}

// Held implements provider.Sessions.
func (d *Desk) Held(ctx context.Context, tenant string, id exchange.ID) (exchange.Secret, time.Time, error) {
	s, err := d.o.Store.Session(ctx, tenant, id)
	if err != nil {
		return exchange.Secret{}, time.Time{}, err
	}
	h, err := d.open(&s)
	if err != nil {
		return exchange.Secret{}, time.Time{}, err
	}
	return exchange.NewSecret(h.Snapshot), s.Expires, nil
}

// maxReplacements bounds how often one is tried again because the sealing key
// changes meanwhile, which changes a row and not what it says.
const maxReplacements = 4

// Replace implements provider.Sessions.
func (d *Desk) Replace(ctx context.Context, tenant string, id exchange.ID, was, snapshot exchange.Secret, expires time.Time) (time.Time, error) {
	for range maxReplacements {
		s, err := d.o.Store.Session(ctx, tenant, id)
		if err != nil {
			return time.Time{}, err
		}
		h, err := d.open(&s)
		if err != nil {
			return time.Time{}, err
		}
		if !was.Equal(exchange.NewSecret(h.Snapshot)) {
			return s.Expires, nil // another replica was faster
		}
		old := s.Sealed
		h.Snapshot, h.Made, s.Expires = snapshot.Reveal(), d.o.Now(), expires
		if err := d.seal(&s, h); err != nil {
			return time.Time{}, err
		}
		if replaced, err := d.o.Store.ReplaceSession(ctx, s, old); replaced || err != nil {
			return expires, err
		}
	}
	return time.Time{}, exchange.Fault(exchange.KindUnavailable, "the session changes in this moment; try again", nil)
}

// End implements provider.Sessions.
func (d *Desk) End(ctx context.Context, tenant string, id exchange.ID) error {
	return d.o.Store.EndSession(ctx, tenant, id)
}

func (d *Desk) seal(s *exchange.Session, h held) error {
	plain, err := json.Marshal(h)
	if err != nil {
		return fmt.Errorf("encoding a session: %w", err)
	}
	s.Sealed, err = d.o.Sealer.Seal(sealPurpose, s.ID.String(), plain)
	return err
}

func (d *Desk) open(s *exchange.Session) (held, error) {
	plain, err := d.o.Sealer.Open(sealPurpose, s.ID.String(), s.Sealed)
	if err != nil {
		return held{}, exchange.Fault(exchange.KindInternal, "", err)
	}
	var h held
	if err := json.Unmarshal(plain, &h); err != nil {
		return held{}, exchange.Fault(exchange.KindInternal, "", errors.New("a held session cannot be read"))
	}
	return h, nil
}
