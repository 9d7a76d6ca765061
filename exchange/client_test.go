package exchange_test

import (
	"testing"

	"github.com/cambio-sts/cambio/exchange"
)

func selfRequest() exchange.Request {
	c := exchange.Client{Tenant: "default", Name: "ci", Hash: [32]byte{7}}
	self := c.Subject(noon)
	r := request()
	r.Grant, r.Client, r.ClientHash, r.Self = exchange.GrantClientCredentials, c.Name, c.Hash, &self
	r.SubjectToken = exchange.Token{}
	return r
}

// RFC 6749 §4.4: the client is the subject, and the record says so.
func TestRFC6749Section4_4ClientIsTheSubject(t *testing.T) {
	h := newHouse(t, exchange.ModeLocal)
	receipt, err := h.exchange(t.Context(), selfRequest())
	if err != nil {
		t.Fatal(err)
	}
	o, _ := h.ledger.outcome(receipt.Exchange)
	if r := o.Record; r.Subject != "client:ci" || r.Client != "ci" || r.Trust != "" || r.GrantType != "client_credentials" {
		t.Errorf("%+v", r)
	}
	if q := h.policy.asked[0]; q.Client != "ci" || q.ClientHash != [32]byte{7} || q.Subject.Kind != exchange.TrustClient {
		t.Errorf("policy was asked %+v", q)
	}
}

// A door that makes no sense gets nothing: a client itself without a client, and
// with a token of somebody besides.
func TestS17ClientItselfNeedsAClient(t *testing.T) {
	for name, spoil := range map[string]func(*exchange.Request){
		"no client": func(r *exchange.Request) { r.Client = "" },
		"a token":   func(r *exchange.Request) { r.SubjectToken = request().SubjectToken },
	} {
		h := newHouse(t, exchange.ModeLocal)
		r := selfRequest()
		spoil(&r)
		if _, err := h.exchange(t.Context(), r); exchange.KindOf(err) != exchange.KindInternal {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// RFC 7523 §3: what proved the client burns with the exchange, in each mode, and
// the second use is blamed on the client.
func TestRFC7523Section3AssertionBurns(t *testing.T) {
	for name, mode := range modes {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t, mode)
			r := request()
			r.Client, r.ClientOnce = "gateway", once("a1")
			h.policy.refusing = true
			if _, err := h.exchange(t.Context(), r); exchange.KindOf(err) != exchange.KindInvalidTarget {
				t.Fatal(err)
			}
			h.policy.refusing = false
			if _, err := h.exchange(t.Context(), r); err != nil {
				t.Fatal(err)
			}
			if _, err := h.exchange(t.Context(), r); exchange.KindOf(err) != exchange.KindInvalidClient {
				t.Errorf("again: %v", err)
			}
			h.change(subjectToken, func(s *exchange.Subject) { s.Once = once("j1") })
			r.ClientOnce = once("a2")
			if _, err := h.exchange(t.Context(), r); exchange.KindOf(err) != exchange.KindInvalidClient {
				t.Errorf("two that burn: %v", err)
			}
		})
	}
}
