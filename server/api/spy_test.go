package api_test

import (
	"context"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/ledger"
	"github.com/cambio-sts/cambio/server/api"
)

// spyLog is a Log that tells what it was asked, or answers with what it should not.
type spyLog struct {
	*book
	asked chan ledger.Query
	rows  func(*book) []ledger.Exchange
}

func (s spyLog) List(ctx context.Context, q ledger.Query) ([]ledger.Exchange, ledger.Cursor, error) {
	if s.asked != nil {
		s.asked <- q
	}
	if s.rows != nil {
		return s.rows(s.book), "", nil
	}
	return s.book.List(ctx, q)
}

func (s spyLog) Get(ctx context.Context, tenant string, id exchange.ID) ([]ledger.Exchange, error) {
	if s.rows != nil {
		return s.rows(s.book), nil
	}
	return s.book.Get(ctx, tenant, id)
}

func spy(asked chan ledger.Query) func(*api.Options) {
	return func(o *api.Options) { o.Log = spyLog{book: o.Log.(*book), asked: asked} }
}

func spyRows(rows func(*book) []ledger.Exchange) func(*api.Options) {
	return func(o *api.Options) { o.Log = spyLog{book: o.Log.(*book), rows: rows} }
}
