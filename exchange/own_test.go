package exchange_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/exchange"
)

const (
	ownToken = "own-token-41cc"
	wiki     = "https://mcp.example/wiki"
)

var lineage = []exchange.ID{{1}, {2}}

// own verifies the tokens that it knows, which are ours by how they begin.
type own struct {
	subjects map[string]exchange.Subject
	err      error
	verified int
}

func (o *own) Ours(t exchange.Token) bool { return strings.HasPrefix(t.Value.Reveal(), "own-") }

func (o *own) Verify(_ context.Context, t exchange.Token, _ time.Time) (exchange.Subject, error) {
	o.verified++
	s, ok := o.subjects[t.Value.Reveal()]
	switch {
	case o.err != nil:
		return exchange.Subject{}, o.err
	case !ok:
		return exchange.Subject{}, exchange.Fault(exchange.KindInvalidSubject, "the token was revoked", nil)
	}
	return s, nil
}

// newOwnHouse is a house that knows one token of its own: alice's for the wiki, had
// through an agent.
func newOwnHouse(t *testing.T, mode exchange.Mode) (*house, *own) {
	h := newHouse(t, mode)
	o := &own{subjects: map[string]exchange.Subject{ownToken: {
		Name: "oidc:corp:alice", Tenant: "default", Trust: "corp", Kind: exchange.TrustOIDC, Issuer: "https://corp", ID: "alice",
		Attributes: exchange.Attributes{"groups": {"a"}}, Expires: noon.Add(time.Hour), JTI: "j9",
		Asserted: []exchange.Actor{
			{Name: "k8s:prod:agents:helper", Trust: "prod", Issuer: "https://prod", ID: "helper", AssertedBy: exchange.SelfTrust},
			{Name: "bob", Issuer: "https://corp", ID: "bob", AssertedBy: "corp"},
		},
		Own: &exchange.Own{Audience: wiki, ClientID: "gw", Scopes: []string{"read"}, Lineage: lineage},
	}}}
	h.bureau.Own = o
	h.policy.serves = map[string]string{"wiki-server": wiki}
	return h, o
}

func ownRequest() exchange.Request {
	r := request()
	r.SubjectToken = exchange.Token{Value: exchange.NewSecret(ownToken), Type: exchange.TokenTypeAccessToken}
	r.Client = "wiki-server"
	r.Presenter = &exchange.Subject{
		Name: "client:wiki-server", Tenant: "default", Kind: exchange.TrustClient, Issuer: "https://sts", ID: "wiki-server",
		Expires: noon.Add(30 * time.Minute), TrustHash: [32]byte{9},
	}
	return r
}

// TestS7OwnTokensComeBack through the server that they were for, which becomes the
// actor: the subject, its past, its caps and its lineage stay.
func TestS7OwnTokensComeBack(t *testing.T) {
	for name, mode := range modes {
		t.Run(name, func(t *testing.T) {
			h, o := newOwnHouse(t, mode)
			o.subjects[ownToken].Asserted[0].Proven = true // as it was then, which is no proof now
			receipt, err := h.exchange(t.Context(), ownRequest())
			if err != nil {
				t.Fatal(err)
			}
			q := h.policy.asked[0]
			if s := q.Subject; !s.Bounded || !slices.Equal(s.Bound, []string{"read"}) || s.Asserted[0].Proven || s.Asserted[0].AssertedBy != exchange.SelfTrust {
				t.Errorf("policy saw the subject %+v", s)
			}
			if !o.subjects[ownToken].Asserted[0].Proven {
				t.Error("what the verifier keeps was changed")
			}
			presenter := exchange.Actor{
				Name: "client:wiki-server", Issuer: "https://sts", ID: "wiki-server", Proven: true,
				Expires: noon.Add(30 * time.Minute), TrustHash: [32]byte{9},
			}
			if len(q.Actors) != 1 || !reflect.DeepEqual(q.Actors[0], presenter) {
				t.Errorf("policy saw the actors %+v", q.Actors)
			}
			var chain []string
			for _, a := range h.vendor.grants[0].Actors {
				chain = append(chain, fmt.Sprint(a.Name, " ", a.Proven))
			}
			if want := []string{"client:wiki-server true", "k8s:prod:agents:helper false", "bob false"}; !slices.Equal(chain, want) {
				t.Errorf("the chain is %q, want %q", chain, want)
			}
			event, _ := h.ledger.outcome(receipt.Exchange)
			got := event.Record
			if got.Subject != "oidc:corp:alice" || got.Trust != "corp" || got.Actor != "client:wiki-server" || got.Client != "wiki-server" ||
				!slices.Equal(got.Asserted, []string{"self says k8s:prod:agents:helper", "corp says bob"}) ||
				!slices.Equal(got.Lineage, []string{lineage[0].String(), lineage[1].String()}) {
				t.Errorf("the record says %+v", got)
			}
			for _, l := range h.ledger.leases {
				if l.Actor != "client:wiki-server" || !slices.Equal(l.Lineage, lineage) || len(l.Origin) != 0 {
					t.Errorf("the lease is %+v", l)
				}
			}
		})
	}
}

