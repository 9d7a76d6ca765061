package providertest_test

import (
	"context"
	"crypto/rand"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/provider"
	"github.com/cambio-sts/cambio/exchange/provider/providertest"
)

// TestUpstream: the bank passes the suite that it helps to write.
func TestUpstream(t *testing.T) {
	bank := &providertest.Upstream{
		Now:    time.Now,
		Offers: exchange.Facts{Scopes: []string{"read", "write"}, Types: []exchange.TokenType{exchange.TokenTypeAccessToken}},
	}
	failing := func(kind exchange.Kind) func(*testing.T) func() {
		return func(*testing.T) func() {
			bank.Before = func(context.Context, exchange.Grant) error { return exchange.Fault(kind, "change it", nil) }
			return func() { bank.Before = nil }
		}
	}
	providertest.Run(t, providertest.Harness{
		Provider: "bank", Config: bank, Deps: provider.Deps{Now: time.Now, Random: rand.Reader},
		Scopes: []string{"read", "write"}, Type: exchange.TokenTypeAccessToken,
		Honour: func(_ *testing.T, c exchange.Credential) (string, []string, error) {
			subject, err := bank.Use(c.Value)
			for _, a := range bank.Accounts() {
				if err == nil && a.Expires.Equal(c.Expires) && a.Subject == subject {
					return subject, a.Scopes, nil
				}
			}
			return subject, nil, err
		},
		Fail: map[exchange.Kind]func(*testing.T) func(){
			exchange.KindProviderRefused: failing(exchange.KindProviderRefused),
			exchange.KindMisconfigured:   failing(exchange.KindMisconfigured),
			exchange.KindThrottled:       failing(exchange.KindThrottled),
			exchange.KindUnavailable:     failing(exchange.KindUnavailable),
		},
		Hang: func(*testing.T) func() {
			bank.Before = func(ctx context.Context, _ exchange.Grant) error { <-ctx.Done(); return ctx.Err() }
			return func() { bank.Before = nil }
		},
	})
}
