package azure

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/cambio-sts/cambio/exchange/provider"
)

// documentLife is how long the authority's discovery document is kept: a fresh
// credential for each vending would fetch it each time.
const documentLife = time.Hour

// wire is the way to one authority, for all credentials of a driver.
type wire struct {
	client    *http.Client
	authority string // host[:port], lower case
	now       func() time.Time

	mu       sync.Mutex
	document *provider.Answer // OpenID configuration
	until    time.Time
}

// call is one credential's use of the wire. It remembers what went wrong, since
// azidentity turns most of that into text.
type call struct {
	*wire
	correlation string // sent along, and shown in the sign-in log
	failure     error
	refused     *refusal
}

const discoveryPath = "/v2.0/.well-known/openid-configuration"

// Do is policy.Transporter. It speaks to the authority alone: the discovery document
// could name any token endpoint, and an assertion goes to none but its own (S1).
func (c *call) Do(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme != "https" || !strings.EqualFold(r.URL.Host, c.authority) {
		return nil, c.fail(fmt.Errorf("the authority sends us to %s: tokens are asked of %s alone", r.URL.Hostname(), c.authority))
	}
	discovery := r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, discoveryPath)
	if discovery {
		if known := c.known(); known != nil {
			return known.Response(r), nil
		}
	}
	if c.correlation != "" {
		r.Header.Set("client-request-id", c.correlation)
	}
	a, err := provider.Ask(c.client, r, c.now)
	switch {
	case a == nil:
		return nil, c.fail(err)
	case a.Status != http.StatusOK:
		c.refused = readRefusal(a)
	case discovery:
		c.keep(a)
	}
	return a.Response(r), nil
}

func (c *call) fail(err error) error {
	c.failure = err
	return err
}

// verdict is what to tell where azidentity fails: what was seen on the wire. Its own
// error holds whole answers.
func (c *call) verdict(ctx context.Context) error {
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("asking Entra: %w", ctx.Err())
	case c.failure != nil:
		return c.failure
	case c.refused != nil:
		return c.refused
	}
	return errors.New("the answer lacks what azidentity asks of one")
}

func (w *wire) known() *provider.Answer {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.now().Before(w.until) {
		return nil
	}
	return w.document
}

// keep remembers the document if it is usable: what leads elsewhere is asked for
// anew until somebody has repaired it.
func (w *wire) keep(a *provider.Answer) {
	var document struct {
		Authorization string `json:"authorization_endpoint"`
		Token         string `json:"token_endpoint"`
		Issuer        string `json:"issuer"`
	}
	if a.Decode(&document) != nil || document.Authorization == "" || document.Issuer == "" {
		return
	}
	if u, err := url.Parse(document.Token); err != nil || u.Scheme != "https" || !strings.EqualFold(u.Host, w.authority) {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.document, w.until = a, w.now().Add(documentLife)
}
