package exchange_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/cambio-sts/cambio/exchange"
)

var errLost = errors.New("the connection was lost")

// at runs do before or after the first write of the given type.
func (h *house) at(before bool, t exchange.EventType, do func() error) {
	done := false
	hook := func(_ context.Context, e exchange.Event) error {
		if e.Type != t || done {
			return nil
		}
		done = true
		return do()
	}
	if before {
		h.ledger.before = hook
	} else {
		h.ledger.after = hook
	}
}

// TestFaultTable fails every durable write in two ways, hangs up around it, and
// lets denies, replays and rivals come in before it, in every mode. What must hold
// in each case house.check says; the table says how the exchange ends.
func TestFaultTable(t *testing.T) {
	const none = exchange.EventType(0)
	type fault struct {
		name string
		set  func(h *house, at exchange.EventType, hangUp func())
		// err is the kind; nothing: the exchange succeeds.
		fails   bool
		kind    exchange.Kind
		outcome exchange.EventType // in the ledger afterwards; none: no outcome
	}
	faults := []fault{
		{name: "no fault", set: func(*house, exchange.EventType, func()) {}, outcome: exchange.EventIssued},
		{name: "not persisted", fails: true, kind: exchange.KindUnavailable, outcome: none,
			set: func(h *house, at exchange.EventType, _ func()) {
				h.at(true, at, func() error { return errLost })
			}},
		{name: "persisted, reported failed", fails: true, kind: exchange.KindUnavailable, outcome: -1,
			set: func(h *house, at exchange.EventType, _ func()) {
				h.at(false, at, func() error { return errLost })
			}},
		{name: "caller hangs up before", outcome: exchange.EventIssued,
			set: func(h *house, at exchange.EventType, hangUp func()) {
				h.at(true, at, func() error { hangUp(); return nil })
			}},
		{name: "caller hangs up after", outcome: exchange.EventIssued,
			set: func(h *house, at exchange.EventType, hangUp func()) {
				h.at(false, at, func() error { hangUp(); return nil })
			}},
		{name: "a deny that does not concern it", outcome: exchange.EventIssued,
			set: func(h *house, at exchange.EventType, _ func()) {
				h.at(true, at, func() error { h.ledger.deny(); return nil })
			}},
		{name: "a deny that does", fails: true, kind: exchange.KindInvalidTarget, outcome: exchange.EventDenied,
			set: func(h *house, at exchange.EventType, _ func()) {
				h.at(true, at, func() error { h.ledger.deny(); return nil })
				h.policy.onEpoch = func(_ int64, p *policy) { p.denied = true }
			}},
		{name: "a deny that does, and the caller hangs up", fails: true, kind: exchange.KindInvalidTarget, outcome: exchange.EventDenied,
			set: func(h *house, at exchange.EventType, hangUp func()) {
				h.at(true, at, func() error { h.ledger.deny(); hangUp(); return nil })
				h.policy.onEpoch = func(_ int64, p *policy) { p.denied = true }
			}},
		{name: "denies that keep coming", fails: true, kind: exchange.KindUnavailable, outcome: exchange.EventFailed,
			set: func(h *house, at exchange.EventType, _ func()) {
				h.ledger.before = func(_ context.Context, e exchange.Event) error {
					if e.Type == at {
						h.ledger.deny()
					}
					return nil
				}
			}},
		{name: "denies that cannot be read", fails: true, kind: exchange.KindUnavailable, outcome: exchange.EventFailed,
			set: func(h *house, at exchange.EventType, _ func()) {
				h.at(true, at, func() error { h.ledger.deny(); return nil })
				h.policy.refresh = errLost
			}},
		{name: "a deny, and by then a newer policy", fails: true, kind: exchange.KindUnavailable, outcome: exchange.EventFailed,
			set: func(h *house, at exchange.EventType, _ func()) {
				h.at(true, at, func() error { h.ledger.deny(); return nil })
				h.policy.onEpoch = func(_ int64, p *policy) { p.hash = 9 }
			}},
		{name: "a deny, and by then a replica that is behind", fails: true, kind: exchange.KindUnavailable, outcome: exchange.EventFailed,
			set: func(h *house, at exchange.EventType, _ func()) {
				h.at(true, at, func() error { h.ledger.deny(); return nil })
				h.policy.onEpoch = func(_ int64, p *policy) {
					p.behind = exchange.Fault(exchange.KindUnavailable, "behind", nil)
				}
			}},
		{name: "the token was used elsewhere", fails: true, kind: exchange.KindReplayed, outcome: exchange.EventDenied,
			set: func(h *house, at exchange.EventType, _ func()) {
				s := h.verifier.subjects[subjectToken]
				s.Once = once("elsewhere")
				h.verifier.subjects[subjectToken] = s
				h.at(true, at, func() error {
					if at == exchange.EventIssued && h.ledger.used[*s.Once] != (exchange.ID{}) {
						return exchange.ErrUsed // a ledger that lost its mind after the intent
					}
					h.ledger.used[*s.Once] = exchange.ID{1}
					return nil
				})
			}},
		{name: "another outcome is there already", fails: true, kind: exchange.KindUnavailable, outcome: -1,
			set: func(h *house, at exchange.EventType, _ func()) {
				h.ledger.before = func(_ context.Context, e exchange.Event) error {
					if e.Type == at {
						return exchange.ErrSettled
					}
					return nil
				}
			}},
	}
	for name, mode := range modes {
		for _, at := range []exchange.EventType{exchange.EventIntent, exchange.EventIssued} {
			if at == exchange.EventIntent && mode != exchange.ModeUpstream {
				continue
			}
			for _, f := range faults {
				t.Run(name+"/"+at.String()+"/"+f.name, func(t *testing.T) {
					h := newHouse(t, mode)
					ctx, hangUp := context.WithCancel(t.Context())
					defer hangUp()
					f.set(h, at, hangUp)
					_, err := h.exchange(ctx, request())
					if f.fails != (err != nil) {
						t.Fatalf("failed: %v, want failed: %t", err, f.fails)
					}
					if f.fails && exchange.KindOf(err) != f.kind {
						t.Errorf("kind %v, want %v: %v", exchange.KindOf(err), f.kind, err)
					}
					event, _ := h.ledger.outcome(h.reports.last().Exchange)
					if f.outcome >= 0 && event.Type != f.outcome {
						t.Errorf("the ledger says %q, want %q", event.Type, f.outcome)
					}
					if event.Type == exchange.EventDenied && at == exchange.EventIssued && mode == exchange.ModeUpstream {
						if event.Record.Credential == "" || !strings.Contains(event.Record.Explanation, "withheld") {
							t.Errorf("the denial does not tell of the credential that was minted: %+v", event.Record)
						}
					}
				})
			}
		}
	}
}

