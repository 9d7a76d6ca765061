package vault

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/provider"
)

// wire makes calls of one Vault in one namespace.
type wire struct {
	base      *url.URL
	namespace string
	client    *http.Client
	now       func() time.Time
}

func parseAddress(address string) (*url.URL, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, fmt.Errorf("reading the address: %w", err)
	}
	if u.Path == "" { // else JoinPath would make a relative one
		u.Path = "/"
	}
	return u, nil
}

// call is one call of the API.
type call struct {
	method string // http.MethodGet or http.MethodPost
	path   string // without /v1/
	token  exchange.Secret
	query  url.Values
	body   map[string]any
	wrap   time.Duration     // of the answer; zero: it is not wrapped
	sent   []exchange.Secret // what the body holds that nobody may be told
}

// ask makes a call. An error is an *exchange.Error. An answer that is there has a
// status below 500, and is not yet known to be good.
func (w *wire) ask(ctx context.Context, c call) (*provider.Answer, error) {
	r, err := w.request(ctx, c)
	if err != nil {
		return nil, err
	}
	a, err := provider.Ask(w.client, r, w.now, append(c.sent, c.token)...)
	if err != nil && a != nil {
		return nil, unwell(a, err)
	}
	if err == nil && a.Status >= 400 {
		if media, _, _ := mime.ParseMediaType(a.Header.Get("Content-Type")); media != "application/json" {
			return nil, misconfigured(nil, fmt.Sprintf("what answers at the target's address is not Vault, status %d: the operator must check address", a.Status))
		}
	}
	return a, err
}

func (w *wire) request(ctx context.Context, c call) (*http.Request, error) {
	u := w.base.JoinPath("v1", c.path)
	q := api.Request{
		Method: c.method, URL: u, Host: u.Host, Params: c.query, ClientToken: c.token.Reveal(),
		Headers: http.Header{api.RequestHeaderName: {"true"}},
	}
	if w.namespace != "" {
		q.Headers.Set(api.NamespaceHeaderName, w.namespace)
	}
	if c.wrap > 0 {
		q.WrapTTL = seconds(c.wrap)
	}
	if c.body != nil {
		q.Headers.Set("Content-Type", "application/json")
		if err := q.SetJSONBody(c.body); err != nil {
			return nil, fmt.Errorf("encoding a request: %w", err)
		}
	}
	r, err := q.ToHTTP()
	if err != nil {
		return nil, fmt.Errorf("making a request: %w", err)
	}
	if c.body != nil { // sent on another connection where one is gone before it was used
		r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(q.BodyBytes)), nil }
	}
	return r.WithContext(ctx), nil
}

// seconds is a life as Vault reads it.
func seconds(d time.Duration) string { return fmt.Sprintf("%ds", int64(d/time.Second)) }

// answer is Vault's envelope. It holds secrets in clear: nobody prints it.
type answer struct {
	api.Secret
	Data map[string]json.RawMessage `json:"data"` // as it came: numbers keep their digits
}

// maxSeconds bounds what a life is believed to be: Vault's own limit is 32 days, which
// an operator may raise.
const maxSeconds = 10 * 366 * 24 * 3600

// life is a number of seconds that Vault said.
func life(a *provider.Answer, n int) (time.Duration, error) {
	if n < 0 || n > maxSeconds {
		return 0, a.Unusable(errors.New("it has a lifetime that is none"))
	}
	return time.Duration(n) * time.Second, nil
}
