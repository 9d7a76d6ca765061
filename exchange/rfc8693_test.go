package exchange_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/exchange"
)

// chainOf is n actors that someone asserts, each with a name of so many bytes.
func chainOf(n, size int, by string) []exchange.Actor {
	var all []exchange.Actor
	for range n {
		all = append(all, exchange.Actor{Name: strings.Repeat("a", size), ID: "a", AssertedBy: by})
	}
	return all
}

// TestRFC8693Section4_1OnlyTheOutermostActorCounts for access: the others are kept,
// and policy is told of no more than that they are there.
func TestRFC8693Section4_1OnlyTheOutermostActorCounts(t *testing.T) {
	h := newHouse(t, exchange.ModeLocal)
	h.change(subjectToken, func(s *exchange.Subject) { s.Asserted = chainOf(3, 5, "prod") })
	if _, err := h.exchange(t.Context(), withActor(request())); err != nil {
		t.Fatal(err)
	}
	q := h.policy.asked[0]
	if len(q.Actors) != 1 || q.Actors[0].Name != "k8s:prod:agents:helper" || len(q.Subject.Asserted) != 3 {
		t.Errorf("actors %+v, asserted %+v", q.Actors, q.Subject.Asserted)
	}
	if got := h.vendor.grants[0].Actors; len(got) != 4 || got[0].Name != q.Actors[0].Name {
		t.Errorf("the chain is %+v", got)
	}
}

// TestRFC8693Section4_1ChainsAreRefusedOverTheirCaps and never cut, in depth and in
// bytes, with an actor token, without, and for a token of ours.
func TestRFC8693Section4_1ChainsAreRefusedOverTheirCaps(t *testing.T) {
	const most = exchange.MaxActors
	helper := len("k8s:prod:agents:helper") + len("https://prod")
	for name, c := range map[string]struct {
		chain []exchange.Actor
		actor bool
		limit string // named in the advice; empty: allowed
	}{
		"the most":                {chainOf(most, 1, "prod"), false, ""},
		"one more":                {chainOf(most+1, 1, "prod"), false, "8 actors"},
		"the most, with an actor": {chainOf(most-1, 1, "prod"), true, ""},
		"an actor too many":       {chainOf(most, 1, "prod"), true, "8 actors"},
		"all bytes":               {chainOf(2, exchange.MaxActorsBytes/2, "prod"), false, ""},
		"a byte more":             {chainOf(1, exchange.MaxActorsBytes+1, "prod"), false, "2048 bytes"},
		"all bytes, an actor":     {chainOf(1, exchange.MaxActorsBytes-helper, "prod"), true, ""},
		"a byte more, an actor":   {chainOf(1, exchange.MaxActorsBytes-helper+1, "prod"), true, "2048 bytes"},
		"an issuer counts too":    {[]exchange.Actor{{Name: "a", Issuer: strings.Repeat("i", exchange.MaxActorsBytes), AssertedBy: "prod"}}, false, "2048 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t, exchange.ModeLocal)
			h.change(subjectToken, func(s *exchange.Subject) { s.Asserted = c.chain })
			r := request()
			if c.actor {
				r = withActor(r)
			}
			_, err := h.exchange(t.Context(), r)
			if c.limit == "" {
				if err != nil {
					t.Fatal(err)
				}
				want := len(c.chain)
				if c.actor {
					want++
				}
				if got := h.vendor.grants[0].Actors; len(got) != want {
					t.Errorf("%d actors of %d are in the grant", len(got), want)
				}
				return
			}
			var e *exchange.Error
			if !errors.As(err, &e) || e.Kind != exchange.KindInvalidActor || !strings.Contains(e.Advice, c.limit) || len(h.vendor.grants) != 0 {
				t.Errorf("%v", err)
			}
		})
	}
	for n, want := range map[int]exchange.Kind{most - 1: exchange.KindInternal, most: exchange.KindInvalidActor} {
		h, o := newOwnHouse(t, exchange.ModeLocal)
		s := o.subjects[ownToken]
		s.Asserted = chainOf(n, 1, exchange.SelfTrust)
		o.subjects[ownToken] = s
		if _, err := h.exchange(t.Context(), ownRequest()); exchange.KindOf(err) != want {
			t.Errorf("a token of ours with %d actors: %v", n, err)
		}
	}
}

