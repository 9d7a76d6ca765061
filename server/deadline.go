package server

import (
	"time"

	"github.com/cambio-sts/cambio/exchange"
)

// ExchangeTime is the longest that one exchange takes whose steps have timeout, as
// exchange.Bureau keeps it (zero: exchange.DefaultTimeout): it starts its clock anew
// at the intent, and denies may make it repeat its durable writes. Doors give an
// exchange this long, so that limits.timeout is the one setting.
func ExchangeTime(timeout time.Duration) time.Duration {
	return 2*orElse(timeout, exchange.DefaultTimeout) + 4*exchange.SettleTimeout
}
