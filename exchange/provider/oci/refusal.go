package oci

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/provider"
)

// refusal is what the identity domain meant by an answer that is no token. The
// caller is told which setting is the operator's to look at; what the domain said
// is for the log, without what we sent.
func (a *answer) refusal(now time.Time, hidden []exchange.Secret) error {
	said := a.said()
	cause := fmt.Errorf("the identity domain answered %d %s", a.status, provider.Clean(said.Error+": "+said.Description, hidden))
	fault := func(kind exchange.Kind, advice string) error {
		e := exchange.Fault(kind, advice, cause)
		if kind == exchange.KindThrottled || kind == exchange.KindUnavailable {
			e.RetryAfter = provider.RetryAfter(a.header, now)
		}
		return e
	}
	switch {
	case a.status == http.StatusTooManyRequests:
		return fault(exchange.KindThrottled, "the identity domain asks to slow down; try again later")
	case a.status >= 500:
		return fault(exchange.KindUnavailable, "the identity domain is not well; try again")
	case a.status < 400:
		return unusable(cause)
	}
	switch said.Error {
	case "invalid_client":
		return fault(exchange.KindMisconfigured, "the identity domain does not take Cambio's client: its operator must check client_id and client_secret, or signed")
	case "unauthorized_client":
		return fault(exchange.KindMisconfigured, "the identity domain's trust does not list Cambio's client: its operator must add client_id to oauthClients, or allow the principal GET_RPST")
	case "invalid_grant", "access_denied":
		return fault(exchange.KindProviderRefused, "the identity domain's trust refuses this subject: its rules, issuer and claims must fit what Cambio asserts")
	case "invalid_target", "invalid_scope", "invalid_request", "unsupported_grant_type":
		return fault(exchange.KindMisconfigured, "the identity domain does not take the request: its operator must compare res_type with the trust's impersonatingResource, and max_ttl with what the domain gives")
	}
	switch a.status {
	case http.StatusUnauthorized, http.StatusForbidden:
		return fault(exchange.KindMisconfigured, "the identity domain does not take Cambio's client: its operator must check client_id and client_secret, or signed")
	case http.StatusNotFound, http.StatusMethodNotAllowed:
		return fault(exchange.KindMisconfigured, "there is no identity domain at this target's domain: its operator must check it")
	}
	return fault(exchange.KindProviderRefused, "the identity domain refused")
}

// said is an OAuth error (RFC 6749 §5.2).
type said struct {
	Error       string `json:"error"`
	Description string `json:"error_description"`
}

func (a *answer) said() said {
	var s said
	_ = json.Unmarshal(a.body, &s) // what is no JSON says nothing
	return s
}
