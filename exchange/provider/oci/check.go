package oci

import (
	"context"
	"errors"
	"net/http"
	"net/url"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/provider"
)

// Check proves that the domain is there and takes our client: it asks for a token
// with an assertion that is none. A domain that looks at the assertion has let the
// client in. Whether the trust fits, only an exchange can tell.
func (d *driver) Check(ctx context.Context) error {
	a, err := d.endpoint.call(ctx, url.Values{
		"grant_type":           {"urn:ietf:params:oauth:grant-type:token-exchange"},
		"requested_token_type": {string(d.settings.issues())},
		"subject_token":        {"check"},
		"subject_token_type":   {"jwt"},
	})
	switch {
	case errors.Is(err, provider.ErrPage), errors.Is(err, provider.ErrNotJSON):
		return exchange.Fault(exchange.KindMisconfigured, "there is no identity domain at this target's domain: its operator must check it", err)
	case err != nil:
		return err
	}
	if a.Status == http.StatusOK {
		return exchange.Fault(exchange.KindMisconfigured, "what answers at this target's domain takes anything for an assertion: its operator must check it", nil)
	}
	if a.Status == http.StatusBadRequest {
		switch code, _ := a.OAuthError(); code {
		case "invalid_grant", "invalid_request", "access_denied":
			return nil
		}
	}
	return refusal(a)
}
