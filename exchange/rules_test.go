package exchange_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/exchange"
)

// change alters a subject that the verifier knows.
func (h *house) change(token string, f func(*exchange.Subject)) {
	s := h.verifier.subjects[token]
	f(&s)
	h.verifier.subjects[token] = s
}

// TestS5LifetimeCaps: what the vendor may give is the least of rule, request,
// subject and every actor, and a credential past it is withheld unless the target
// says that it may outlive, which is recorded.
func TestS5LifetimeCaps(t *testing.T) {
	for name, c := range map[string]struct {
		set  func(h *house, r *exchange.Request)
		caps time.Duration
	}{
		"rule":    {caps: 15 * time.Minute, set: func(*house, *exchange.Request) {}},
		"request": {caps: 2 * time.Minute, set: func(_ *house, r *exchange.Request) { r.Lifetime = 2 * time.Minute }},
		"subject": {caps: 3 * time.Minute, set: func(h *house, _ *exchange.Request) {
			h.change(subjectToken, func(s *exchange.Subject) { s.Expires = noon.Add(3 * time.Minute) })
		}},
		"actor": {caps: 4 * time.Minute, set: func(h *house, r *exchange.Request) {
			*r = withActor(*r)
			h.change(actorToken, func(s *exchange.Subject) { s.Expires = noon.Add(4 * time.Minute) })
		}},
	} {
		t.Run(name, func(t *testing.T) {
			for _, life := range []time.Duration{-time.Second, 0, time.Second} {
				for _, outlive := range []bool{false, true} {
					h := newHouse(t, exchange.ModeUpstream)
					r := request()
					c.set(h, &r)
					h.policy.outlive = outlive
					h.vendor.life = c.caps + life
					_, err := h.exchange(t.Context(), r)
					if got := h.vendor.grants[0].NotAfter; !got.Equal(noon.Add(c.caps)) {
						t.Errorf("the grant ends at %v, want %v", got, noon.Add(c.caps))
					}
					past := life > 0
					if past && !outlive {
						if exchange.KindOf(err) != exchange.KindInvalidLifetime {
							t.Errorf("%v past the cap: %v", life, err)
						}
						continue
					}
					if err != nil {
						t.Fatalf("%v from the cap, outlive %t: %v", life, outlive, err)
					}
					event, _ := h.ledger.outcome(h.reports.last().Exchange)
					if want := max(int64(life/time.Second), 0); event.Record.Excess != want {
						t.Errorf("the record says %d s past the caps, want %d", event.Record.Excess, want)
					}
				}
			}
		})
	}
}

// TestS5ASecondDecisionMayCapLower: what was vended under the first is withheld when
// it lives past the second.
func TestS5ASecondDecisionMayCapLower(t *testing.T) {
	for name, mode := range modes {
		h := newHouse(t, mode)
		h.at(true, exchange.EventIssued, func() error { h.ledger.deny(); return nil })
		h.policy.onEpoch = func(_ int64, p *policy) { p.lifetime = 5 * time.Minute }
		_, err := h.exchange(t.Context(), request()) // vends ten minutes
		event, _ := h.ledger.outcome(h.reports.last().Exchange)
		if exchange.KindOf(err) != exchange.KindInvalidLifetime || event.Type != exchange.EventFailed {
			t.Errorf("%s: %v; the ledger says %q", name, err, event.Type)
		}
	}
}

