package oci

import (
	"errors"
	"net/http"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/provider"
)

// refusal is what the identity domain meant by an answer that is no token. The
// caller is told which setting is the operator's to look at; what the domain said
// is for the log, without what we sent.
func refusal(a *provider.Answer) error {
	switch {
	case a.Status == http.StatusTooManyRequests:
		return a.Fault(exchange.KindThrottled, "the identity domain asks to slow down; try again later")
	case a.Status >= 500:
		return a.Fault(exchange.KindUnavailable, "the identity domain is not well; try again")
	case a.Status < 400:
		return a.Unusable(errors.New("it is no refusal"))
	}
	switch code, _ := a.OAuthError(); code {
	case "invalid_client":
		return a.Fault(exchange.KindMisconfigured, "the identity domain does not take Cambio's client: its operator must check client_id and client_secret, or signed")
	case "unauthorized_client":
		return a.Fault(exchange.KindMisconfigured, "the identity domain's trust does not list Cambio's client: its operator must add client_id to oauthClients, or allow the principal GET_RPST")
	case "invalid_grant", "access_denied":
		return a.Fault(exchange.KindProviderRefused, "the identity domain's trust refuses this subject: its rules, issuer and claims must fit what Cambio asserts")
	case "invalid_target", "invalid_scope", "invalid_request", "unsupported_grant_type":
		return a.Fault(exchange.KindMisconfigured, "the identity domain does not take the request: its operator must compare res_type with the trust's impersonatingResource, and max_ttl with what the domain gives")
	}
	switch a.Status {
	case http.StatusUnauthorized, http.StatusForbidden:
		return a.Fault(exchange.KindMisconfigured, "the identity domain does not take Cambio's client: its operator must check client_id and client_secret, or signed")
	case http.StatusNotFound, http.StatusMethodNotAllowed:
		return a.Fault(exchange.KindMisconfigured, "there is no identity domain at this target's domain: its operator must check it")
	}
	return a.Fault(exchange.KindProviderRefused, "the identity domain refused")
}