// TestRFC8693Section4_1ActorsAreNotShed: what a token brings of actors and of may_act
// is in what comes of it, whoever presents it and with whatever besides.
func TestRFC8693Section4_1ActorsAreNotShed(t *testing.T) {
	may := &exchange.MayAct{Issuer: "https://prod", ID: "helper"}
	h := newHouse(t, exchange.ModeLocal)
	h.change(subjectToken, func(s *exchange.Subject) { s.Asserted, s.MayAct = chainOf(2, 3, "prod"), may })
	if _, err := h.exchange(t.Context(), withActor(request())); err != nil {
		t.Fatal(err)
	}
	g := h.vendor.grants[0]
	if len(g.Actors) != 3 || g.Subject.MayAct == nil || *g.Subject.MayAct != *may {
		t.Errorf("actors %+v, may_act %+v", g.Actors, g.Subject.MayAct)
	}
	if _, err := h.exchange(t.Context(), request()); exchange.KindOf(err) != exchange.KindInvalidActor {
		t.Errorf("without the actor's token: %v", err)
	}
}

// TestRFC8693Section4_4MayActNamesWhoPresents a token of ours, by the issuer that
// knows the client: ours, or that of the token it proved itself with.
func TestRFC8693Section4_4MayActNamesWhoPresents(t *testing.T) {
	for name, c := range map[string]struct {
		may     exchange.MayAct
		refused bool
	}{
		"the client":             {exchange.MayAct{Issuer: "https://sts", ID: "wiki-server"}, false},
		"another client":         {exchange.MayAct{Issuer: "https://sts", ID: "gw"}, true},
		"of another issuer":      {exchange.MayAct{Issuer: "https://corp", ID: "wiki-server"}, true},
		"an actor of its past":   {exchange.MayAct{Issuer: "https://prod", ID: "helper"}, true},
		"of no issuer, by shape": {exchange.MayAct{ID: "wiki-server"}, true},
	} {
		h, o := newOwnHouse(t, exchange.ModeLocal)
		s := o.subjects[ownToken]
		s.MayAct = &c.may
		o.subjects[ownToken] = s
		_, err := h.exchange(t.Context(), ownRequest())
		if c.refused != (exchange.KindOf(err) == exchange.KindInvalidActor) || !c.refused && err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if !c.refused && *h.vendor.grants[0].Subject.MayAct != c.may {
			t.Errorf("%s: it is lost", name)
		}
	}
}

// TestRFC8693Section2_2_1NothingOutlivesATokenOfOurs, nor the client's proof.
func TestRFC8693Section2_2_1NothingOutlivesATokenOfOurs(t *testing.T) {
	for name, c := range map[string]struct{ token, client, want time.Duration }{
		"the token":  {2 * time.Minute, time.Hour, 2 * time.Minute},
		"the client": {time.Hour, 3 * time.Minute, 3 * time.Minute},
		"the rule":   {time.Hour, time.Hour, 15 * time.Minute},
	} {
		h, o := newOwnHouse(t, exchange.ModeLocal)
		s := o.subjects[ownToken]
		s.Expires = noon.Add(c.token)
		o.subjects[ownToken] = s
		r := ownRequest()
		r.Presenter.Expires = noon.Add(c.client)
		h.vendor.life = time.Minute
		if _, err := h.exchange(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		if got := h.vendor.grants[0].NotAfter; !got.Equal(noon.Add(c.want)) {
			t.Errorf("%s: until %v", name, got)
		}
	}
}
