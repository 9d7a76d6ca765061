package ledger_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/ledger"
)

// Whatever came from outside, and however it was cleaned and cut: who asks for a text
// as the record has it finds the record.
func TestFactsAreOfWhatIsWritten(t *testing.T) {
	odd := rapid.OneOf(
		rapid.String(), rapid.StringN(1000, 3000, -1),
		rapid.SampledFrom([]string{"", "k8s:prod:llm:gateway", "a\"b\\c", "nul\x00", "\xff\xfe", "line\u2028", "\n\t\x01", "…sha256:"}),
	)
	rapid.Check(t, func(t *rapid.T) {
		kind := rapid.SampledFrom([]exchange.EventType{
			exchange.EventIntent, exchange.EventIssued, exchange.EventDenied, exchange.EventFailed, exchange.EventUnknown, exchange.EventRevoked,
		}).Draw(t, "type")
		e, err := ledger.NewEntry(exchange.Event{
			ID: exchange.ID{1}, Exchange: exchange.ID{2}, Tenant: "default", Type: kind, At: time.Unix(1, 0),
			Record: exchange.Record{
				Subject: odd.Draw(t, "subject"), Actor: odd.Draw(t, "actor"), Target: odd.Draw(t, "target"),
				ClientIP: odd.Draw(t, "client ip"), Credential: odd.Draw(t, "credential"), Handle: odd.Draw(t, "handle"),
				Lineage: rapid.SliceOfN(rapid.StringN(1000, 1000, -1), 0, 100).Draw(t, "what makes it long"),
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		r, err := ledger.DecodeRecord(e.Record)
		if err != nil {
			t.Fatal(err)
		}
		for name, c := range map[string]struct {
			text string
			fact int64
		}{
			"subject": {r.Subject, e.Facts.Subject}, "actor": {r.Actor, e.Facts.Actor}, "target": {r.Target, e.Facts.Target},
			"client_ip": {r.ClientIP, e.Facts.ClientIP}, "credential": {r.Credential, e.Facts.Credential}, "handle": {r.Handle, e.Facts.Handle},
		} {
			want := int64(0)
			if kind.Terminal() && c.text != "" {
				want = ledger.FactOf(c.text)
			}
			if c.fact != want {
				t.Errorf("%s of a %s: %q has %d, is looked for by %d", name, kind, c.text, c.fact, want)
			}
		}
	})
}
