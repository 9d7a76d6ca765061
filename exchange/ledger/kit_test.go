package ledger_test

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"io"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/ledger"
)

var at = time.Date(2026, 11, 21, 10, 0, 0, 123456000, time.UTC)

func newID(random io.Reader) exchange.ID {
	id, err := exchange.NewID(at, random)
	if err != nil {
		panic(err)
	}
	return id
}

func event(of exchange.EventType) exchange.Event {
	return exchange.Event{
		ID: newID(rand.Reader), Exchange: newID(rand.Reader), Tenant: "default", Type: of, At: at,
		Record: exchange.Record{Subject: "k8s:prod:llm:gateway", Target: "bedrock"},
	}
}

// open starts a ledger that does not pause between attempts, unless o says so.
func open(t testing.TB, log ledger.Log, o ledger.Options) *ledger.Ledger {
	t.Helper()
	o.Log, o.Now = log, time.Now
	if o.FirstWait == 0 {
		o.FirstWait = time.Nanosecond
	}
	l := ledger.New(o)
	t.Cleanup(func() {
		if err := l.Close(context.Background()); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return l
}

// step is one of the ledger's three writes.
type step struct {
	name  string
	write func(context.Context, *ledger.Ledger, exchange.Event) error
	of    exchange.EventType
}

var steps = []step{
	{"intend", func(ctx context.Context, l *ledger.Ledger, e exchange.Event) error {
		return l.Intend(ctx, exchange.Intent{Event: e, Deadline: at.Add(time.Minute)})
	}, exchange.EventIntent},
	{"settle", func(ctx context.Context, l *ledger.Ledger, e exchange.Event) error {
		return l.Settle(ctx, exchange.Outcome{Event: e, Lease: &exchange.Lease{ID: e.ID}})
	}, exchange.EventIssued},
	{"note", func(ctx context.Context, l *ledger.Ledger, e exchange.Event) error {
		return l.Note(ctx, e)
	}, exchange.EventQueried},
	{"burn", func(ctx context.Context, l *ledger.Ledger, e exchange.Event) error {
		return l.Burn(ctx, e, exchange.Once{Realm: "client:default:gw", Hash: sha256.Sum256(e.ID[:]), Expires: at.Add(time.Minute)})
	}, exchange.EventQueried},
}
