package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"
)

// How published keys are fetched for the sandbox.
const (
	maxKeySet   = 1 << 20
	keysFresh   = 10 * time.Second
	keysTimeout = 5 * time.Second
)

// readKeySet reads a JWK Set from a file.
func readKeySet(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("reading --jwks: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxKeySet+1))
	if err != nil {
		return nil, fmt.Errorf("reading --jwks: %w", err)
	}
	if err := checkKeySet(text); err != nil {
		return nil, fmt.Errorf("reading --jwks: %s: %w", file, err)
	}
	return text, nil
}

// checkKeySet tells a JWK Set (RFC 7517 §5) from other things.
func checkKeySet(text []byte) error {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	switch {
	case len(text) > maxKeySet:
		return fmt.Errorf("it has over %d bytes", maxKeySet)
	case json.Unmarshal(text, &set) != nil || set.Keys == nil:
		return errors.New(`it is no JWK Set: {"keys": […]}`)
	}
	return nil
}

// discovery fetches the keys of an issuer by the document that it publishes. It is
// safe for concurrent use.
type discovery struct {
	client *http.Client
	issuer string

	mu   sync.Mutex
	last []byte
	when time.Time
}

// discover finds an issuer's keys (OpenID Connect Discovery 1.0 §4).
func discover(ctx context.Context, issuer string) (*discovery, error) {
	if _, err := serverURL(issuer); err != nil {
		return nil, err
	}
	client, err := newClient(os.Getenv("CAMBIO_CA_FILE"))
	if err != nil {
		return nil, err
	}
	client.Timeout = keysTimeout
	d := &discovery{client: client, issuer: issuer}
	if d.last, err = d.fetch(ctx); err != nil {
		return nil, fmt.Errorf("finding the keys of %s: %w: is it the issuer's URL? Otherwise give its keys in a file with --jwks", issuer, err)
	}
	d.when = time.Now()
	return d, nil
}

// keys are those that are published now. Where they cannot be had, those of before
// are good.
func (d *discovery) keys() []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	if time.Since(d.when) < keysFresh {
		return d.last
	}
	ctx, cancel := context.WithTimeout(context.Background(), keysTimeout)
	defer cancel()
	if text, err := d.fetch(ctx); err == nil {
		d.last = text
	}
	d.when = time.Now()
	return d.last
}

func (d *discovery) fetch(ctx context.Context) ([]byte, error) {
	text, err := d.get(ctx, d.issuer+"/.well-known/openid-configuration")
	if err != nil {
		return nil, err
	}
	var document struct {
		Issuer string `json:"issuer"`
		JWKS   string `json:"jwks_uri"`
	}
	if err := json.Unmarshal(text, &document); err != nil {
		return nil, errors.New("its discovery document is no JSON object")
	}
	if document.Issuer != d.issuer {
		return nil, fmt.Errorf("its discovery document is of %q", clean(document.Issuer))
	}
	if _, err := serverURL(document.JWKS); err != nil {
		return nil, fmt.Errorf("jwks_uri: %w", err)
	}
	keys, err := d.get(ctx, document.JWKS)
	if err != nil {
		return nil, err
	}
	return keys, checkKeySet(keys)
}

func (d *discovery) get(ctx context.Context, address string) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, fmt.Errorf("making a request: %w", err)
	}
	r.Header.Set("User-Agent", "cambio/"+thisBuild().Version)
	resp, err := d.client.Do(r)
	if err != nil {
		var ue *url.Error
		if errors.As(err, &ue) {
			err = ue.Err
		}
		return nil, unreachable(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxKeySet+1))
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answered %d %s", strings.TrimSpace(address), resp.StatusCode, http.StatusText(resp.StatusCode))
	}
	return text, nil
}
