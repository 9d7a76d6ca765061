package storetest

import (
	"fmt"
	"testing"

	"github.com/cambio-sts/cambio/exchange/ledger"
	"github.com/cambio-sts/cambio/store"
)

// Benchmark measures what every engine does on the path of an exchange: appends by
// the size of a flush, each with its lease, and a page of a list.
func Benchmark(b *testing.B, open func(b *testing.B) store.Store) {
	for _, size := range []int{1, 32, 256} {
		b.Run(fmt.Sprintf("append/%d", size), func(b *testing.B) {
			w := &world{t: b, s: open(b)}
			entries := make([]ledger.Entry, b.N)
			for i := range entries {
				entries[i] = under(0, w.issued("default"))
				entries[i].Lease = w.lease("default", entries[i].Exchange)
			}
			b.ResetTimer()
			for begin := 0; begin < b.N; begin += size {
				w.append(entries[begin:min(begin+size, b.N)]...)
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "rows/s")
		})
	}
	b.Run("list", func(b *testing.B) {
		w := &world{t: b, s: open(b)}
		for range 40 {
			var entries []ledger.Entry
			for range 500 {
				entries = append(entries, w.issued("default"))
			}
			w.append(entries...)
		}
		q := ledger.Query{
			Tenant: "default", Limit: 50,
			Filter: ledger.Filter{Root: compare(ledger.FieldSubject, ledger.OpEq, "k8s:prod:llm:gateway")},
		}
		for b.Loop() {
			rows, next, err := w.s.List(w.ctx(), q)
			if err != nil || len(rows) != q.Limit {
				b.Fatalf("%d rows, %v", len(rows), err)
			}
			q.After = next
		}
	})
}
