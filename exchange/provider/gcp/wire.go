package gcp

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/provider"
)

// wire is the way to Google.
type wire struct {
	client *http.Client
	now    func() time.Time
}

// form posts a form without an Authorization header, which the Security Token
// Service does not want.
func (w wire) form(ctx context.Context, to string, form url.Values, reason string, answer any) error {
	r, err := provider.PostForm(ctx, to, form)
	if err != nil {
		return err
	}
	return w.ask(r, reason, answer)
}

// json posts JSON with a bearer.
func (w wire) json(ctx context.Context, to string, bearer exchange.Secret, request any, reason string, answer any) error {
	r, err := provider.PostJSON(ctx, to, request)
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer "+bearer.Reveal())
	return w.ask(r, reason, answer)
}

// ask reads a refusal by Google's own words, whatever its status.
func (w wire) ask(r *http.Request, reason string, answer any) error {
	r.Header.Set("X-Goog-Request-Reason", reason)
	a, err := provider.Ask(w.client, r, w.now)
	switch {
	case a == nil:
		return err
	case a.Status != http.StatusOK:
		return readRefusal(r.URL.Path, a)
	}
	return a.Decode(answer)
}

// expiryOf reads a JWT's `exp` and verifies nothing: the token came over TLS from who
// signed it, and is for another to verify.
func expiryOf(token exchange.Secret) (time.Time, error) {
	_, rest, _ := strings.Cut(token.Reveal(), ".")
	payload, _, signed := strings.Cut(rest, ".")
	plain, err := base64.RawURLEncoding.DecodeString(payload)
	var claims struct {
		Expires int64 `json:"exp"`
	}
	if !signed || err != nil || json.Unmarshal(plain, &claims) != nil || claims.Expires <= 0 || claims.Expires > 1<<40 {
		return time.Time{}, errors.New("the answer holds no JWT that says when it expires")
	}
	return time.Unix(claims.Expires, 0), nil
}