// TestS7WhatDoesNotComeBack: each fault gets its kind, and whoever the token is not
// for learns nothing of it.
func TestS7WhatDoesNotComeBack(t *testing.T) {
	type bend = func(h *house, o *own, r *exchange.Request)
	unlooked := map[string]bend{ // what is refused before the token is looked at
		"it is called an ID token":    func(_ *house, _ *own, r *exchange.Request) { r.SubjectToken.Type = exchange.TokenTypeIDToken },
		"it is called an ID-JAG":      func(_ *house, _ *own, r *exchange.Request) { r.SubjectToken.Type = exchange.TokenTypeIDJAG },
		"no client":                   func(_ *house, _ *own, r *exchange.Request) { r.Client, r.Presenter = "", nil },
		"a client that nobody proved": func(_ *house, _ *own, r *exchange.Request) { r.Presenter = nil },
		"an actor token beside it":    func(_ *house, _ *own, r *exchange.Request) { *r = withActor(*r) },
		"as the actor of somebody": func(_ *house, _ *own, r *exchange.Request) {
			r.ActorToken, r.SubjectToken = r.SubjectToken, request().SubjectToken
		},
		"tokens of ours do not come back": func(h *house, _ *own, _ *exchange.Request) { h.bureau.Own = nil },
	}
	kinds := map[string]exchange.Kind{
		"no client": exchange.KindInvalidClient, "a client that nobody proved": exchange.KindInvalidClient,
		"an actor token beside it": exchange.KindInvalidActor, "as the actor of somebody": exchange.KindInvalidActor,
	}
	for name, f := range unlooked {
		h, o := newOwnHouse(t, exchange.ModeLocal)
		r := ownRequest()
		f(h, o, &r)
		want, ok := kinds[name]
		if !ok {
			want = exchange.KindInvalidSubject
		}
		if _, err := h.exchange(t.Context(), r); exchange.KindOf(err) != want || o.verified != 0 {
			t.Errorf("%s: %v; looked at %d times", name, err, o.verified)
		}
	}

	// All of these read the same.
	var advice string
	for name, f := range map[string]bend{
		"it is not good":               func(_ *house, _ *own, r *exchange.Request) { r.SubjectToken.Value = exchange.NewSecret("own-junk") },
		"not the server of anything":   func(h *house, _ *own, _ *exchange.Request) { h.policy.serves = nil },
		"the server of something else": func(h *house, _ *own, _ *exchange.Request) { h.policy.serves["wiki-server"] = wiki + "/" },
		"another client is its server": func(h *house, _ *own, r *exchange.Request) { r.Client = "gw" },
		"a client of another tenant":   func(_ *house, _ *own, r *exchange.Request) { r.Presenter.Tenant = "other" },
	} {
		h, o := newOwnHouse(t, exchange.ModeLocal)
		r := ownRequest()
		f(h, o, &r)
		_, err := h.exchange(t.Context(), r)
		var e *exchange.Error
		if !errors.As(err, &e) || e.Kind != exchange.KindInvalidSubject || advice != "" && e.Advice != advice {
			t.Errorf("%s: %v", name, err)
			continue
		}
		advice = e.Advice
		if report := h.reports.last(); report.Verified != (name != "it is not good") || report.Recorded != report.Verified {
			t.Errorf("%s: the report says %+v", name, report)
		}
	}

	// What nobody refused is no refusal.
	for name, c := range map[string]struct {
		err  error
		kind exchange.Kind
	}{
		"leases cannot be read":  {exchange.Fault(exchange.KindUnavailable, "try again", nil), exchange.KindUnavailable},
		"an origin that is bent": {errors.New("it does not open"), exchange.KindInternal},
	} {
		h, o := newOwnHouse(t, exchange.ModeLocal)
		o.err = c.err
		if _, err := h.exchange(t.Context(), ownRequest()); exchange.KindOf(err) != c.kind {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, blank := range map[string]*exchange.Own{"no word of what it is": nil, "no lineage": {Audience: wiki}} {
		h, o := newOwnHouse(t, exchange.ModeLocal)
		s := o.subjects[ownToken]
		s.Own = blank
		o.subjects[ownToken] = s
		if _, err := h.exchange(t.Context(), ownRequest()); exchange.KindOf(err) != exchange.KindInternal {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestS7ClientlessDoesNotMatter for a token of ours: its first token's trust may say
// what it likes.
func TestS7ClientlessDoesNotMatter(t *testing.T) {
	for _, clientless := range []exchange.Clientless{exchange.ClientlessNo, exchange.ClientlessWithActor, exchange.ClientlessYes} {
		h, o := newOwnHouse(t, exchange.ModeLocal)
		s := o.subjects[ownToken]
		s.Clientless = clientless
		o.subjects[ownToken] = s
		if _, err := h.exchange(t.Context(), ownRequest()); err != nil {
			t.Errorf("%d: %v", clientless, err)
		}
		r := ownRequest()
		r.Client, r.Presenter = "", nil
		if _, err := h.exchange(t.Context(), r); exchange.KindOf(err) != exchange.KindInvalidClient {
			t.Errorf("%d, without a client: %v", clientless, err)
		}
	}
}

// TestS7TheOriginIsKept with the lease of a token that may come back, sealed, and
// with no other.
func TestS7TheOriginIsKept(t *testing.T) {
	helper := &exchange.MayAct{Issuer: "https://prod", ID: "helper"}
	for _, returns := range []bool{false, true} {
		h := newHouse(t, exchange.ModeLocal)
		h.policy.returns = returns
		h.change(subjectToken, func(s *exchange.Subject) {
			s.Kind, s.TrustHash, s.MayAct = exchange.TrustKubernetes, [32]byte{4}, helper
			s.Attributes, s.Record = exchange.Attributes{"namespace": {"llm"}}, exchange.Attributes{"pod": {"p"}}
			s.Asserted = []exchange.Actor{{Name: "bob", Issuer: "https://prod", ID: "bob", AssertedBy: "prod"}}
		})
		if _, err := h.exchange(t.Context(), withActor(request())); err != nil {
			t.Fatal(err)
		}
		l := h.ledger.leases[0]
		if !returns {
			if l.Origin != nil {
				t.Error("an origin is kept that nobody can ask for")
			}
			continue
		}
		got, err := h.bureau.Sealer.OpenOrigin(l.ID, l.Origin)
		if err != nil {
			t.Fatal(err)
		}
		want := exchange.Origin{
			Trust: "prod", TrustHash: [32]byte{4}, Kind: exchange.TrustKubernetes, Issuer: "https://prod", ID: "gateway",
			Attributes: exchange.Attributes{"namespace": {"llm"}}, Record: exchange.Attributes{"pod": {"p"}}, MayAct: helper,
			Actors: []exchange.Actor{
				{Name: "k8s:prod:agents:helper", Trust: "prod", Issuer: "https://prod", ID: "helper", Proven: true, Expires: noon.Add(time.Hour)},
				{Name: "bob", Issuer: "https://prod", ID: "bob", AssertedBy: "prod"},
			},
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("the origin is\n%+v, want\n%+v", got, want)
		}
		if _, err := h.bureau.Sealer.OpenOrigin(exchange.ID{1}, l.Origin); err == nil {
			t.Error("it opens for another lease")
		}
	}
}

// TestLeaseSaysHowFarItMayGo: what rule and request allowed, however short the token
// lived that bought it (S26).
func TestLeaseSaysHowFarItMayGo(t *testing.T) {
	h := newHouse(t, exchange.ModeUpstream)
	h.change(subjectToken, func(s *exchange.Subject) { s.Expires = noon.Add(2 * time.Minute) })
	h.vendor.life = time.Minute
	if _, err := h.exchange(t.Context(), request()); err != nil {
		t.Fatal(err)
	}
	if l := h.ledger.leases[0]; !l.Latest.Equal(noon.Add(15*time.Minute)) || l.Actor != "" || l.Lineage != nil {
		t.Errorf("the lease is %+v", l)
	}
}
