package oauth

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"github.com/cambio-sts/cambio/exchange"
)

// inactive is all that is ever said of a token that is not active, not ours, or not
// the caller's to ask about (RFC 7662 §2.2).
var inactive = []byte("{\"active\":false}\n")

// activeToken is RFC 7662 §2.2, with `act` and `may_act` of RFC 8693 §4.1 and §4.4.
type activeToken struct {
	Active    bool       `json:"active"`
	Scope     string     `json:"scope,omitempty"`
	ClientID  string     `json:"client_id"`
	Subject   string     `json:"sub"`
	Audience  string     `json:"aud"`
	Issuer    string     `json:"iss"`
	Expires   int64      `json:"exp"`
	Issued    int64      `json:"iat"`
	ID        string     `json:"jti"`
	TokenType string     `json:"token_type"`
	Actor     *actorPart `json:"act,omitempty"`
	MayAct    *actorPart `json:"may_act,omitempty"`
}

type actorPart struct {
	Issuer  string     `json:"iss"`
	Subject string     `json:"sub"`
	Actor   *actorPart `json:"act,omitempty"`
}

// introspect is the introspection endpoint (RFC 7662 §2).
func (h *Handler) introspect(w http.ResponseWriter, r *http.Request) {
	a, err := h.ask(w, r, useIntrospection)
	if err != nil {
		h.refuseOwn(w, r, err)
		return
	}
	body, err := h.describe(r, a)
	if err != nil {
		h.refuseOwn(w, r, err)
		return
	}
	h.write(w, http.StatusOK, body)
}

// describe says whether a token is active, to those who may know: the client that
// serves its audience, and the one that it was issued to. What comes before the
// database is asked anybody could find out with our public keys; so neither the
// answer nor the time that it takes tells a caller of tokens that are not its own.
func (h *Handler) describe(r *http.Request, a *asked) ([]byte, error) {
	t, err := h.Own.Read(a.token, a.now)
	switch {
	case exchange.KindOf(err) == exchange.KindInvalidSubject:
		return inactive, nil
	case err != nil:
		return nil, err
	case t.ClientID != a.client.Name && !slices.Contains(a.client.Serves, t.Audience):
		return inactive, nil
	}
	l, err := h.Own.Standing(r.Context(), a.client.Tenant, t.ID)
	switch {
	case exchange.KindOf(err) == exchange.KindNotFound:
		return inactive, nil
	case err != nil:
		return nil, err
	case l.Subject != t.Subject:
		return inactive, nil
	}
	active := activeToken{
		Active: true, Scope: strings.Join(t.Scopes, " "), ClientID: t.ClientID, Subject: t.Subject, Audience: t.Audience, Issuer: h.Issuer,
		Expires: t.Expires.Unix(), Issued: t.Issued.Unix(), ID: t.ID.String(), TokenType: "Bearer",
	}
	for i := len(t.Actors) - 1; i >= 0; i-- {
		active.Actor = &actorPart{Issuer: t.Actors[i].Issuer, Subject: t.Actors[i].ID, Actor: active.Actor}
	}
	if t.MayAct != nil {
		active.MayAct = &actorPart{Issuer: t.MayAct.Issuer, Subject: t.MayAct.ID}
	}
	body, err := json.Marshal(active)
	if err != nil {
		return nil, exchange.Fault(exchange.KindInternal, "", err)
	}
	return append(body, '\n'), nil
}
