package gcp

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/cambio-sts/cambio/exchange"
)

// maxAnswer bounds an answer in bytes: a federated token has up to 12 KiB.
const maxAnswer = 64 << 10

// wire is the way to Google.
type wire struct {
	client *http.Client
	now    func() time.Time
}

// form posts a form without an Authorization header, which the Security Token
// Service does not want.
func (w wire) form(ctx context.Context, to string, form url.Values, reason string, answer any) error {
	return w.post(ctx, to, "application/x-www-form-urlencoded", strings.NewReader(form.Encode()), exchange.Secret{}, reason, answer)
}

// json posts JSON with a bearer.
func (w wire) json(ctx context.Context, to string, bearer exchange.Secret, request any, reason string, answer any) error {
	body, err := json.Marshal(request)
	if err != nil {
		return fmt.Errorf("encoding a request: %w", err)
	}
	return w.post(ctx, to, "application/json", bytes.NewReader(body), bearer, reason, answer)
}

func (w wire) post(ctx context.Context, to, contentType string, body io.Reader, bearer exchange.Secret, reason string, answer any) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, to, body)
	if err != nil {
		return fmt.Errorf("making a request: %w", err)
	}
	r.Header.Set("Content-Type", contentType)
	r.Header.Set("Accept", "application/json")
	r.Header.Set("X-Goog-Request-Reason", reason)
	if !bearer.IsZero() {
		r.Header.Set("Authorization", "Bearer "+bearer.Reveal())
	}
	got, err := w.client.Do(r)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err
		}
		return fmt.Errorf("reaching %s: %w", r.URL.Hostname(), err)
	}
	defer got.Body.Close()
	text, err := io.ReadAll(io.LimitReader(got.Body, maxAnswer+1))
	switch {
	case err != nil:
		return fmt.Errorf("reading what %s answers: %w", r.URL.Hostname(), err)
	case len(text) > maxAnswer:
		return fmt.Errorf("%s answers with over %d bytes", r.URL.Hostname(), maxAnswer)
	case got.StatusCode != http.StatusOK:
		return readRefusal(r.URL.Path, got.StatusCode, got.Header, text, w.now())
	}
	if kind, _, err := mime.ParseMediaType(got.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return fmt.Errorf("%s answers with something that is not JSON", r.URL.Hostname())
	}
	if err := json.Unmarshal(text, answer); err != nil {
		return fmt.Errorf("%s answers with JSON of another shape", r.URL.Hostname())
	}
	return nil
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
