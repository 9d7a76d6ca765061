package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	crashTokens = 60_000
	crashKills  = 3 // of each
	crashTime   = 3 * time.Second
)

// received is what callers have in hand: the exchange id of each credential and
// the token's `jti`.
type received struct {
	mu  sync.Mutex
	jti map[string]string
}

func (r *received) saw(_, body string) {
	var answer struct {
		Token    string `json:"access_token"`
		Exchange string `json:"exchange_id"`
	}
	if err := json.Unmarshal([]byte(body), &answer); err != nil || answer.Exchange == "" {
		answer.Exchange = "unreadable: " + err.Error() // never in the ledger, so it will be reported
	}
	var claims struct {
		JTI string `json:"jti"`
	}
	if parts := strings.Split(answer.Token, "."); len(parts) == 3 {
		if payload, err := base64.RawURLEncoding.DecodeString(parts[1]); err == nil {
			_ = json.Unmarshal(payload, &claims)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.jti[answer.Exchange] = claims.JTI
}

// runCrash kills the server under load, then PostgreSQL under load, several times
// each, starts them again, and looks in the ledger for every credential that any
// caller received.
func runCrash(ctx context.Context) error {
	b, closeAll, err := prepare(ctx, crashTokens)
	if err != nil {
		return err
	}
	defer closeAll()
	b.next = cycle(b.tokens) // a fast machine wants more of them than were signed
	got := &received{jti: map[string]string{}}
	for i := range crashKills {
		m, err := b.underLoad(ctx, got, func() error { b.server.kill(); return nil })
		if err != nil {
			return err
		}
		say("kill -9 of cambio, %d: %d answers before and after, %d failed meanwhile", i+1, m.answers, m.failures)
		if b.server, err = startCambio(ctx, b.binary, b.dir, b.dsn); err != nil {
			return err
		}
	}
	for i := range crashKills {
		m, err := b.underLoad(ctx, got, func() error {
			if err := b.postgres.Kill(); err != nil {
				return err
			}
			return b.postgres.Restart()
		})
		if err != nil {
			return err
		}
		say("kill -9 of PostgreSQL, %d: %d answers before and after, %d failed meanwhile", i+1, m.answers, m.failures)
		if err := b.server.waitReady(ctx); err != nil {
			return err
		}
	}
	// One more round shows that the house serves again.
	if _, err := clean("after the last restart", load{b.server.url + "/oauth2/token", connections, b.next}.closed(ctx, time.Second, got.saw)); err != nil {
		return err
	}
	return b.compare(ctx, got)
}

// underLoad runs the generator and strikes in the middle of it.
func (b *bench) underLoad(ctx context.Context, got *received, strike func() error) (measured, error) {
	struck := make(chan error, 1)
	go func() {
		time.Sleep(crashTime / 2) // the strike falls into a run that is under way
		struck <- strike()
	}()
	m := load{b.server.url + "/oauth2/token", connections, b.next}.closed(ctx, crashTime, got.saw)
	if err := <-struck; err != nil {
		return m, err
	}
	if m.answers == 0 {
		return m, fmt.Errorf("no exchange succeeded before the strike: %s", m.firstFail)
	}
	return m, nil
}

// compare looks for each received credential in the ledger, and for exchanges
// with more than one outcome.
func (b *bench) compare(ctx context.Context, got *received) error {
	db, err := pgx.Connect(ctx, b.owner)
	if err != nil {
		return fmt.Errorf("connecting to count: %w", err)
	}
	defer func() { _ = db.Close(ctx) }()
	recorded := map[string]string{}
	rows, err := db.Query(ctx, `select exchange::text, record->>'handle' from cambio.events where type = 2`)
	if err != nil {
		return fmt.Errorf("reading the ledger: %w", err)
	}
	var id, handle string
	if _, err := pgx.ForEachRow(rows, []any{&id, &handle}, func() error {
		recorded[id] = handle
		return nil
	}); err != nil {
		return fmt.Errorf("reading the ledger: %w", err)
	}
	var twice int
	if err := db.QueryRow(ctx, `select count(*) from (select exchange from cambio.events where type between 2 and 5
		group by exchange having count(*) > 1) t`).Scan(&twice); err != nil {
		return fmt.Errorf("counting outcomes: %w", err)
	}
	missing := 0
	for id, jti := range got.jti {
		if handle, ok := recorded[id]; !ok || handle != jti || jti == "" {
			missing++
		}
	}
	fmt.Printf("credentials received %d, with their event in the ledger %d, without %d; events issued %d; exchanges with two outcomes %d; kills: cambio %d, PostgreSQL %d\n",
		len(got.jti), len(got.jti)-missing, missing, len(recorded), twice, crashKills, crashKills)
	if missing > 0 || twice > 0 {
		return errors.New("the promise is broken")
	}
	return nil
}
