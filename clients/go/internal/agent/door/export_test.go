package door

import (
	"context"
	"time"
)

// Waiting sets how Run waits, for tests whose time is their own.
func (r *Room) Waiting(wait func(context.Context, time.Duration) bool) { r.wait = wait }
