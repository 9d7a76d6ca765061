package postgres_test

import (
	"crypto/rand"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/ledger"
	"github.com/cambio-sts/cambio/store/postgres"
	"github.com/cambio-sts/cambio/store/postgres/pgtest"
)

// realistic is an outcome as the pipeline makes it: some 900 bytes of record, and a
// lease.
func realistic(t testing.TB, n int) ledger.Entry {
	now := time.Now()
	ids := [3]exchange.ID{}
	for i := range ids {
		var err error
		if ids[i], err = exchange.NewID(now, rand.Reader); err != nil {
			t.Fatal(err)
		}
	}
	subject := fmt.Sprintf("k8s:prod:llm:gateway-%d", n%5000)
	fingerprint := fmt.Sprintf("%064x", n)
	e, err := ledger.NewEntry(exchange.Event{
		ID: ids[0], Exchange: ids[1], Tenant: "default", Type: exchange.EventIssued, At: now,
		Record: exchange.Record{
			Subject: subject, Trust: "prod", Actor: "oidc:corp:alice", Actors: []string{"oidc:corp:alice"},
			Target: fmt.Sprintf("target-%d", n%40), Provider: "mcp", Door: "oauth",
			GrantType: "urn:ietf:params:oauth:grant-type:token-exchange", TokenType: "urn:ietf:params:oauth:token-type:access_token",
			AskedTargets: []string{"github-mcp"}, Scopes: []string{"tools.read", "tools.call"}, Lifetime: 900,
			Expires: exchange.FormatTime(now.Add(15 * time.Minute)), Rule: "agents-act-for-people",
			Revision: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08", Outcome: "issued",
			Credential: fingerprint, Handle: ids[2].String(), Lease: ids[2].String(), ClientIP: "10.1.2.3",
			UserAgent: "python-requests/2.31", TokenID: ids[0].String(), KeyID: "k1",
			Claims:    exchange.Attributes{"namespace": {"llm"}, "service_account": {"gateway"}},
			Durations: &exchange.Durations{Verify: 80, Decide: 3, Vend: 50},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	e.Epoch = 0
	e.Lease = &exchange.Lease{
		ID: ids[2], Tenant: "default", Exchange: ids[1], Target: "github-mcp", Provider: "mcp", Subject: subject,
		Rule: "agents-act-for-people", Handle: ids[2].String(), Issued: now, Expires: now.Add(15 * time.Minute), State: exchange.LeaseActive,
	}
	return e
}

// BenchmarkAppend writes as two flushers do that gather what their callers queue:
// each flush takes all that waits. It reports rows a second, and what a row costs
// the server's and the client's processors. BENCH_SQL is run on the fresh schema, to
// see what an index costs ("drop index cambio.events_facts"); BENCH_SETTING adds
// settings of the server, separated by semicolons.
func BenchmarkAppend(b *testing.B) {
	var extra []pgtest.Option
	if v := os.Getenv("BENCH_SETTING"); v != "" {
		for _, one := range strings.Split(v, ";") {
			extra = append(extra, pgtest.Setting(one))
		}
	}
	server := pgtest.Start(b, append(extra, pgtest.Durable(), pgtest.Setting("shared_buffers=256MB"), pgtest.Setting("max_wal_size=4GB"))...)
	for _, callers := range []int{1, 8, 64} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			d := server.NewDatabase(b)
			if err := postgres.Migrate(b.Context(), d.OwnerDSN(), postgres.MigrateOptions{ServiceRole: pgtest.ServiceRole}); err != nil {
				b.Fatal(err)
			}
			if extra := os.Getenv("BENCH_SQL"); extra != "" {
				d.Exec(b, pgtest.OwnerRole, extra)
			}
			s, err := postgres.Open(b.Context(), d.ServiceDSN(), postgres.Options{})
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			entries := make([]ledger.Entry, b.N)
			for i := range entries {
				entries[i] = realistic(b, i)
			}
			b.ReportMetric(float64(len(entries[0].Record)), "record-bytes")
			type waiter struct {
				entry ledger.Entry
				done  chan error
			}
			queue := make(chan *waiter, 1024)
			var flushers, group sync.WaitGroup
			var flushes atomic.Int64
			for range 2 {
				flushers.Go(func() {
					for w := range queue {
						batch := []*waiter{w}
					more:
						for len(batch) < 512 {
							select {
							case w, ok := <-queue:
								if !ok {
									break more
								}
								batch = append(batch, w)
							default:
								break more
							}
						}
						flushes.Add(1)
						es := make([]ledger.Entry, len(batch))
						for i, w := range batch {
							es[i] = w.entry
						}
						results, err := s.Append(b.Context(), es)
						for i, w := range batch {
							if err == nil && results[i].Status != ledger.StatusInserted {
								err = fmt.Errorf("status %d: %w", results[i].Status, results[i].Err)
							}
							w.done <- err
						}
					}
				})
			}
			serverBefore, clientBefore := server.Processors().Seconds(), processors()
			b.ResetTimer()
			begun := time.Now()
			var next atomic.Int64
			for range callers {
				group.Go(func() {
					w := &waiter{done: make(chan error, 1)}
					for i := next.Add(1) - 1; i < int64(b.N); i = next.Add(1) - 1 {
						w.entry = entries[i]
						queue <- w
						if err := <-w.done; err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			group.Wait()
			b.StopTimer()
			elapsed := time.Since(begun)
			close(queue)
			flushers.Wait()
			n := float64(b.N)
			b.ReportMetric(n/elapsed.Seconds(), "rows/s")
			b.ReportMetric(n/float64(flushes.Load()), "rows/flush")
			b.ReportMetric((server.Processors().Seconds()-serverBefore)*1e6/n, "server-cpu-us/row")
			b.ReportMetric((processors()-clientBefore)*1e6/n, "client-cpu-us/row")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// processors is the processor time in seconds that we have used.
func processors() float64 {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		return 0
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano()).Seconds()
}
