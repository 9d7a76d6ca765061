package oauth

import (
	"context"
	"net/http"

	"github.com/cambio-sts/cambio/exchange"
)

// revoke is the revocation endpoint (RFC 7009 §2).
func (h *Handler) revoke(w http.ResponseWriter, r *http.Request) {
	a, err := h.ask(w, r, useRevocation)
	if err == nil {
		err = h.giveBack(r, a)
	}
	if err != nil {
		h.refuseOwn(w, r, err)
		return
	}
	h.write(w, http.StatusOK, []byte("{}\n"))
}

// giveBack revokes a token for the client that it was issued to, and for nobody
// else. What is no token of ours, or stands no more, is as revoked as can be (RFC
// 7009 §2.2).
func (h *Handler) giveBack(r *http.Request, a *asked) error {
	t, err := h.Own.Read(a.token, a.now)
	switch {
	case exchange.KindOf(err) == exchange.KindInvalidSubject:
		return nil
	case err != nil:
		return err
	case t.ClientID != a.client.Name: // RFC 7009 §2.1
		return exchange.Fault(exchange.KindUnauthorizedClient, "the token was issued to another client, and only that one may revoke it", nil)
	}
	by := h.recordOf(r)
	by.Subject, by.Client = exchange.CanonicalName("client", a.client.Name), a.client.Name
	ctx, cancel := context.WithTimeout(r.Context(), h.Timeout)
	defer cancel()
	err = h.Own.Revoke(ctx, a.client.Tenant, t.ID, by)
	if exchange.KindOf(err) == exchange.KindNotFound {
		return nil
	}
	return err
}