// TestS15ActorsAreProven: policy sees as actors only those proven in this request;
// an asserted chain is kept and shown, may_act is held to, and leaving out the
// actor's token never helps.
func TestS15ActorsAreProven(t *testing.T) {
	asserted := exchange.Actor{Name: "bob", Issuer: "https://corp", ID: "bob", AssertedBy: "corp"}
	helper := &exchange.MayAct{Issuer: "https://prod", ID: "helper"}
	for name, c := range map[string]struct {
		subject func(*exchange.Subject)
		actor   func(*exchange.Subject)
		request exchange.Request
		kind    exchange.Kind // internal: allowed
		actors  []string      // as policy saw them
	}{
		"none":   {request: request()},
		"proven": {request: withActor(request()), actors: []string{"k8s:prod:agents:helper"}},
		"only asserted": {request: request(),
			subject: func(s *exchange.Subject) { s.Asserted = []exchange.Actor{asserted} }},
		"proven over asserted": {request: withActor(request()), actors: []string{"k8s:prod:agents:helper"},
			subject: func(s *exchange.Subject) { s.Asserted = []exchange.Actor{asserted} }},
		"an actor who is acted for": {request: withActor(request()), kind: exchange.KindInvalidActor,
			actor: func(s *exchange.Subject) { s.Asserted = []exchange.Actor{asserted} }},
		"may_act, and it is the one": {request: withActor(request()), actors: []string{"k8s:prod:agents:helper"},
			subject: func(s *exchange.Subject) { s.MayAct = helper }},
		"may_act, and it is another": {request: withActor(request()), kind: exchange.KindInvalidActor,
			subject: func(s *exchange.Subject) { s.MayAct = &exchange.MayAct{Issuer: "https://prod", ID: "other"} }},
		"may_act, of another issuer": {request: withActor(request()), kind: exchange.KindInvalidActor,
			subject: func(s *exchange.Subject) { s.MayAct = &exchange.MayAct{Issuer: "https://corp", ID: "helper"} }},
		"may_act, and nobody came": {request: request(), kind: exchange.KindInvalidActor,
			subject: func(s *exchange.Subject) { s.MayAct = helper }},
		"may_act, and the actor is only asserted": {request: request(), kind: exchange.KindInvalidActor,
			subject: func(s *exchange.Subject) {
				s.MayAct = helper
				s.Asserted = []exchange.Actor{{Name: "helper", Issuer: "https://prod", ID: "helper", AssertedBy: "prod"}}
			}},
		"an actor of another tenant": {request: withActor(request()), kind: exchange.KindInvalidActor,
			actor: func(s *exchange.Subject) { s.Tenant = "other" }},
		"both are single-use": {request: withActor(request()), kind: exchange.KindInvalidActor,
			subject: func(s *exchange.Subject) { s.Once = once("a") },
			actor:   func(s *exchange.Subject) { s.Once = once("b") }},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t, exchange.ModeLocal)
			if c.subject != nil {
				h.change(subjectToken, c.subject)
			}
			if c.actor != nil {
				h.change(actorToken, c.actor)
			}
			_, err := h.exchange(t.Context(), c.request)
			event, _ := h.ledger.outcome(h.reports.last().Exchange)
			if c.kind != exchange.KindInternal {
				if exchange.KindOf(err) != c.kind || len(h.policy.asked) != 0 {
					t.Errorf("%v, and policy was asked %d times", err, len(h.policy.asked))
				}
				if event.Type != exchange.EventDenied {
					t.Errorf("the ledger says %q", event.Type)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var seen []string
			for _, a := range h.policy.asked[0].Actors {
				if !a.Proven {
					t.Errorf("policy saw %q, whom nobody proved", a.Name)
				}
				seen = append(seen, a.Name)
			}
			if !slices.Equal(seen, c.actors) {
				t.Errorf("policy saw actors %q, want %q", seen, c.actors)
			}
			if strings.Contains(name, "only asserted") || strings.Contains(name, "over asserted") {
				if !slices.Equal(event.Record.Asserted, []string{"corp says bob"}) || !slices.Equal(event.Record.Actors, c.actors) {
					t.Errorf("the record shows the chain as %q, and actors %q", event.Record.Asserted, event.Record.Actors)
				}
				chain := h.vendor.grants[0].Actors
				if last := chain[len(chain)-1]; len(chain) != 1+len(c.actors) || last.Proven || last.Name != "bob" {
					t.Errorf("the grant's chain is %+v", chain)
				}
			}
		})
	}
}

// TestS16Clientless: who may come without a registered client is the trust's word,
// for the subject's token and for the actor's.
func TestS16Clientless(t *testing.T) {
	no, withProven, yes := exchange.ClientlessNo, exchange.ClientlessWithActor, exchange.ClientlessYes
	for _, c := range []struct {
		subject, actor exchange.Clientless
		acted          bool
		client         string
		allowed        bool
	}{
		{subject: yes, allowed: true},
		{subject: no},
		{subject: no, client: "gw", allowed: true},
		{subject: withProven},
		{subject: withProven, client: "gw", allowed: true},
		{subject: withProven, acted: true, actor: yes, allowed: true},
		{subject: withProven, acted: true, actor: withProven},
		{subject: withProven, acted: true, actor: no},
		{subject: no, acted: true, actor: yes},
		{subject: yes, acted: true, actor: yes, allowed: true},
		{subject: yes, acted: true, actor: no},
		{subject: no, acted: true, actor: no, client: "gw", allowed: true},
	} {
		h := newHouse(t, exchange.ModeLocal)
		h.change(subjectToken, func(s *exchange.Subject) { s.Clientless = c.subject })
		h.change(actorToken, func(s *exchange.Subject) { s.Clientless = c.actor })
		r := request()
		if c.acted {
			r = withActor(r)
		}
		r.Client = c.client
		_, err := h.exchange(t.Context(), r)
		if c.allowed && err != nil {
			t.Errorf("%+v: %v", c, err)
		}
		if !c.allowed && exchange.KindOf(err) != exchange.KindInvalidClient {
			t.Errorf("%+v: want invalid_client, got %v", c, err)
		}
	}
}

