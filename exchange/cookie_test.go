package exchange_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/exchange"
)

const sessionCookie = "sid=session-value-77aa"

// Presents implements exchange.Presenters.
func (p *policy) Presents(trust string, who exchange.Actor) bool {
	return trust == "shop" && who.Proven && p.presenters[who.Name]
}

// looked remembers which tokens were verified, in their order.
type looked struct {
	exchange.Verifier
	tokens []string
}

func (l *looked) Verify(ctx context.Context, t exchange.Token, now time.Time) (exchange.Subject, error) {
	l.tokens = append(l.tokens, t.Value.Reveal())
	return l.Verifier.Verify(ctx, t, now)
}

// newSessionHouse is a house that knows one session, which the helper and one client
// may present.
func newSessionHouse(t *testing.T) (*house, *looked) {
	h := newHouse(t, exchange.ModeLocal)
	h.verifier.subjects[sessionCookie] = exchange.Subject{
		Name: "session:shop:alice", Tenant: "default", Trust: "shop", Kind: exchange.TrustSession, Issuer: "https://shop", ID: "alice",
		Expires: noon.Add(3 * time.Minute), Clientless: exchange.ClientlessWithActor, Record: exchange.Attributes{"cookie": {"sid"}},
	}
	h.policy.presenters = map[string]bool{"k8s:prod:agents:helper": true, "client:gateway": true}
	h.vendor.life = 2 * time.Minute
	l := &looked{Verifier: h.verifier}
	h.bureau.Verifier = l
	return h, l
}

func sessionRequest() exchange.Request {
	r := withActor(request())
	r.SubjectToken = exchange.Token{Value: exchange.NewSecret(sessionCookie), Type: exchange.SessionTokenType("shop")}
	return r
}

func asClient(r exchange.Request, name string) exchange.Request {
	r.Client = name
	r.Presenter = &exchange.Subject{
		Name: "client:" + name, Tenant: "default", Kind: exchange.TrustClient, ID: name, Issuer: "https://sts", Expires: noon.Add(time.Hour),
	}
	return r
}

// TestS37SessionsAreForThoseWhoMayPresentThem: a listed workload or client, proven in
// this request, which is then the actor. To anybody else the session is not looked at.
func TestS37SessionsAreForThoseWhoMayPresentThem(t *testing.T) {
	alone := sessionRequest()
	alone.ActorToken = exchange.Token{}
	for name, c := range map[string]struct {
		request exchange.Request
		listed  string // one more who may present
		removed bool   // the helper may not
		kind    exchange.Kind
		actor   string
	}{
		"a workload":                         {request: sessionRequest(), actor: "k8s:prod:agents:helper"},
		"a client":                           {request: asClient(alone, "gateway"), actor: "client:gateway"},
		"a workload through a listed client": {request: asClient(sessionRequest(), "gateway"), removed: true, kind: exchange.KindInvalidSubject},
		"a listed workload through a client": {request: asClient(sessionRequest(), "other"), actor: "k8s:prod:agents:helper"},
		"nobody":                             {request: alone, kind: exchange.KindInvalidClient},
		"a workload that is not listed":      {request: sessionRequest(), removed: true, kind: exchange.KindInvalidSubject},
		"a client that is not listed":        {request: asClient(alone, "other"), kind: exchange.KindInvalidSubject},
		"one who only says who it is":        {request: func() exchange.Request { r := alone; r.Client = "gateway"; return r }(), kind: exchange.KindInvalidClient},
		"with a token that is not the actor's": {request: func() exchange.Request {
			r := sessionRequest()
			r.ActorToken.Value = exchange.NewSecret("junk")
			return r
		}(), kind: exchange.KindInvalidActor},
		"with a session as the actor's token": {request: func() exchange.Request {
			r := sessionRequest()
			r.ActorToken = r.SubjectToken
			return r
		}(), kind: exchange.KindInvalidActor},
		"under another trust's type": {request: func() exchange.Request {
			r := sessionRequest()
			r.SubjectToken.Type = exchange.SessionTokenType("other")
			return r
		}(), kind: exchange.KindInvalidSubject},
		"as an assertion": {request: func() exchange.Request {
			r := sessionRequest()
			r.Grant = exchange.GrantJWTBearer
			return r
		}(), kind: exchange.KindInvalidSubject},
	} {
		t.Run(name, func(t *testing.T) {
			h, l := newSessionHouse(t)
			if c.removed {
				delete(h.policy.presenters, "k8s:prod:agents:helper")
			}
			receipt, err := h.exchange(t.Context(), c.request)
			if c.actor == "" {
				if exchange.KindOf(err) != c.kind {
					t.Errorf("%v", err)
				}
				for _, token := range l.tokens {
					if token == sessionCookie {
						t.Error("the session was looked at")
					}
				}
				if len(h.ledger.events) != 0 {
					t.Error("what verified nothing left a row")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if last := l.tokens[len(l.tokens)-1]; last != sessionCookie || len(l.tokens) > 2 {
				t.Errorf("%d tokens were verified, the session's not last", len(l.tokens))
			}
			event, _ := h.ledger.outcome(receipt.Exchange)
			if r := event.Record; r.Subject != "session:shop:alice" || r.Actor != c.actor || r.Claims["cookie"][0] != "sid" {
				t.Errorf("%+v", r)
			}
			if g := h.vendor.grants[0]; !g.NotAfter.Equal(noon.Add(3 * time.Minute)) { // no longer than the session
				t.Errorf("until %v", g.NotAfter)
			}
		})
	}
}

// TestS37PresentersAreAskedOfPolicy: under a policy that does not know, nobody presents.
func TestS37PresentersAreAskedOfPolicy(t *testing.T) {
	h, l := newSessionHouse(t)
	h.bureau.Policy = plain{h.policy}
	if _, err := h.bureau.Exchange(t.Context(), sessionRequest()); exchange.KindOf(err) != exchange.KindInvalidSubject || len(l.tokens) != 1 {
		t.Errorf("%v, %d tokens", err, len(l.tokens))
	}
}

// plain is a policy whose deciders decide and do nothing else.
type plain struct{ *policy }

func (p plain) Current() (exchange.Decider, error) { return decider{p.policy}, nil }

type decider struct{ p *policy }

func (d decider) Decide(q exchange.Question) exchange.Decision { return d.p.Decide(q) }

// TestS37TheValueOfACookieIsNotTold: not in an error that quotes it, nor in the record of
// it, with its name or without.
func TestS37TheValueOfACookieIsNotTold(t *testing.T) {
	h, _ := newSessionHouse(t)
	_, value, _ := strings.Cut(sessionCookie, "=")
	h.vendor.vend = func(context.Context) error { return errors.New("somebody quotes " + sessionCookie + " and " + value) }
	_, err := h.exchange(t.Context(), sessionRequest())
	if err == nil || strings.Contains(err.Error(), value) {
		t.Error("S37: the error tells the cookie, or there is none")
	}
	event, _ := h.ledger.outcome(h.reports.last().Exchange)
	if event.Type != exchange.EventFailed || strings.Contains(event.Record.Explanation, value) {
		t.Error("S37: the record tells the cookie, or there is none")
	}
}