// TestVendFaults lets the provider fail, lie, and be hung up on.
func TestVendFaults(t *testing.T) {
	upstream := func(t *testing.T) *house { return newHouse(t, exchange.ModeUpstream) }
	for name, c := range map[string]struct {
		set     func(h *house, hangUp func())
		kind    exchange.Kind
		fails   bool
		outcome exchange.EventType
		says    string
	}{
		"refused": {fails: true, kind: exchange.KindProviderRefused, outcome: exchange.EventFailed, says: "no such role",
			set: func(h *house, _ func()) {
				h.vendor.vend = func(context.Context) error {
					return exchange.Fault(exchange.KindProviderRefused, "the provider said no", errors.New("no such role"))
				}
			}},
		"an error that quotes a token": {fails: true, kind: exchange.KindInternal, outcome: exchange.EventFailed, says: "REDACTED",
			set: func(h *house, _ func()) {
				h.vendor.vend = func(context.Context) error {
					return exchange.Fault(exchange.KindInternal, "", errors.New("bad request: "+subjectToken))
				}
			}},
		"an unknown error": {fails: true, kind: exchange.KindInternal, outcome: exchange.EventFailed, says: "boom",
			set: func(h *house, _ func()) {
				h.vendor.vend = func(context.Context) error { return errors.New("boom") }
			}},
		"its deadline passes": {fails: true, kind: exchange.KindUnavailable, outcome: exchange.EventFailed,
			set: func(h *house, _ func()) {
				h.bureau.Timeout = time.Millisecond
				h.vendor.vend = func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
			}},
		"the caller hangs up meanwhile": {outcome: exchange.EventIssued,
			set: func(h *house, hangUp func()) { h.vendor.afterMint = hangUp }},
		"it lives past every cap": {fails: true, kind: exchange.KindInvalidLifetime, outcome: exchange.EventFailed, says: "withheld",
			set: func(h *house, _ func()) { h.vendor.life = time.Hour }},
		"it is dead on arrival": {fails: true, kind: exchange.KindUnavailable, outcome: exchange.EventFailed, says: "withheld",
			set: func(h *house, _ func()) { h.vendor.life = -time.Second }},
		"it cannot be taken back": {fails: true, kind: exchange.KindInvalidLifetime, outcome: exchange.EventFailed, says: "could not be taken back: no route",
			set: func(h *house, _ func()) { h.vendor.life, h.vendor.revoke = time.Hour, errors.New("no route") }},
		"a revocation that quotes its secret": {fails: true, kind: exchange.KindInvalidLifetime, outcome: exchange.EventFailed, says: "taken back: no such REDACTED",
			set: func(h *house, _ func()) {
				h.vendor.life, h.vendor.revoke = time.Hour, errors.New("no such "+revokeSecret)
			}},
		"nothing to reserve": {fails: true, kind: exchange.KindMisconfigured, outcome: exchange.EventFailed, says: "set up",
			set: func(h *house, _ func()) {
				h.vendor.reserve = exchange.Fault(exchange.KindMisconfigured, "the target is not set up", nil)
			}},
	} {
		t.Run(name, func(t *testing.T) {
			h := upstream(t)
			ctx, hangUp := context.WithCancel(t.Context())
			defer hangUp()
			c.set(h, hangUp)
			_, err := h.exchange(ctx, request())
			if c.fails != (err != nil) {
				t.Fatalf("failed: %v, want failed: %t", err, c.fails)
			}
			if c.fails && exchange.KindOf(err) != c.kind {
				t.Errorf("kind %v, want %v: %v", exchange.KindOf(err), c.kind, err)
			}
			event, _ := h.ledger.outcome(h.reports.last().Exchange)
			if event.Type != c.outcome || !strings.Contains(event.Record.Explanation, c.says) {
				t.Errorf("the ledger says %q: %q", event.Type, event.Record.Explanation)
			}
		})
	}
}

