package vault

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"time"

	"github.com/hashicorp/vault/api"

	cambio "github.com/cambio-sts/cambio/clients/go"
)

// Reader reads the secret of a target: a value, a lease, or what a wrapping token wraps.
// It is safe for concurrent use.
type Reader struct {
	source *cambio.TokenSource
	client *api.Client
	turn   chan struct{} // who looks at held, and unwraps
	held   *held
}

// held is the secret read last, and of what.
type held struct {
	of     *cambio.Credential
	secret *api.Secret
	until  time.Time
}

// NewReader makes a reader. client is one of the Vault that the target is in, with its
// address and namespace; it is asked for nothing but to unwrap, and its token is not
// used. nil: the target wraps nothing.
func NewReader(source *cambio.TokenSource, client *api.Client) *Reader {
	return &Reader{source: source, client: client, turn: make(chan struct{}, 1)}
}

// Read is the secret that is good at this moment; LeaseDuration is what is left of it.
// A wrapping token is good for one call, and is used once, however many ask; what was in
// it is served until it ends, also while Vault or the server are down. The secret is the
// caller's to change, save for what is nested in its fields.
func (r *Reader) Read(ctx context.Context) (*api.Secret, error) {
	credential, err := r.source.Credential(ctx)
	if err != nil {
		return nil, err
	}
	select {
	case r.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if r.held != nil && r.held.of == credential {
		defer func() { <-r.turn }()
		return r.copy(), nil
	}
	// A wrapping token is used up by the first call, so that one goes on when ctx ends:
	// others wait for it.
	type result struct {
		secret *api.Secret
		err    error
	}
	done := make(chan result, 1)
	go func() {
		defer func() { <-r.turn }()
		next, err := r.open(context.WithoutCancel(ctx), credential)
		switch {
		case err == nil:
			r.held = next
		case r.held == nil || !r.source.Now().Before(r.held.until):
			done <- result{err: err}
			return
		}
		done <- result{secret: r.copy()}
	}()
	select {
	case got := <-done:
		return got.secret, got.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// copy is what is held, for a caller who may change it. The turn is the caller's.
func (r *Reader) copy() *api.Secret {
	secret := *r.held.secret
	secret.Data = maps.Clone(secret.Data)
	secret.LeaseDuration = max(0, int(r.held.until.Sub(r.source.Now())/time.Second))
	return &secret
}

func (r *Reader) open(ctx context.Context, c *cambio.Credential) (*held, error) {
	if c.IssuedTokenType != cambio.TokenTypeVaultWrapping {
		secret, err := Read(c, r.source.Now())
		return &held{of: c, secret: secret, until: c.Expires}, err
	}
	secret, err := r.unwrap(ctx, c.Value)
	var answer *api.ResponseError
	if errors.As(err, &answer) && (answer.StatusCode == http.StatusBadRequest || answer.StatusCode == http.StatusForbidden) {
		// It was used, or lay too long. Another one is to be had.
		if c, err = r.source.Renew(ctx, c.Value); err != nil {
			return nil, err
		}
		if c.IssuedTokenType != cambio.TokenTypeVaultWrapping {
			return r.open(ctx, c)
		}
		secret, err = r.unwrap(ctx, c.Value)
	}
	if err != nil {
		return nil, err
	}
	until := c.Expires
	if lease := time.Duration(secret.LeaseDuration) * time.Second; lease > 0 && secret.LeaseID != "" {
		if end := r.source.Now().Add(lease); end.Before(until) {
			until = end
		}
	}
	secret.Renewable = false // as in Read
	return &held{of: c, secret: secret, until: until}, nil
}

// unwrap uses up a wrapping token, by a client of its own: a client that has no token
// would keep this one.
func (r *Reader) unwrap(ctx context.Context, token cambio.Secret) (*api.Secret, error) {
	if r.client == nil {
		return nil, errors.New("vault: the target gives a wrapping token: give NewReader a client of that Vault")
	}
	client, err := strict(r.client)
	if err != nil {
		return nil, err
	}
	client.SetToken(token.Reveal())
	secret, err := client.Logical().UnwrapWithContext(ctx, "")
	if err == nil && secret == nil {
		return nil, errors.New("vault: nothing was in the wrapping token")
	}
	return secret, err
}
