package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/ledger"
	"github.com/cambio-sts/cambio/store/postgres"
	"github.com/cambio-sts/cambio/store/postgres/pgtest"
)

// breakInserts makes every insert into the ledger fail with an SQLSTATE: at the
// statement, or at the commit that follows it.
func breakInserts(t *testing.T, d *pgtest.Database, state string, atCommit bool) (mend func()) {
	t.Helper()
	trigger := "create trigger broken before insert on cambio.events_" + thisMonth(t) + " for each row execute function cambio.broken()"
	if atCommit {
		trigger = "create constraint trigger broken after insert on cambio.events_" + thisMonth(t) +
			" deferrable initially deferred for each row execute function cambio.broken()"
	}
	d.Exec(t, pgtest.Superuser, fmt.Sprintf(`create function cambio.broken() returns trigger language plpgsql as
		$$ begin raise exception 'injected' using errcode = '%s'; end $$; %s`, state, trigger))
	return func() {
		t.Helper()
		d.Exec(t, pgtest.Superuser, "drop trigger broken on cambio.events_"+thisMonth(t)+"; drop function cambio.broken()")
	}
}

// TestS28FaultsOfTheServerAreEverybodys has the server fail for reasons that are
// in no entry's data: no entry is blamed, nothing is written, and asking again
// works once the fault is gone. A failure at commit comes after the statement has
// reported its rows.
func TestS28FaultsOfTheServerAreEverybodys(t *testing.T) {
	for name, state := range map[string]string{
		"disk full": "53100", "out of memory": "53200", "too many connections": "53300", "I/O error": "58030",
		"shutting down": "57P01", "deadlock": "40P01", "lock timeout": "55P03", "read only": "25006", "internal": "XX000",
	} {
		for _, atCommit := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, at commit %t", name, atCommit), func(t *testing.T) {
				d := migrated(t)
				s := open(t, d)
				entries := []ledger.Entry{realistic(t, 1), realistic(t, 2), realistic(t, 3)}
				mend := breakInserts(t, d, state, atCommit)
				results, err := s.Append(t.Context(), entries)
				var of *pgconn.PgError
				if !errors.As(err, &of) || of.Code != state {
					t.Fatalf("Append: %v, %v; want SQLSTATE %s", results, err, state)
				}
				for _, e := range entries {
					if events, err := s.Get(t.Context(), e.Tenant, e.Exchange); err != nil || len(events) > 0 {
						t.Fatalf("written nevertheless: %v, %v", events, err)
					}
				}
				mend()
				wantStatus(t, s, ledger.StatusInserted, entries...)
			})
		}
	}
}

func wantStatus(t *testing.T, s *postgres.Store, want ledger.Status, entries ...ledger.Entry) {
	t.Helper()
	results, err := s.Append(t.Context(), entries)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range results {
		if r.Status != want {
			t.Errorf("entry %d: status %d (%v), want %d", i, r.Status, r.Err, want)
		}
	}
}

// gate is a connection's way to the server that can be shut: in one direction, so
// that what was asked is done and the answer is lost, or in both, so that nothing
// is asked.
type gate struct {
	address string
	mode    atomic.Int32
}

const (
	gateOpen int32 = iota
	gateLosesAnswers
	gateShut
)

func newGate(t *testing.T, to string) *gate {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := &gate{address: l.Addr().String()}
	var group sync.WaitGroup
	t.Cleanup(func() {
		l.Close()
		group.Wait()
	})
	group.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", to)
			if err != nil {
				client.Close()
				continue
			}
			group.Go(func() { g.pass(client, server, gateShut) })
			group.Go(func() { g.pass(server, client, gateLosesAnswers) })
		}
	})
	return g
}

// pass copies one direction. From the given mode on the next bytes are dropped and
// the connection is cut: the server's answer comes after its commit.
func (g *gate) pass(from, to net.Conn, cutFrom int32) {
	defer from.Close()
	defer to.Close()
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		if err != nil || g.mode.Load() >= cutFrom {
			return
		}
		if _, err := to.Write(buffer[:n]); err != nil {
			return
		}
	}
}

// TestS29FateUnknown loses the connection before the server hears of a batch, and
// after it has committed. Both are errors; asking again tells them apart.
func TestS29FateUnknown(t *testing.T) {
	for name, c := range map[string]struct {
		mode int32
		want ledger.Status
	}{
		"not persisted":                         {gateShut, ledger.StatusInserted},
		"persisted, though reported as failure": {gateLosesAnswers, ledger.StatusReplayed},
	} {
		t.Run(name, func(t *testing.T) {
			d := migrated(t)
			g := newGate(t, d.Server.Address())
			s, err := postgres.Open(t.Context(), strings.Replace(d.ServiceDSN(), d.Server.Address(), g.address, 1), postgres.Options{AllowUnsafe: true, MaxConns: 1})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			wantStatus(t, s, ledger.StatusInserted, realistic(t, 0)) // prepared now
			intent := realistic(t, 1)
			intent.Type, intent.Lease, intent.Deadline = exchange.EventIntent, nil, time.Now().Add(time.Minute).UnixMicro()
			issued := realistic(t, 2)
			issued.Once = &exchange.Once{Realm: "jti:prod", Hash: [32]byte{1}, Expires: time.Now().Add(time.Hour)}
			entries := []ledger.Entry{intent, issued, realistic(t, 3)}
			// These need statements that are not prepared yet: let them be.
			g.mode.Store(gateOpen)
			warm := realistic(t, 4)
			warm.Once = &exchange.Once{Realm: "jti:prod", Hash: [32]byte{2}, Expires: time.Now().Add(time.Hour)}
			warmIntent := realistic(t, 5)
			warmIntent.Type, warmIntent.Lease = exchange.EventIntent, nil
			wantStatus(t, s, ledger.StatusInserted, warm, warmIntent)

			g.mode.Store(c.mode)
			if results, err := s.Append(t.Context(), entries); err == nil {
				t.Fatalf("the connection is cut and the answer is %v", results)
			}
			g.mode.Store(gateOpen)
			direct := open(t, d)
			// What was sent may still be under way: the same entries wait for it.
			wantStatus(t, direct, c.want, entries...)
			wantStatus(t, s, ledger.StatusReplayed, entries...)
			if _, err := s.Lease(t.Context(), "default", issued.Lease.ID); err != nil {
				t.Errorf("the lease: %v", err)
			}
		})
	}
}

