package exchange_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/cambio-sts/cambio/exchange"
)

// TestS26WhatFellIsNotHandedOut: what an exchange relies on is revoked between its
// verification and each of its writes, in every mode.
func TestS26WhatFellIsNotHandedOut(t *testing.T) {
	revoke := func(h *house, at exchange.EventType, id exchange.ID) {
		h.at(true, at, func() error { h.ledger.revoked = map[exchange.ID]bool{id: true}; return nil })
	}
	// fellFirst makes the first so many credentials fall.
	fellFirst := func(n int) func(h *house) {
		return func(h *house) {
			h.ledger.fells = func(id exchange.ID) bool {
				for i, s := range h.vendor.slots {
					if strings.HasSuffix(s.value.Reveal(), id.String()) {
						return i < n
					}
				}
				return false
			}
		}
	}
	for name, c := range map[string]struct {
		mode    exchange.Mode
		set     func(h *house)
		issued  bool
		kind    exchange.Kind
		outcome exchange.EventType
		slots   int
		says    string
	}{
		"its token, before the intent": {mode: exchange.ModeUpstream, kind: exchange.KindInvalidSubject, outcome: exchange.EventDenied, slots: 1, says: "does not stand",
			set: func(h *house) { revoke(h, exchange.EventIntent, lineage[1]) }},
		"its token, while it is minted": {mode: exchange.ModeUpstream, kind: exchange.KindInvalidSubject, outcome: exchange.EventDenied, slots: 1, says: "withheld",
			set: func(h *house) { revoke(h, exchange.EventIssued, lineage[1]) }},
		"what its token descends from": {mode: exchange.ModeUpstream, kind: exchange.KindInvalidSubject, outcome: exchange.EventDenied, slots: 1, says: "withheld",
			set: func(h *house) { revoke(h, exchange.EventIssued, lineage[0]) }},
		"its token, for one of our making": {mode: exchange.ModeLocal, kind: exchange.KindInvalidSubject, outcome: exchange.EventDenied, slots: 1, says: "does not stand",
			set: func(h *house) { revoke(h, exchange.EventIssued, lineage[1]) }},
		"its token, for one at hand": {mode: exchange.ModeHit, kind: exchange.KindInvalidSubject, outcome: exchange.EventDenied, slots: 1, says: "does not stand",
			set: func(h *house) { revoke(h, exchange.EventIssued, lineage[1]) }},
		"its token, and a deny that does not concern it": {mode: exchange.ModeLocal, kind: exchange.KindInvalidSubject, outcome: exchange.EventDenied, slots: 1, says: "does not stand",
			set: func(h *house) {
				h.at(true, exchange.EventIssued, func() error {
					h.ledger.deny()
					h.ledger.revoked = map[exchange.ID]bool{lineage[1]: true}
					return nil
				})
			}},
		"nothing":         {mode: exchange.ModeHit, issued: true, outcome: exchange.EventIssued, slots: 1, set: func(*house) {}},
		"the one at hand": {mode: exchange.ModeHit, issued: true, outcome: exchange.EventIssued, slots: 2, set: fellFirst(1)},
		"the one at hand, and then its token": {mode: exchange.ModeHit, kind: exchange.KindInvalidSubject, outcome: exchange.EventDenied, slots: 2, says: "does not stand",
			set: func(h *house) { fellFirst(1)(h); revoke(h, exchange.EventIntent, lineage[0]) }},
		"the one at hand, and then the provider is in trouble": {mode: exchange.ModeHit, kind: exchange.KindUnavailable, outcome: exchange.EventFailed, slots: 2, says: "at hand was revoked",
			set: func(h *house) {
				fellFirst(2)(h)
				h.at(false, exchange.EventIntent, func() error { h.vendor.spare = true; return nil })
			}},
		"three at hand": {mode: exchange.ModeHit, issued: true, outcome: exchange.EventIssued, slots: 4,
			set: func(h *house) { h.vendor.endless = true; fellFirst(3)(h) }},
		"all that are at hand": {mode: exchange.ModeHit, kind: exchange.KindUnavailable, outcome: exchange.EventFailed, slots: 4, says: "one after the other",
			set: func(h *house) { h.vendor.endless = true; fellFirst(1000)(h) }},
	} {
		t.Run(name, func(t *testing.T) {
			h, _ := newOwnHouse(t, c.mode)
			c.set(h)
			receipt, err := h.exchange(t.Context(), ownRequest())
			if c.issued != (err == nil) || err != nil && exchange.KindOf(err) != c.kind {
				t.Fatalf("%v, want %v", err, c.kind)
			}
			if known := (*exchange.Error)(nil); errors.As(err, &known) && strings.Contains(known.Advice, "-0000-") {
				t.Errorf("the caller is told of leases: %q", known.Advice)
			}
			event, _ := h.ledger.outcome(h.reports.last().Exchange)
			if event.Type != c.outcome || !strings.Contains(event.Record.Explanation, c.says) {
				t.Errorf("the ledger says %q: %q", event.Type, event.Record.Explanation)
			}
			if len(h.vendor.slots) != c.slots {
				t.Errorf("%d slots, want %d", len(h.vendor.slots), c.slots)
			}
			if last := h.vendor.slots[len(h.vendor.slots)-1]; c.issued && !receipt.Credential.Value.Equal(last.value) {
				t.Error("another credential left than the last one")
			}
			if h.governor.admitted != 1 || h.governor.released != 1 {
				t.Errorf("admitted %d times, released %d", h.governor.admitted, h.governor.released)
			}
		})
	}
}