// TestS18NoAnswerBeforeAnAllow: a refusal reads the same whether or not the subject
// is over its rate, and a subject over its rate hears so only after an allow.
func TestS18NoAnswerBeforeAnAllow(t *testing.T) {
	text := func(over bool) string {
		h := newHouse(t, exchange.ModeLocal)
		h.policy.refusing, h.governor.overDenials, h.governor.over = true, over, over
		_, err := h.exchange(t.Context(), request())
		var e *exchange.Error
		if !errors.As(err, &e) {
			t.Fatal(err)
		}
		return e.Kind.String() + " " + e.Advice + " " + e.RetryAfter.String()
	}
	if a, b := text(false), text(true); a != b || !strings.HasPrefix(a, "invalid_target") {
		t.Errorf("refused: %q; refused and over the rate: %q", a, b)
	}
	h := newHouse(t, exchange.ModeLocal)
	h.governor.over = true
	if _, err := h.exchange(t.Context(), request()); exchange.KindOf(err) != exchange.KindThrottled {
		t.Errorf("allowed and over the rate: %v", err)
	}
}

// TestS32RowsAreForVerifiedSubjects: what verified nothing leaves no row, and a
// verified subject's refusals leave no more than the governor lets through,
// wherever in the pipeline they arise.
func TestS32RowsAreForVerifiedSubjects(t *testing.T) {
	unverified := newHouse(t, exchange.ModeLocal)
	r := request()
	r.SubjectToken.Value = exchange.NewSecret("junk")
	if _, err := unverified.exchange(t.Context(), r); exchange.KindOf(err) != exchange.KindInvalidSubject {
		t.Errorf("junk: %v", err)
	}
	if len(unverified.ledger.events) != 0 || unverified.governor.admitted != 0 {
		t.Error("junk left a row, or took from someone's allowance")
	}
	if report := unverified.reports.last(); report.Verified || report.Recorded {
		t.Errorf("the report says %+v", report)
	}

	refusals := map[string]func(h *house, r *exchange.Request){
		"by policy": func(h *house, _ *exchange.Request) { h.policy.refusing = true },
		"no client": func(h *house, _ *exchange.Request) {
			h.change(subjectToken, func(s *exchange.Subject) { s.Clientless = 0 })
		},
		"a junk actor": func(_ *house, r *exchange.Request) { r.ActorToken.Value = exchange.NewSecret("junk") },
		"may_act": func(h *house, _ *exchange.Request) {
			h.change(subjectToken, func(s *exchange.Subject) { s.MayAct = &exchange.MayAct{Issuer: "i", ID: "x"} })
		},
	}
	for name, set := range refusals {
		for _, over := range []bool{false, true} {
			h := newHouse(t, exchange.ModeLocal)
			r := request()
			set(h, &r)
			h.governor.overDenials = over
			if _, err := h.exchange(t.Context(), r); err == nil {
				t.Fatalf("%s: allowed", name)
			}
			want := 1
			if over {
				want = 0
			}
			if len(h.ledger.events) != want {
				t.Errorf("%s, over the rate: %t: %d rows, want %d", name, over, len(h.ledger.events), want)
			}
			if h.governor.admitted != h.governor.released {
				t.Errorf("%s: admitted %d, released %d", name, h.governor.admitted, h.governor.released)
			}
		}
	}
}

// TestUnprovenActorIsNoRefusal: keys of the actor's issuer that cannot be had are a
// failure, which the ledger tells apart from a denial.
func TestUnprovenActorIsNoRefusal(t *testing.T) {
	h := newHouse(t, exchange.ModeLocal)
	_, err := h.exchange(t.Context(), withActor(request()))
	if err != nil {
		t.Fatal(err)
	}
	h.change(actorToken, func(*exchange.Subject) {})
	down := &downFor{verifier: h.verifier, token: actorToken}
	h.bureau.Verifier = down
	_, err = h.exchange(t.Context(), withActor(request()))
	event, _ := h.ledger.outcome(h.reports.last().Exchange)
	if exchange.KindOf(err) != exchange.KindUnavailable || event.Type != exchange.EventFailed {
		t.Errorf("%v; the ledger says %q", err, event.Type)
	}
}