// TestRestartMidRequest stops and kills the server under load. Every append that
// was acknowledged is there afterwards, every one that was not can be asked for
// again, and the pool finds the server by itself.
func TestRestartMidRequest(t *testing.T) {
	for name, end := range map[string]func(*pgtest.Server, testing.TB){
		"TestS30 kill -9": (*pgtest.Server).Kill, "fast stop": (*pgtest.Server).Stop,
	} {
		t.Run(name, func(t *testing.T) {
			server := pgtest.Start(t, pgtest.Durable())
			d := server.NewDatabase(t)
			migrate(t, d)
			s, err := postgres.Open(t.Context(), d.ServiceDSN(), postgres.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			var mutex sync.Mutex
			var acknowledged, unknown []ledger.Entry
			enough := make(chan struct{})
			var once sync.Once
			var group sync.WaitGroup
			for caller := range 8 {
				group.Go(func() {
					for i := 0; ; i++ {
						entries := []ledger.Entry{realistic(t, caller*100_000+2*i), realistic(t, caller*100_000+2*i+1)}
						results, err := s.Append(t.Context(), entries)
						mutex.Lock()
						if err != nil {
							unknown = append(unknown, entries...)
							mutex.Unlock()
							return
						}
						for j, r := range results {
							if r.Status != ledger.StatusInserted {
								t.Errorf("status %d", r.Status)
							}
							acknowledged = append(acknowledged, entries[j])
						}
						if len(acknowledged) > 500 {
							once.Do(func() { close(enough) })
						}
						mutex.Unlock()
					}
				})
			}
			<-enough
			end(server, t)
			group.Wait()
			if err := s.Ping(t.Context()); err == nil {
				t.Error("Ping says that a dead server is well")
			}
			server.Restart(t)
			for i := 0; ; i++ { // connections that died are found out one by one
				if err := s.Ping(t.Context()); err == nil {
					break
				} else if i > 50 {
					t.Fatalf("the pool does not recover: %v", err)
				}
			}
			wantStatus(t, s, ledger.StatusReplayed, acknowledged...)
			count := map[ledger.Status]int{}
			for _, e := range unknown {
				results, err := s.Append(t.Context(), []ledger.Entry{e})
				if err != nil {
					t.Fatal(err)
				}
				count[results[0].Status]++
			}
			t.Logf("%d acknowledged, all there; of %d unknown %d were there and %d were not", len(acknowledged), len(unknown),
				count[ledger.StatusReplayed], count[ledger.StatusInserted])
			if count[ledger.StatusReplayed]+count[ledger.StatusInserted] != len(unknown) {
				t.Errorf("statuses of the unknown: %v", count)
			}
		})
	}
}

// TestS31AddDenyWaitsForAppendsUnderWay holds an append between its lock and its
// commit: the deny comes after it, and what comes after the deny is stale.
func TestS31AddDenyWaitsForAppendsUnderWay(t *testing.T) {
	d := migrated(t)
	s := open(t, d)
	conn, err := pgx.Connect(t.Context(), d.ServiceDSN())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	tx, err := conn.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// What another replica's append takes, whatever its version.
	if _, err := tx.Exec(t.Context(), "select pg_advisory_xact_lock_shared(7165064744911531010)"); err != nil {
		t.Fatal(err)
	}
	added := make(chan error, 1)
	note, err := exchange.NewID(time.Now(), io.Reader(constant(7)))
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		_, err := s.AddDeny(t.Context(), exchange.Deny{ID: note, Tenant: "default", Match: map[string]string{"subject": "x"}, Created: time.Now()},
			exchange.Event{ID: note, Exchange: note, Tenant: "default", Type: exchange.EventDenyAdded, At: time.Now()})
		added <- err
	}()
	waiting := func() bool {
		var n int
		if err := tx.QueryRow(t.Context(), "select count(*) from pg_locks where locktype = 'advisory' and not granted").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n > 0
	}
	for !waiting() {
		select {
		case err := <-added:
			t.Fatalf("the deny did not wait: %v", err)
		default:
		}
	}
	late := make(chan ledger.Result, 1)
	go func() {
		results, err := s.Append(t.Context(), []ledger.Entry{realistic(t, 1)}) // of epoch 0
		if err != nil {
			t.Error(err)
			results = make([]ledger.Result, 1)
		}
		late <- results[0]
	}()
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-added; err != nil {
		t.Fatal(err)
	}
	// It came while the deny waited, so it waited behind it; or before, unseen.
	if r := <-late; r.Status == ledger.StatusStale && r.Epoch != 1 || r.Status == ledger.StatusInserted && r.Epoch != 0 {
		t.Errorf("the append: status %d under epoch %d", r.Status, r.Epoch)
	}
	wantStatus(t, s, ledger.StatusStale, realistic(t, 2))
}

// constant is a source of one byte.
type constant byte

func (c constant) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = byte(c)
	}
	return len(b), nil
}
