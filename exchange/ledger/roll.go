package ledger

import (
	"context"
	"time"
)

// RollEvery is how often the counts catch up with the ledger. What they do not
// have yet is counted from the ledger itself, at a few microseconds a row.
const RollEvery = 10 * time.Second

// KeepCounts rolls at each tick until ctx ends. What fails is reported and tried
// again at the next tick; summaries stay exact meanwhile, and only take longer.
func KeepCounts(ctx context.Context, log Audit, tick <-chan time.Time, report func(error)) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick:
		}
		for more := true; more && ctx.Err() == nil; {
			var err error
			if more, err = log.Roll(ctx); err != nil && ctx.Err() == nil {
				report(err)
				break
			}
		}
	}
}
