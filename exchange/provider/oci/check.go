package oci

import (
	"context"
	"net/http"
	"net/url"

	"github.com/cambio-sts/cambio/exchange"
)

// Check proves that the domain is there and takes our client: it asks for a token
// with an assertion that is none. A domain that looks at the assertion has let the
// client in. Whether the trust fits, only an exchange can tell.
func (d *driver) Check(ctx context.Context) error {
	answer, err := d.endpoint.call(ctx, url.Values{
		"grant_type":           {"urn:ietf:params:oauth:grant-type:token-exchange"},
		"requested_token_type": {string(d.settings.issues())},
		"subject_token":        {"check"},
		"subject_token_type":   {"jwt"},
	})
	if err != nil {
		return err
	}
	if answer.status == http.StatusOK {
		return exchange.Fault(exchange.KindMisconfigured, "what answers at this target's domain takes anything for an assertion: its operator must check it", nil)
	}
	if answer.status == http.StatusBadRequest && answer.json() {
		switch answer.said().Error {
		case "invalid_grant", "invalid_request", "access_denied":
			return nil
		}
	}
	return answer.refusal(d.now(), nil)
}
