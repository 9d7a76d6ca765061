package exchange_test

import (
	"context"
	"encoding/json"
	"time"

	"github.com/cambio-sts/cambio/exchange"
)

// downFor is a verifier that cannot have the keys for one token.
type downFor struct {
	*verifier
	token string
}

func (d *downFor) Verify(ctx context.Context, token exchange.Token, now time.Time) (exchange.Subject, error) {
	if token.Value.Reveal() == d.token {
		return exchange.Subject{}, exchange.Fault(exchange.KindUnavailable, "the issuer's keys could not be read; try again", nil)
	}
	return d.verifier.Verify(ctx, token, now)
}

// sameRecord compares what would be stored.
func sameRecord(a, b exchange.Record) bool {
	x, errA := json.Marshal(a)
	y, errB := json.Marshal(b)
	return errA == nil && errB == nil && string(x) == string(y)
}
