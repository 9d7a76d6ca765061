package oauth

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/client"
	"github.com/cambio-sts/cambio/server"
)

const mediaForm = "application/x-www-form-urlencoded"

// token is the token endpoint (RFC 6749 §3.2).
func (h *Handler) token(w http.ResponseWriter, r *http.Request) {
	s, err := h.exchange(w, r)
	if err != nil {
		failure := failureOf(err)
		if s != nil && s.form.get(grantType) == exchange.GrantJWTBearer {
			failure = asGrant(failure)
		}
		if s == nil || !s.began {
			h.refuse(w, r, failure)
			return
		}
		h.fail(w, r, failure)
		return
	}
	server.FactsOf(r.Context()).SetExchange(s.receipt.Exchange)
	h.succeed(w, s.receipt)
}

// exchange runs the steps up to the receipt. The session tells how far it came.
func (h *Handler) exchange(w http.ResponseWriter, r *http.Request) (*session, error) {
	now := h.Now()
	f, err := h.readForm(w, r)
	if err != nil {
		return nil, err
	}
	grant := f.get(grantType)
	switch {
	case slices.Contains(grants, grant):
	case grant == "":
		return nil, server.Invalid("grant_type is missing: say " + server.GrantTokenExchange)
	default: // two of them, too: fosite would split at the space
		return nil, exchange.Fault(exchange.KindUnsupportedGrant, "grant_type must be one of "+strings.Join(grants, ", "), nil)
	}
	// fosite is shown the grant type and nothing else. It needs no more, keeps what
	// it is shown, splits one audience at its spaces and compares every scope with
	// every other.
	r.PostForm = url.Values{"grant_type": {grant}}
	r.Form = r.PostForm
	s := &session{http: r, form: f, now: now}
	if h.Own != nil {
		s.burn = func(c *client.Proven) error { return h.burn(r, c, useGrant, now) }
	}
	ctx := r.Context()
	requester, err := h.provider.NewAccessRequest(ctx, r, s)
	if err != nil {
		return s, err
	}
	_, err = h.provider.NewAccessResponse(ctx, requester)
	return s, err
}

// readForm takes in the body, once everything that can be said without it is said.
func (h *Handler) readForm(w http.ResponseWriter, r *http.Request) (*form, error) {
	switch {
	case r.Method != http.MethodPost:
		w.Header().Set("Allow", http.MethodPost)
		return nil, exchange.Fault(exchange.KindMethodNotAllowed, "send POST", nil)
	case r.URL.RawQuery != "":
		return nil, server.Invalid("parameters belong in the body: what stands in the URL ends up in logs")
	case !isForm(r.Header):
		return nil, exchange.Fault(exchange.KindUnsupportedMedia, "send the content type "+mediaForm, nil)
	}
	body, err := server.ReadBody(w, r, h.MaxBytes, readTimeout, h.whole())
	if err != nil {
		return nil, err
	}
	return parseForm(string(body))
}

// isForm accepts the media type with no parameter but charset=utf-8, sent once
// and not compressed.
func isForm(h http.Header) bool {
	types := h["Content-Type"]
	if len(types) != 1 || len(h["Content-Encoding"]) > 0 {
		return false
	}
	if types[0] == mediaForm {
		return true
	}
	media, parameter, _ := strings.Cut(types[0], ";")
	if !strings.EqualFold(strings.TrimSpace(media), mediaForm) {
		return false
	}
	switch strings.ToLower(strings.TrimSpace(parameter)) {
	case "", "charset=utf-8", `charset="utf-8"`:
		return true
	}
	return false
}
