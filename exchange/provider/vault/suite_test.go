package vault_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/provider"
	"github.com/cambio-sts/cambio/exchange/provider/providertest"
	"github.com/cambio-sts/cambio/exchange/provider/sandbox"
	"github.com/cambio-sts/cambio/exchange/provider/vault"
	"github.com/cambio-sts/cambio/store/postgres/pgtest"
)

// recording remembers for whom each credential was vended, since a role in a database
// does not tell.
type recording struct {
	*vault.Settings
	yard     *yard
	database *pgtest.Database

	mu     sync.Mutex
	owners map[[sha256.Size]byte]string // by hash: the suite looks at what is printed
	inside map[[sha256.Size]byte]map[string]any
}

// recorder is a driver that is recorded, with what else it can do.
type recorder struct {
	provider.Driver
	provider.Revoker
	provider.Renewer
	*recording
}

func (r *recording) Open(d provider.Deps) (provider.Driver, error) {
	driver, err := r.Settings.Open(d)
	if err != nil {
		return nil, err
	}
	return recorder{driver, driver.(provider.Revoker), driver.(provider.Renewer), r}, nil
}

func (r recorder) Vend(ctx context.Context, g exchange.Grant) (exchange.Credential, error) {
	c, err := r.Driver.Vend(ctx, g)
	if err == nil {
		r.mu.Lock()
		r.owners[sha256.Sum256([]byte(c.Value.Reveal()))] = g.Subject.Name
		r.mu.Unlock()
	}
	return c, err
}

// login uses a credential as its holder would.
func (r *recording) login(t *testing.T, c exchange.Credential) (string, []string, error) {
	t.Helper()
	name := sha256.Sum256([]byte(c.Value.Reveal()))
	r.mu.Lock()
	owner, data := r.owners[name], r.inside[name]
	r.mu.Unlock()
	if data == nil {
		if r.Settings.Wrap > 0 {
			var err error
			if data, err = r.yard.unwrap(t, c); err != nil {
				return "", nil, err
			}
		} else {
			data = open(t, c.Value.Reveal()).Data
		}
		r.mu.Lock()
		r.inside[name] = data
		r.mu.Unlock()
	}
	if owner == "" {
		return "", nil, errors.New("nobody's")
	}
	return owner, nil, connect(t.Context(), r.database, data)
}

func TestSuite(t *testing.T) {
	for name, change := range map[string]func(testing.TB, *yard, *vault.Settings){
		"database by jwt":             func(testing.TB, *yard, *vault.Settings) {},
		"wrapped database by approle": func(t testing.TB, y *yard, s *vault.Settings) { s.Auth, s.Wrap = y.appRole(t, nil), time.Minute },
	} {
		t.Run(name, func(t *testing.T) {
			y := newYard(t)
			s, d := y.database(t)
			change(t, y, s)
			set := func(m sandbox.Mood) func(*testing.T) func() {
				return func(*testing.T) func() { return y.Set(m) }
			}
			kind := vault.TokenTypeLease
			if s.Wrap > 0 {
				kind = vault.TokenTypeWrapping
			}
			r := &recording{Settings: s, yard: y, database: d, owners: map[[sha256.Size]byte]string{}, inside: map[[sha256.Size]byte]map[string]any{}}
			providertest.Run(t, providertest.Harness{
				Provider: "vault", Deps: y.deps, Type: kind, Config: r, Honour: r.login,
				Fail: map[exchange.Kind]func(*testing.T) func(){
					exchange.KindUnavailable: set(sandbox.Down), exchange.KindThrottled: set(sandbox.Throttling),
					exchange.KindMisconfigured: func(t *testing.T) func() {
						y.policy(t, `path "none" { capabilities = ["deny"] }`)
						return func() { y.databasePolicy(t) }
					},
				},
				Hang: set(sandbox.Slow),
			})
		})
	}
}

// TestS23SubjectsShareNothing over many exchanges of two workloads at once: each has a
// role of its own.
func TestS23SubjectsShareNothing(t *testing.T) {
	y := newYard(t)
	s, _ := y.database(t)
	driver := y.driver(t, s)
	var mu sync.Mutex
	owners := map[string]string{}
	var all sync.WaitGroup
	for n := range 8 {
		g := y.grant(t, s)
		g.Subject.Name = []string{"alice", "bob"}[n%2]
		all.Go(func() {
			for range 8 {
				c, err := driver.Vend(t.Context(), g)
				if err != nil {
					t.Error(err)
					return
				}
				user := fmt.Sprint(open(t, c.Value.Reveal()).Data["username"])
				mu.Lock()
				if had := owners[user]; had != "" {
					t.Errorf("%s got a role of %s", g.Subject.Name, had)
				}
				owners[user] = g.Subject.Name
				mu.Unlock()
			}
		})
	}
	all.Wait()
}
