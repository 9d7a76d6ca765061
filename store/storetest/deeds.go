package storetest

import (
	"slices"
	"testing"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/ledger"
)

// testDeeds: pages of what belongs to no exchange, newest first, of one tenant, by
// type; and nothing of exchanges.
func testDeeds(t *testing.T, w *world) {
	types := ledger.Deeds()
	var deeds []ledger.Entry
	for i := range 20 {
		deeds = append(deeds, w.entry(w.note("default", types[i%len(types)])))
	}
	w.want(ledger.StatusInserted, deeds...)
	w.want(ledger.StatusInserted, w.issued("default"), w.entry(w.event("default", exchange.EventIntent)),
		w.entry(w.note("north", exchange.EventKeysChanged)))
	slices.SortFunc(deeds, func(a, b ledger.Entry) int { return slices.Compare(b.ID[:], a.ID[:]) })
	for _, q := range []ledger.DeedQuery{
		{Limit: 7}, {Limit: 20}, {Limit: ledger.MaxPage}, {Limit: 1, Types: []exchange.EventType{exchange.EventKeysChanged}},
		{Limit: 3, Types: []exchange.EventType{exchange.EventQueried, exchange.EventDenyAdded}},
	} {
		q.Tenant = "default"
		var want, got []exchange.ID
		for _, e := range deeds {
			if len(q.Types) == 0 || slices.Contains(q.Types, e.Type) {
				want = append(want, e.ID)
			}
		}
		for {
			page, next, err := w.s.Deeds(w.ctx(), q)
			if err != nil || len(page) > q.Limit {
				t.Fatalf("%+v: %d events, %v", q, len(page), err)
			}
			for _, row := range page {
				i := slices.IndexFunc(deeds, func(e ledger.Entry) bool { return e.ID == row.ID })
				if i < 0 || row.Type != deeds[i].Type || row.Exchange != deeds[i].Exchange || row.Tenant != "default" || row.At != deeds[i].At || string(row.Record) != string(deeds[i].Record) {
					t.Errorf("%+v: not what was appended: %+v", q, row)
				}
				got = append(got, row.ID)
			}
			if q.After = next; next == "" {
				break
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%+v: %d events, want %d, newest first", q, len(got), len(want))
		}
	}
	for _, q := range []ledger.DeedQuery{{}, {Limit: ledger.MaxPage + 1}, {Limit: 1, After: "x"}} {
		q.Tenant = "default"
		if _, _, err := w.s.Deeds(w.ctx(), q); exchange.KindOf(err) != exchange.KindInvalidRequest {
			t.Errorf("%+v: %v", q, err)
		}
	}
}
