package oci

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/provider"
)

// signingDriver is a driver whose target holds signing sessions for those who send
// no key (S25).
type signingDriver struct {
	*driver
	sessions provider.Sessions
	keys     *keyring
}

// sessionValue is what a caller gets of a session, as JSON.
type sessionValue struct {
	Session string `json:"session"`
	Token   string `json:"token"` // goes with each request to sign
	Region  string `json:"region"`
	Tenancy string `json:"tenancy,omitempty"`
	Expires string `json:"expires_at"`
}

// Vend makes a session for a caller who sends no key, and serves others as ever.
func (d *signingDriver) Vend(ctx context.Context, g exchange.Grant) (exchange.Credential, error) {
	switch {
	case g.Type == TokenTypeSession && len(g.PublicKey) > 0:
		return exchange.Credential{}, exchange.Fault(exchange.KindInvalidRequest, "a signing session has a key of its own: leave public_key out", nil)
	case len(g.PublicKey) > 0, g.Type != "" && g.Type != TokenTypeSession:
		return d.driver.Vend(ctx, g)
	}
	key, err := d.keys.take(ctx)
	if err != nil {
		return exchange.Credential{}, err
	}
	w, err := d.wish(&g)
	if err != nil {
		return exchange.Credential{}, err
	}
	t, err := d.obtain(ctx, w, &key.PublicKey)
	if err != nil {
		return exchange.Credential{}, err
	}
	held, err := d.seize(key, t, w.identity)
	if err != nil {
		return exchange.Credential{}, err
	}
	id, err := exchange.NewID(d.now(), d.random)
	if err != nil {
		return exchange.Credential{}, err
	}
	secret := make([]byte, 32)
	if _, err := io.ReadFull(d.random, secret); err != nil {
		return exchange.Credential{}, fmt.Errorf("making a session's token: %w", err)
	}
	token := exchange.NewSecret(base64.RawURLEncoding.EncodeToString(secret))
	session := exchange.Session{
		ID: id, Tenant: g.Target.Tenant, Exchange: g.Exchange, Target: g.Target.Name, Subject: g.Subject.Name, Expires: t.expires,
	}
	if err := d.sessions.Hold(ctx, session, token, held); err != nil {
		return exchange.Credential{}, exchange.Fault(exchange.KindUnavailable, "the session could not be kept; try again",
			fmt.Errorf("holding a signing session: %w", err))
	}
	text, err := json.Marshal(sessionValue{
		Session: id.String(), Token: token.Reveal(), Region: d.settings.Region, Tenancy: d.tenancy(t), Expires: t.expires.UTC().Format(time.RFC3339),
	})
	if err != nil {
		return exchange.Credential{}, fmt.Errorf("writing the credential: %w", err)
	}
	return exchange.Credential{
		Value: exchange.NewSecret(string(text)), TokenType: "N_A", IssuedType: TokenTypeSession,
		Issued: g.Now, Expires: t.expires, Handle: t.handle, Lease: id, RevokeWith: exchange.NewSecret(revokes + id.String()),
	}, nil
}

// revokes begins what a session's lease keeps for its revocation.
const revokes = "session "

// Revoke ends a session: whoever holds it has neither key nor token.
func (d *signingDriver) Revoke(ctx context.Context, target *exchange.Target, revokeWith exchange.Secret) error {
	id, err := sessionOf(revokeWith)
	if err != nil {
		return err
	}
	return d.sessions.End(ctx, target.Tenant, id)
}

func sessionOf(revokeWith exchange.Secret) (exchange.ID, error) {
	id, err := exchange.ParseID(strings.TrimPrefix(revokeWith.Reveal(), revokes))
	if err != nil {
		return id, fmt.Errorf("what revokes the session is not its id: %w", err)
	}
	return id, nil
}
