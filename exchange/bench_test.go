package exchange_test

import (
	"context"
	"crypto/rand"
	"testing"

	"github.com/cambio-sts/cambio/exchange"
)

// free is a ledger, an observer and a vendor that cost nothing.
type free struct{ credential exchange.Credential }

func (free) Intend(context.Context, exchange.Intent) error                    { return nil }
func (free) Settle(context.Context, exchange.Outcome) error                   { return nil }
func (free) Note(context.Context, exchange.Event) error                       { return nil }
func (free) Observe(context.Context, exchange.Report)                         {}
func (f free) Reserve(context.Context, exchange.Grant) (exchange.Slot, error) { return f, nil }
func (free) Mode() exchange.Mode                                              { return exchange.ModeLocal }
func (f free) Vend(context.Context) (exchange.Credential, error)              { return f.credential, nil }
func (free) Release(context.Context, exchange.Credential, bool) error         { return nil }

// BenchmarkExchange is what the pipeline itself costs.
func BenchmarkExchange(b *testing.B) {
	h := newHouse(b, exchange.ModeLocal)
	id, err := exchange.NewID(noon, rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	f := free{credential: exchange.Credential{
		Value: exchange.NewSecret("x"), TokenType: "Bearer", IssuedType: exchange.TokenTypeAccessToken,
		Issued: noon, Expires: noon.Add(h.policy.lifetime), Lease: id, Minted: true,
	}}
	h.bureau.Ledger, h.bureau.Observer, h.bureau.Vendor = f, f, f
	r := request()
	b.ReportAllocs()
	for b.Loop() {
		h.policy.asked = h.policy.asked[:0]
		if _, err := h.bureau.Exchange(b.Context(), r); err != nil {
			b.Fatal(err)
		}
	}
}
