package exchange_test

import (
	"testing"

	"github.com/cambio-sts/cambio/exchange"
)

// S12: a grant buys something for the client that it names, at the resource that it
// names, once.
func TestS12IdentityAssertionIsForOneClientAtOneResource(t *testing.T) {
	const here, there = "https://mcp.example/here", "https://mcp.example/there"
	redeem := func(client string, resources ...string) exchange.Request {
		r := request()
		r.Grant, r.Client, r.Resources = exchange.GrantJWTBearer, client, resources
		return r
	}
	for name, c := range map[string]struct {
		assertion exchange.IdentityAssertion
		request   exchange.Request
		want      exchange.Kind // zero: it is issued
	}{
		"as made":                  {exchange.IdentityAssertion{ClientID: "desk", Resource: here}, redeem("desk", here), 0},
		"of no resource":           {exchange.IdentityAssertion{ClientID: "desk"}, redeem("desk", there), 0},
		"by another client":        {exchange.IdentityAssertion{ClientID: "desk", Resource: here}, redeem("shop", here), exchange.KindInvalidSubject},
		"by a client in capitals":  {exchange.IdentityAssertion{ClientID: "desk", Resource: here}, redeem("Desk", here), exchange.KindInvalidSubject},
		"by nobody":                {exchange.IdentityAssertion{ClientID: "desk", Resource: here}, redeem("", here), exchange.KindInvalidClient},
		"by nobody, for nobody":    {exchange.IdentityAssertion{}, redeem("", here), exchange.KindInvalidClient},
		"at another resource":      {exchange.IdentityAssertion{ClientID: "desk", Resource: here}, redeem("desk", there), exchange.KindInvalidTarget},
		"at another resource, too": {exchange.IdentityAssertion{ClientID: "desk", Resource: here}, redeem("desk", here, there), exchange.KindInvalidTarget},
		"at a target by name":      {exchange.IdentityAssertion{ClientID: "desk", Resource: here}, redeem("desk"), exchange.KindInvalidTarget},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t, exchange.ModeLocal)
			h.change(subjectToken, func(s *exchange.Subject) {
				s.Assertion, s.Clientless, s.Once = &c.assertion, exchange.ClientlessNo, once("g-1")
			})
			_, err := h.exchange(t.Context(), c.request)
			if c.want != 0 {
				if exchange.KindOf(err) != c.want || len(h.policy.asked) > 0 || len(h.vendor.grants) > 0 {
					t.Errorf("%v, after policy was asked %d times", err, len(h.policy.asked))
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if _, err := h.exchange(t.Context(), c.request); exchange.KindOf(err) != exchange.KindReplayed {
				t.Errorf("again: %v", err)
			}
		})
	}
}

// S12: a grant is the subject's, never an actor's.
func TestS12IdentityAssertionIsNoActor(t *testing.T) {
	h := newHouse(t, exchange.ModeLocal)
	h.change(actorToken, func(s *exchange.Subject) { s.Assertion = &exchange.IdentityAssertion{ClientID: "desk"} })
	r := withActor(request())
	r.Client = "desk"
	if _, err := h.exchange(t.Context(), r); exchange.KindOf(err) != exchange.KindInvalidActor {
		t.Error(err)
	}
}
