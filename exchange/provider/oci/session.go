package oci

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
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

// snapshot is what signs: a key and the token that names it, made together, kept
// together and never changed.
type snapshot struct {
	Token string `json:"token"`
	Key   string `json:"key"` // PKCS #8, base64
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
	t, err := d.obtain(ctx, &g, &key.PublicKey)
	if err != nil {
		return exchange.Credential{}, err
	}
	held, err := seize(key, t)
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

func seize(key *rsa.PrivateKey, t token) (exchange.Secret, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return exchange.Secret{}, fmt.Errorf("encoding a session's key: %w", err)
	}
	text, err := json.Marshal(snapshot{Token: t.text.Reveal(), Key: base64.StdEncoding.EncodeToString(der)})
	if err != nil {
		return exchange.Secret{}, fmt.Errorf("encoding a session: %w", err)
	}
	return exchange.NewSecret(string(text)), nil
}

// release undoes seize.
func release(held exchange.Secret) (keyID string, key *rsa.PrivateKey, err error) {
	var s snapshot
	if json.Unmarshal([]byte(held.Reveal()), &s) != nil || s.Token == "" {
		return "", nil, errors.New("a held session cannot be read")
	}
	der, err := base64.StdEncoding.DecodeString(s.Key)
	if err != nil {
		return "", nil, errors.New("a held session's key cannot be read")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	key, ok := parsed.(*rsa.PrivateKey)
	if err != nil || !ok {
		return "", nil, errors.New("a held session's key is no RSA key")
	}
	return "ST$" + s.Token, key, nil
}

// revokes begins what a session's lease keeps for its revocation.
const revokes = "session "

// Revoke ends a session: whoever holds it has neither key nor token.
func (d *signingDriver) Revoke(ctx context.Context, target *exchange.Target, revokeWith exchange.Secret) error {
	id, err := exchange.ParseID(strings.TrimPrefix(revokeWith.Reveal(), revokes))
	if err != nil {
		return fmt.Errorf("what revokes the session is not its id: %w", err)
	}
	return d.sessions.End(ctx, target.Tenant, id)
}

// keyring makes keys ahead of time, one in stock: a key of 2048 bits takes a tenth of
// a second, more or less.
type keyring struct {
	stock chan *rsa.PrivateKey
	busy  chan struct{} // one is being made for the stock
}

// sessionBits is the size of a session's key.
const sessionBits = 2048

func newKeyring() *keyring {
	return &keyring{stock: make(chan *rsa.PrivateKey, 1), busy: make(chan struct{}, 1)}
}

// take returns a key that nobody else has.
func (k *keyring) take(ctx context.Context) (*rsa.PrivateKey, error) {
	defer k.refill()
	select {
	case key := <-k.stock:
		return key, nil
	default:
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	key, err := rsa.GenerateKey(rand.Reader, sessionBits)
	if err != nil {
		return nil, fmt.Errorf("making a session's key: %w", err)
	}
	return key, nil
}

// refill makes one key in the background, unless one is being made.
func (k *keyring) refill() {
	select {
	case k.busy <- struct{}{}:
	default:
		return
	}
	go func() {
		defer func() { <-k.busy }()
		key, err := rsa.GenerateKey(rand.Reader, sessionBits)
		if err != nil {
			return // the next session makes its own, and says so
		}
		select {
		case k.stock <- key:
		default:
		}
	}()
}