// TestS13OnceBurnsWithTheExchange: one single-use token buys one exchange, in every
// mode, and a refusal costs nothing.
func TestS13OnceBurnsWithTheExchange(t *testing.T) {
	for name, mode := range modes {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t, mode)
			h.change(subjectToken, func(s *exchange.Subject) { s.Once = once("j1") })
			h.policy.refusing = true
			if _, err := h.exchange(t.Context(), request()); exchange.KindOf(err) != exchange.KindInvalidTarget {
				t.Fatal(err)
			}
			h.policy.refusing = false
			if _, err := h.exchange(t.Context(), request()); err != nil {
				t.Fatalf("after a refusal: %v", err)
			}
			if _, err := h.exchange(t.Context(), request()); exchange.KindOf(err) != exchange.KindReplayed {
				t.Errorf("again: %v", err)
			}
		})
	}
}

// TestS27LeaseGoesWithItsCredential: what was minted here brings its lease, what
// was at hand points to one.
func TestS27LeaseGoesWithItsCredential(t *testing.T) {
	for name, mode := range modes {
		h := newHouse(t, mode)
		receipt, err := h.exchange(t.Context(), request())
		if err != nil {
			t.Fatal(err)
		}
		event, _ := h.ledger.outcome(receipt.Exchange)
		if event.Record.Lease != receipt.Credential.Lease.String() {
			t.Errorf("%s: the record's lease is %q", name, event.Record.Lease)
		}
		if hit := mode == exchange.ModeHit; event.Record.Reused != hit || (len(h.ledger.leases) == 0) != hit {
			t.Errorf("%s: reused %t, with %d leases written", name, event.Record.Reused, len(h.ledger.leases))
		}
		for _, lease := range h.ledger.leases {
			opened, err := h.bureau.Sealer.Open("lease", lease.ID.String(), lease.Sealed)
			if err != nil || string(opened) != revokeSecret {
				t.Errorf("%s: the lease does not open: %v", name, err)
			}
		}
	}
}

// TestRecordTellsTheWholeExchange: one row answers an auditor.
func TestRecordTellsTheWholeExchange(t *testing.T) {
	h := newHouse(t, exchange.ModeUpstream)
	h.change(subjectToken, func(s *exchange.Subject) {
		s.Record, s.KeyID = exchange.Attributes{"email": {"a@example"}}, "k1"
	})
	r := withActor(request())
	r.Lifetime, r.Client = 5*time.Minute, "gw"
	h.vendor.life = 5 * time.Minute
	receipt, err := h.exchange(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	e, _ := h.ledger.outcome(receipt.Exchange)
	got := e.Record
	if got.Durations == nil {
		t.Error("no durations")
	}
	got.Durations, got.Credential, got.Lease, got.Claims = nil, "", "", nil
	got.Actors, got.AskedTargets, got.AskedScopes, got.Scopes = nil, nil, nil, nil
	want := exchange.Record{
		Exchange: receipt.Exchange.String(), Type: "issued", At: "2026-11-21T12:00:00.000000Z", Tenant: "default",
		Subject: "k8s:prod:llm:gateway", Trust: "prod", Actor: "k8s:prod:agents:helper", Client: "gw", Target: "bank",
		Provider: "test", Door: "oauth", GrantType: "urn:ietf:params:oauth:grant-type:token-exchange",
		TokenType: string(exchange.TokenTypeAccessToken), AskedLifetime: 300, Lifetime: 300,
		Expires: "2026-11-21T12:05:00.000000Z", Rule: "r1", Revision: "rev1", Reason: "tests", Outcome: "issued",
		Handle: "h1", ClientIP: "192.0.2.1", UserAgent: "go-test", TraceID: "t1", TokenID: "j1", KeyID: "k1",
	}
	if !sameRecord(got, want) {
		t.Errorf("the record is\n%+v, want\n%+v", got, want)
	}
	if e.Record.Claims["email"][0] != "a@example" || e.Record.AskedTargets[0] != "bank" || e.Record.Scopes[0] != "read" {
		t.Errorf("the record's lists are %+v", e.Record)
	}
}