// TestNoCredentialWithoutItsEvent lets rapid choose what befalls each write of
// several exchanges in a row; house.check holds the promise each time.
func TestNoCredentialWithoutItsEvent(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		mode := rapid.SampledFrom([]exchange.Mode{exchange.ModeHit, exchange.ModeLocal, exchange.ModeUpstream}).Draw(rt, "mode")
		h := newHouse(t, mode)
		for range rapid.IntRange(1, 4).Draw(rt, "exchanges") {
			ctx, hangUp := context.WithCancel(t.Context())
			h.ledger.fells = func(exchange.ID) bool { return rapid.IntRange(0, 3).Draw(rt, "falls") == 0 }
			befalls := func(label string) func(context.Context, exchange.Event) error {
				return func(context.Context, exchange.Event) error {
					switch rapid.IntRange(0, 7).Draw(rt, label) {
					case 0:
						return errLost
					case 1:
						hangUp()
					case 2:
						h.ledger.deny()
					case 3:
						h.ledger.deny()
						h.policy.onEpoch = func(_ int64, p *policy) { p.denied = !p.denied }
					}
					return nil
				}
			}
			h.ledger.before, h.ledger.after = befalls("before"), befalls("after")
			h.vendor.life = time.Duration(rapid.IntRange(-1, 30).Draw(rt, "life")) * time.Minute
			_, _ = h.exchange(ctx, request())
			hangUp()
			h.vendor.slots = nil
		}
		if t.Failed() {
			rt.Fatal("the promise was broken")
		}
	})
}

// TestSettleIsNotEndedByTheCaller: the caller is gone before anything is written,
// and what was decided is recorded all the same.
func TestSettleIsNotEndedByTheCaller(t *testing.T) {
	h := newHouse(t, exchange.ModeLocal)
	ctx, hangUp := context.WithCancel(t.Context())
	h.vendor.vend = func(ctx context.Context) error { hangUp(); return ctx.Err() }
	_, err := h.exchange(ctx, request())
	if exchange.KindOf(err) != exchange.KindUnavailable {
		t.Errorf("kind %v: %v", exchange.KindOf(err), err)
	}
	types := []exchange.EventType{}
	for _, e := range h.ledger.events {
		types = append(types, e.Type)
	}
	if !slices.Equal(types, []exchange.EventType{exchange.EventFailed}) {
		t.Errorf("the ledger has %v, want one failure", types)
	}
}
