package oauth

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/client"
	"github.com/cambio-sts/cambio/server"
)

// OwnTokens is what introspection (RFC 7662) and revocation (RFC 7009) stand on.
// Without it neither endpoint is there.
type OwnTokens struct {
	// Read returns what a token says that is an access token of ours and within its
	// time; an error of KindInvalidSubject says that it is none.
	Read func(raw exchange.Secret, now time.Time) (exchange.AccessToken, error)
	// Standing returns the lease of a token that still stands; an error of
	// KindNotFound says that it does not.
	Standing func(ctx context.Context, tenant string, id exchange.ID) (exchange.Lease, error)
	// Revoke takes a token back, with everything that was obtained with it; by says who
	// does it, and from where. Nil: it is revoked, durably. An error of KindNotFound
	// says that there was nothing to revoke.
	Revoke func(ctx context.Context, tenant string, id exchange.ID, by exchange.Record) error
	// Burn makes an event durable together with the single-use value of a client's
	// proof, or returns exchange.ErrUsed.
	Burn   func(ctx context.Context, e exchange.Event, once exchange.Once) error
	Random io.Reader // safe for concurrent use
}

// The uses of a token of ours, as the ledger names them.
const (
	useIntrospection = "introspection"
	useRevocation    = "revocation"
	useGrant         = "identity assertion grant"
)

// maxHint bounds token_type_hint, in bytes.
const maxHint = 64

// asked is a request about a token of ours, its client proven.
type asked struct {
	token  exchange.Secret
	client client.Proven
	now    time.Time
}

// ask reads a request about a token, and proves the client that sends it (RFC 7662
// §2.1, RFC 7009 §2.1): there is no asking without one. An assertion burns here,
// before anything is said or done.
func (h *Handler) ask(w http.ResponseWriter, r *http.Request, use string) (*asked, error) {
	a := &asked{now: h.Now()}
	f, err := h.readForm(w, r)
	if err != nil {
		return nil, err
	}
	hint := f.get(tokenTypeHint) // believed in nothing: whatever it says, the one kind of token there is is searched
	switch {
	case f.get(token) == "":
		return nil, server.Invalid("token is missing: send the token that you mean")
	case hint != "" && (len(hint) > maxHint || !exchange.ValidScope(hint)):
		return nil, server.Invalid("token_type_hint is one word, such as access_token")
	}
	presented := f.presented(r)
	if !presented.Any() {
		return nil, errNoClient
	}
	if a.client, err = presented.Prove(r.Context(), h.Clients, a.now); err != nil {
		return nil, err
	}
	a.token = exchange.NewSecret(f.get(token))
	return a, h.burn(r, &a.client, use, a.now)
}

// burn makes a single-use proof of a client unusable for anything else, durably.
func (h *Handler) burn(r *http.Request, c *client.Proven, use string, now time.Time) error {
	if c.Once == nil {
		return nil
	}
	id, err := exchange.NewID(now, h.Own.Random)
	if err != nil {
		return exchange.Fault(exchange.KindInternal, "", err)
	}
	record := h.recordOf(r)
	record.Exchange, record.Type, record.At, record.Tenant = id.String(), exchange.EventQueried.String(), exchange.FormatTime(now), c.Tenant
	record.Client, record.Subject, record.Trust, record.Reason = c.Name, c.Self.Name, c.Self.Trust, use
	ctx, cancel := context.WithTimeout(r.Context(), exchange.SettleTimeout)
	defer cancel()
	err = h.Own.Burn(ctx, exchange.Event{
		ID: id, Exchange: id, Tenant: c.Tenant, Type: exchange.EventQueried, At: now, Record: record,
	}, *c.Once)
	switch {
	case errors.Is(err, exchange.ErrUsed):
		return exchange.Fault(exchange.KindInvalidClient, "this client assertion has been used already: sign a fresh one for each request", nil)
	case err != nil:
		return exchange.Fault(exchange.KindUnavailable, "that the client assertion is used up could not be recorded, so nothing was done; try again with a fresh one", err)
	}
	return nil
}

// recordOf is what the ledger keeps of a request itself.
func (h *Handler) recordOf(r *http.Request) exchange.Record {
	facts := server.FactsOf(r.Context())
	record := exchange.Record{Door: "oauth", UserAgent: r.UserAgent(), TraceID: facts.TraceID}
	if facts.ClientIP.IsValid() {
		record.ClientIP = facts.ClientIP.String()
	}
	return record
}

// refuseOwn is refuse, and says when to come back (RFC 7009 §2.2.1).
func (h *Handler) refuseOwn(w http.ResponseWriter, r *http.Request, err error) {
	failure := *failureOf(err)
	if failure.Kind == exchange.KindUnavailable && failure.RetryAfter == 0 {
		failure.RetryAfter = time.Second
	}
	h.refuse(w, r, &failure)
}
