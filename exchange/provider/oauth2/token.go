package oauth2

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/provider"
)

// tokenAnswer is that of RFC 6749 §5.1 and RFC 8693 §2.2.1. A scope that is not said is
// the one that was asked for.
type tokenAnswer struct {
	AccessToken string      `json:"access_token"`
	TokenType   string      `json:"token_type"`
	IssuedType  string      `json:"issued_token_type"`
	ExpiresIn   json.Number `json:"expires_in"` // some servers write it in quotes
	Scope       *string     `json:"scope"`
}

// credential reads a good answer.
func (d *driver) credential(a *provider.Answer, g *exchange.Grant, issued time.Time) (exchange.Credential, error) {
	var t tokenAnswer
	if err := a.Decode(&t); err != nil {
		return exchange.Credential{}, err
	}
	switch {
	case !printable(t.AccessToken):
		return exchange.Credential{}, a.Unusable(errors.New("it has no token that a header could carry"))
	case !strings.EqualFold(t.TokenType, "bearer"):
		return exchange.Credential{}, exchange.Fault(exchange.KindMisconfigured, "the target's server gives tokens that are no bearer tokens: its operator must change the client there",
			errors.New("the answer's token_type is not Bearer"))
	case t.IssuedType != "" && t.IssuedType != string(exchange.TokenTypeAccessToken) && t.IssuedType != string(exchange.TokenTypeJWT):
		return exchange.Credential{}, a.Unusable(errors.New("its issued_token_type is no access token"))
	}
	value := exchange.NewSecret(t.AccessToken)
	c := exchange.Credential{
		Value: value, TokenType: "Bearer", IssuedType: exchange.TokenTypeAccessToken, Issued: issued, Handle: provider.HandleOf(value, "jti"),
	}
	if c.Handle == "" {
		c.Handle = g.Exchange.String()
	}
	var err error
	if c.Expires, err = d.expiry(a, &t, issued); err != nil {
		return exchange.Credential{}, err
	}
	if c.Scopes, err = d.granted(&t, g); err != nil {
		return exchange.Credential{}, err
	}
	return c, nil
}

func (d *driver) expiry(a *provider.Answer, t *tokenAnswer, issued time.Time) (time.Time, error) {
	if t.ExpiresIn == "" {
		if life := d.settings.DefaultLifetime; life > 0 {
			return issued.Add(life), nil
		}
		return time.Time{}, exchange.Fault(exchange.KindMisconfigured,
			"the target's server does not say how long its tokens live: its operator must have it say expires_in, or set default_lifetime", errors.New("the answer has no expires_in"))
	}
	seconds, err := t.ExpiresIn.Int64()
	if err != nil {
		return time.Time{}, a.Unusable(errors.New("its expires_in is no whole number"))
	}
	return a.Expiry(seconds, issued)
}

// granted are those scopes of the grant that the token has. Fewer than were asked for
// are taken as they are told, save those that the operator requires; one of the
// target's own that policy did not grant is not.
func (d *driver) granted(t *tokenAnswer, g *exchange.Grant) ([]string, error) {
	s := &d.settings
	if t.Scope == nil {
		return g.Scopes, nil
	}
	has := strings.Fields(*t.Scope)
	asked := append(s.always(), g.Scopes...)
	wanted := slices.DeleteFunc(slices.Clone(s.required()), func(r string) bool { return !slices.Contains(asked, r) })
	if lost := missing(wanted, has); len(lost) > 0 {
		return nil, exchange.Fault(exchange.KindProviderRefused, fmt.Sprintf("the target's server does not give the scopes %s: have it allow them, or ask for less", strings.Join(lost, " ")),
			errors.New("the answer's scope lacks what require_scopes names"))
	}
	for _, scope := range has {
		if slices.Contains(s.Scopes, scope) && !slices.Contains(g.Scopes, scope) {
			return nil, exchange.Fault(exchange.KindMisconfigured, "the target's server gives scopes that were not asked for: its operator must take them from the client's defaults there",
				fmt.Errorf("the answer's scope has %q, which was not granted", scope))
		}
	}
	return slices.DeleteFunc(slices.Clone(g.Scopes), func(scope string) bool { return !slices.Contains(has, scope) }), nil
}

// printable reports whether a text can be a bearer token in a header (RFC 6750 §2.1,
// RFC 6749 §A.12).
func printable(token string) bool {
	return token != "" && !strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' })
}

// misread tells a page in place of JSON, which somebody's settings are the cause of,
// from a server that is not well.
func misread(err error) error {
	if errors.Is(err, provider.ErrPage) || errors.Is(err, provider.ErrNotJSON) {
		return exchange.Fault(exchange.KindMisconfigured, "the target's token_url answers with a page: its operator must check that it is the token endpoint", err)
	}
	return err
}

// refusal tells what the server will not give from what the operator has to change. In
// a token exchange a bad subject is invalid_request (RFC 8693 §2.2.2).
func refusal(a *provider.Answer, s *Server, exchanged bool) *exchange.Error {
	code, _ := a.OAuthError()
	switch code {
	case "invalid_client":
		return a.Fault(exchange.KindMisconfigured, "the target's server does not take this house as its client: the operator must check client_id, auth and what goes with it")
	case "unauthorized_client":
		return a.Fault(exchange.KindMisconfigured, "the target's server does not let this client use the grant: the operator must check grant, and the client there")
	case "unsupported_grant_type":
		return a.Fault(exchange.KindMisconfigured, "the target's server does not know the grant: the operator must check grant and token_url")
	case "use_dpop_nonce", "invalid_dpop_proof":
		return a.Fault(exchange.KindMisconfigured, "the target's server gives tokens that are no bearer tokens: its operator must change the client there")
	case "invalid_scope":
		return a.Fault(exchange.KindProviderRefused, "the target's server does not give these scopes: ask for less, or have the operator check scope and scopes")
	case "invalid_target":
		return a.Fault(exchange.KindProviderRefused, "the target's server gives no token for this resource: have the operator check resource and audience")
	case "invalid_grant":
		return a.Fault(exchange.KindProviderRefused, "the target's server does not take the subject: bring a fresh token, or have the operator let it in there")
	case "access_denied", "consent_required", "interaction_required", "login_required":
		return a.Fault(exchange.KindProviderRefused, "the target's server refused: the subject may have to consent or to be let in there first")
	case "temporarily_unavailable", "server_error":
		return a.Fault(exchange.KindUnavailable, "the provider is not well; try again")
	case "slow_down":
		return a.Fault(exchange.KindThrottled, "the provider is asked too often; try again later")
	case "invalid_request":
		if exchanged {
			return a.Fault(exchange.KindProviderRefused, "the target's server does not take the request: bring a fresh token of the subject, or have the operator check resource, audience, parameters and subject_token_type")
		}
		return a.Fault(exchange.KindMisconfigured, "the target's server does not take the request: the operator must check resource, audience and parameters")
	}
	switch {
	case code != "" && a.Status == http.StatusForbidden:
		return a.Fault(exchange.KindProviderRefused, "the target's server refused")
	case a.Status == http.StatusUnauthorized:
		return a.Fault(exchange.KindMisconfigured, "the target's server does not take this house as its client: the operator must check client_id, auth and what goes with it")
	case code != "":
		return a.Fault(exchange.KindProviderRefused, "the target's server refused")
	case s.TokenURL != "":
		return a.Fault(exchange.KindMisconfigured, "the target's token_url answers as no token endpoint does: its operator must check it")
	}
	return a.Fault(exchange.KindMisconfigured, "what the target's metadata names answers as no token endpoint does: its operator must check issuer and resource")
}
