package issuer

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/cambio-sts/cambio/exchange"
)

// maxPayload bounds what is signed, in bytes: refused when over, never cut.
const maxPayload = 8 << 10

// accessClaims are the claims of RFC 9068 §2.2, `act` of RFC 8693 §4.1 and `may_act`
// of §4.4. Whoever tells tokens of ours from others by their first bytes relies on
// `iss` coming first and `sub` second.
type accessClaims struct {
	Issuer   string     `json:"iss"`
	Subject  string     `json:"sub"`
	Audience string     `json:"aud"`
	Expires  int64      `json:"exp"`
	Issued   int64      `json:"iat"`
	ID       string     `json:"jti"`
	ClientID string     `json:"client_id"`
	Scope    string     `json:"scope,omitempty"`
	Actor    *actorPart `json:"act,omitempty"`
	MayAct   *actorPart `json:"may_act,omitempty"`
}

// actorPart identifies an actor and nothing more: RFC 8693 §4.1 has no `exp`,
// `nbf` or `aud` in it.
type actorPart struct {
	Issuer  string     `json:"iss"`
	Subject string     `json:"sub"`
	Actor   *actorPart `json:"act,omitempty"`
}

// Mint signs an access token. What does not fit the contract of AccessToken is an
// error and a fault of the caller.
func (i *Issuer) Mint(_ context.Context, t exchange.AccessToken) (exchange.Secret, error) {
	now := i.now()
	if err := checkToken(&t); err != nil {
		return exchange.Secret{}, fmt.Errorf("minting an access token: %w", err)
	}
	if vendorOf(t.Audience) != nil { // a cloud that looked at `aud` alone would take it (S1)
		return exchange.Secret{}, fmt.Errorf("minting an access token: its audience %q is a cloud's own", t.Audience)
	}
	if err := checkLife(t.Issued, t.Expires, now, exchange.MaxAccessTokenLifetime); err != nil {
		return exchange.Secret{}, fmt.Errorf("minting an access token: %w", err)
	}
	payload, err := encode(accessClaims{
		Issuer: i.URL(), Subject: t.Subject, Audience: t.Audience, Expires: t.Expires.Unix(), Issued: t.Issued.Unix(),
		ID: t.ID.String(), ClientID: t.ClientID, Scope: strings.Join(t.Scopes, " "), Actor: i.actorClaim(t.Actors), MayAct: mayActClaim(t.MayAct),
	})
	if err != nil {
		return exchange.Secret{}, fmt.Errorf("minting an access token: %w", err)
	}
	key, err := i.signer(&i.access, now)
	if err != nil {
		return exchange.Secret{}, err
	}
	return key.sign(payload)
}

// checkToken holds what is said of subject, client and actors to the contract.
func checkToken(t *exchange.AccessToken) error {
	switch {
	case t.ID.IsZero():
		return errors.New("it has no id")
	case t.Subject == "":
		return errors.New("it has no subject")
	case t.Audience == "":
		return errors.New("it has no audience")
	case t.ClientID == "":
		return errors.New("it has no client_id")
	case len(t.Actors) > exchange.MaxActors:
		return exchange.Fault(exchange.KindInvalidActor, fmt.Sprintf("the delegation chain is too deep: %d actors at most", exchange.MaxActors), nil)
	case t.MayAct != nil && (t.MayAct.Issuer == "" || t.MayAct.ID == ""):
		return errors.New("its may_act names nobody")
	}
	for _, s := range t.Scopes {
		if !exchange.ValidScope(s) {
			return fmt.Errorf("%q is not one scope", s)
		}
	}
	for _, a := range t.Actors {
		if a.Name == "" {
			return errors.New("an actor has no name")
		}
		if !a.Proven && a.AssertedBy == "" {
			return errors.New("an actor is neither proven nor asserted by anyone")
		}
	}
	return nil
}

// checkLife holds a token within what a key stays published for.
func checkLife(issued, expires, now time.Time, longest time.Duration) error {
	switch {
	case issued.Unix() <= 0:
		return errors.New("it has no time of issue")
	case expires.Unix() <= issued.Unix():
		return errors.New("it would not live a second")
	case expires.Sub(issued) > longest || expires.Sub(now) > longest:
		return fmt.Errorf("it would live longer than %v", longest)
	case !expires.After(now):
		return errors.New("it would be dead already")
	}
	return nil
}

// actorClaim nests the chain, outermost first. Names are this issuer's, so `iss`
// is this issuer: an actor that another issuer asserted says so in its name, with
// who asserted it (S15), and cannot be taken for one that was proven here, in this
// exchange or in an earlier one.
func (i *Issuer) actorClaim(actors []exchange.Actor) *actorPart {
	var chain *actorPart
	for n := len(actors) - 1; n >= 0; n-- {
		a := actors[n]
		name := a.Name
		if !a.Proven && a.AssertedBy != exchange.SelfTrust {
			name = exchange.CanonicalName("asserted", a.AssertedBy, a.Issuer, a.Name)
		}
		chain = &actorPart{Issuer: i.url, Subject: name, Actor: chain}
	}
	return chain
}

// mayActClaim names the only actor, by the issuer that the subject's own token meant
// (S15).
func mayActClaim(m *exchange.MayAct) *actorPart {
	if m == nil {
		return nil
	}
	return &actorPart{Issuer: m.Issuer, Subject: m.ID}
}

// encode writes claims as JSON without escaping for HTML, which a token is not.
func encode(claims any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(claims); err != nil {
		return nil, fmt.Errorf("encoding the claims: %w", err)
	}
	if b.Len() > maxPayload {
		return nil, exchange.Fault(exchange.KindTooLarge, "the credential would be too large: names and scopes are too long", nil)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}
